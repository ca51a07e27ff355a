/** Runs in a page: the scenarios and plans, with `navigator.locks` and with `session.locks`. */
import { connect } from '@holdfast/client'
import { followPlan, type Turn } from '../../locks/plan.js'
import { scenarios } from '../../locks/scenarios/index.js'
import { type Locks, Script } from '../../locks/script.js'

/** The locks to test: those of the browser, of one session, or of two sessions. */
export type Whose = 'native' | 'ours' | 'two'

/** The log of one scenario, and the locks that are left at its end. */
export async function scenarioLog(
  whose: Whose,
  url: string,
  index: number,
): Promise<Pick<Script, 'log' | 'rests'>> {
  return withLocks(whose, url, async (locks, far) => {
    const script = new Script(locks, far, '')
    await scenarios[index]!.run(script)
    return { log: script.log, rests: script.rests }
  })
}

/** The log of each plan. */
export async function planStories(
  whose: Whose,
  url: string,
  plans: readonly (readonly Turn[])[],
): Promise<string[][]> {
  return withLocks(whose, url, async (locks, far) => {
    const stories: string[][] = []
    for (const plan of plans) stories.push(await followPlan(plan, locks, far, ''))
    return stories
  })
}

async function withLocks<T>(
  whose: Whose,
  url: string,
  use: (locks: Locks, far: Locks) => Promise<T>,
): Promise<T> {
  if (whose === 'native') return use(navigator.locks, navigator.locks)
  const one = await connect(url)
  const other = whose === 'two' ? await connect(url) : one
  try {
    return await use(one.locks, other.locks)
  } finally {
    await one.close()
    await other.close()
  }
}
