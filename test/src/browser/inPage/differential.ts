/**
 * Runs in a page of a browser. This script executes scenarios with `navigator.locks` or with
 * `session.locks`. It also executes plans: random lists of requests and releases. The test in Node
 * gets a log of the effects of each scenario or plan.
 */
import { connect } from '@holdfast/client'
import { type PlanTurn, runPlan } from '../../locks/plan.js'
import { scenarios } from '../../locks/scenarios/index.js'
import { type Locks, Script } from '../../locks/script.js'

/** The locks to test: of the browser, of one session, or of two sessions. */
export type Implementation = 'native' | 'session' | 'twoSessions'

/**
 * Runs one scenario. Returns its log, and how many lines the log had at each quiet point, where the
 * scenario waits until nothing more happens.
 */
export async function scenarioLog(
  implementation: Implementation,
  url: string,
  index: number,
): Promise<Pick<Script, 'log' | 'quietPoints'>> {
  return withLocks(implementation, url, async (locks, otherLocks) => {
    const script = new Script(locks, otherLocks, /* prefix */ '')
    await scenarios[index]!.run(script)
    return { log: script.log, quietPoints: script.quietPoints }
  })
}

/** Runs these plans, and returns the log of each plan. */
export async function planLogs(
  implementation: Implementation,
  url: string,
  plans: readonly (readonly PlanTurn[])[],
): Promise<string[][]> {
  return withLocks(implementation, url, async (locks, otherLocks) => {
    const logs: string[][] = []
    for (const plan of plans) logs.push(await runPlan(plan, locks, otherLocks, /* prefix */ ''))
    return logs
  })
}

/**
 * Calls `use` with two lock managers, and then closes their sessions. Only `twoSessions` gives two
 * different lock managers.
 */
async function withLocks<T>(
  implementation: Implementation,
  url: string,
  use: (locks: Locks, otherLocks: Locks) => Promise<T>,
): Promise<T> {
  if (implementation === 'native') return use(navigator.locks, navigator.locks)
  const session = await connect(url)
  const otherSession = implementation === 'twoSessions' ? await connect(url) : session
  try {
    return await use(session.locks, otherSession.locks)
  } finally {
    await session.close()
    await otherSession.close()
  }
}
