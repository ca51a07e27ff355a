/**
 * Random sequences of requests, releases, aborts and steals. They are drawn from a seed in Node,
 * run in a page or in Node, and logged so that two implementations can be compared.
 *
 * A plan is a list of turns. All actions of a turn start together, and the turn ends at a rest. The
 * log of a turn keeps the order of the grants of each name, and the outcome of each request. It
 * does not keep the order of settlements: a browser settles a request before its lock manager knows
 * of the release, and `session.locks` settles it afterwards. For the same reason no callback ends
 * in a turn with a steal.
 *
 * A plan aborts no exclusive request that waits for shared locks. Chromium would leave the waiters
 * behind it waiting, against the specification, and every later turn would differ.
 */
import type { Asked, Locks } from './script.js'
import { Script } from './script.js'

export interface Ask {
  readonly act: 'ask'
  readonly label: string
  readonly name: string
  readonly options: LockOptions & { readonly abortable: boolean }
}

export interface End {
  readonly act: 'release' | 'fail' | 'abort'
  readonly label: string
}

export type Turn = readonly (Ask | End)[]

/** The members of a random source that a plan needs. */
export interface Chance {
  below(end: number): number
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
}

const names = ['x', 'y', '', '\0']

export function drawPlan(chance: Chance, turns: number): Turn[] {
  let count = 0
  const open: Ask[] = []
  const ask = (steal: boolean): Ask => {
    const ifAvailable = !steal && chance.chance(0.2)
    const abortable = !steal && !ifAvailable && chance.chance(0.6)
    const mode = !steal && chance.chance(0.5) ? 'shared' : 'exclusive'
    const options = { mode, steal, ifAvailable, abortable } as const
    const asked: Ask = { act: 'ask', label: `r${count++}`, name: chance.pick(names), options }
    open.push(asked)
    return asked
  }
  const some = <T>(most: number, make: () => T) =>
    Array.from({ length: 1 + chance.below(most) }, make)
  const end = (...acts: End['act'][]) => ({
    act: chance.pick(acts),
    label: chance.pick(open).label,
  })
  const turn = (): Turn => {
    const kind = open.length === 0 ? 0 : chance.below(7)
    if (kind <= 2) return some(4, () => ask(false))
    if (kind <= 4) return some(3, () => end('release', 'release', 'fail'))
    if (kind === 5)
      return chance.chance(0.5) ? some(2, () => end('abort')) : askAndAbort(ask(false))
    return [ask(true), ...some(2, () => ask(false))]
  }
  return [...Array.from({ length: turns }, turn), ...closing(open)]
}

/** An abort in the turn of the request. */
function askAndAbort(asked: Ask): Turn {
  return [asked, { act: 'abort', label: asked.label }]
}

/** Ends all held and waiting requests, the holders first. */
function closing(open: readonly Ask[]): Turn[] {
  return open.map(({ label }) => [
    { act: 'abort', label },
    { act: 'release', label },
  ])
}

/** Runs a plan, and returns its log turn by turn. */
export async function followPlan(
  plan: readonly Turn[],
  locks: Locks,
  far: Locks,
  prefix: string,
): Promise<string[]> {
  const script = new Script(locks, far, prefix)
  const asked = new Map<string, Asked>()
  const asks = new Map<string, Ask>()
  const story: string[] = []
  let held: readonly string[] = []
  let pending: readonly string[] = []
  for (const [i, turn] of plan.entries()) {
    for (const act of turn) {
      if (act.act === 'ask') {
        asks.set(act.label, act)
        asked.set(act.label, script.ask(act.label, act.name, act.options))
      } else {
        const { name, options } = asks.get(act.label)!
        const isBehindShared = options.mode === 'exclusive' && held.includes(`${name} shared`)
        if (act.act !== 'abort' || !isBehindShared) end(asked.get(act.label)!, act)
      }
    }
    await script.calm()
    ;({ held, pending } = await script.look())
    story.push(`turn ${i}: ${turn.map(tell).join('; ')}`, ...inOrder(script.log, asks))
    story.push(`held: ${held.join(', ')}`, `pending: ${[...pending].sort(byName).join(', ')}`)
    script.log.length = 0
  }
  return story
}

function end(asked: Asked, { act, label }: End): void {
  if (act === 'release') asked.release(label)
  else if (act === 'fail') asked.fail(new Error(label))
  else asked.abort(label)
}

/** The grants, name by name, and then the settlements. */
function inOrder(log: readonly string[], asks: ReadonlyMap<string, Ask>): string[] {
  const key = (line: string) => asks.get(line.slice(0, line.indexOf(':')))!.name
  const grants = log.filter((line) => /: (granted|null)$/.test(line))
  const settlements = log.filter((line) => !/: (granted|null)$/.test(line))
  const sorted = [...grants].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0))
  return [...sorted, ...settlements.sort()]
}

/** Sorts pending requests by name, because only the order within a name is defined. */
function byName(a: string, b: string): number {
  const [x, y] = [a, b].map((line) => line.slice(0, line.lastIndexOf(' ')))
  return x! < y! ? -1 : x! > y! ? 1 : 0
}

function tell(act: Ask | End): string {
  if (act.act !== 'ask') return `${act.act} ${act.label}`
  const { mode, steal, ifAvailable } = act.options
  const how = steal ? 'steals' : ifAvailable ? 'wants now' : 'asks for'
  return `${act.label} ${how} ${JSON.stringify(act.name)} ${mode}`
}
