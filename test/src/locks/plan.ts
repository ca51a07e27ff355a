/**
 * Random plans of requests, steals, releases, failures and aborts. Node draws a plan from a seed. A
 * page of a browser runs the plan twice: with `navigator.locks` and with `session.locks`. A test
 * compares the logs of the effects.
 *
 * A plan is a list of turns. All actions of a turn start together; the turn ends when its effects
 * have ended. The log of a turn keeps the order of the grants of each name, and the outcome of each
 * request. The log does not keep the order in which requests settle, because the implementations
 * differ. A browser settles a request before its lock manager knows of the release, but
 * `session.locks` settles the request afterwards. A steal in between could therefore change the
 * outcome of the request in only one of the two. To prevent this, a turn with a steal has no
 * release, failure or abort.
 *
 * `runPlan` skips each abort of an exclusive request that waits for shared locks. After such an
 * abort, the specification grants the requests behind the aborted request, but Chromium does not.
 * Without the skip, the logs of all later turns would differ.
 */
import type { Locks, ScriptedRequest } from './script.js'
import { Script } from './script.js'

export interface PlannedRequest {
  readonly kind: 'request'
  readonly label: string
  readonly name: string
  readonly options: LockOptions & { readonly abortable: boolean }
}

/** An action that ends an earlier request, which `label` names. */
export interface PlannedEnd {
  readonly kind: 'release' | 'fail' | 'abort'
  readonly label: string
}

export type PlanTurn = readonly (PlannedRequest | PlannedEnd)[]

/** A source of random choices, such as `Random`. `below` returns a whole number below `end`. */
export interface RandomSource {
  below(end: number): number
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
}

/** The names of the locks. The last two are no valid keys of the broker. */
const names = ['x', 'y', '', '\0']

/** Draws a plan of this many turns, and adds turns that end all requests. */
export function drawPlan(random: RandomSource, turns: number): PlanTurn[] {
  let requestCount = 0
  const requests: PlannedRequest[] = []
  const planRequest = ({ steal }: { steal: boolean }): PlannedRequest => {
    const ifAvailable = !steal && random.chance(0.2)
    const abortable = !steal && !ifAvailable && random.chance(0.6)
    const mode = !steal && random.chance(0.5) ? 'shared' : 'exclusive'
    const options = { mode, steal, ifAvailable, abortable } as const
    const planned: PlannedRequest = {
      kind: 'request',
      label: `r${requestCount++}`,
      name: random.pick(names),
      options,
    }
    requests.push(planned)
    return planned
  }
  /** Makes one to `maxCount` items. */
  const upTo = <T>(maxCount: number, make: () => T) =>
    Array.from({ length: 1 + random.below(maxCount) }, make)
  /** Ends a random request in one of these ways. A way that is given twice is twice as likely. */
  const planEnd = (...kinds: PlannedEnd['kind'][]): PlannedEnd => ({
    kind: random.pick(kinds),
    label: random.pick(requests).label,
  })
  const turn = (): PlanTurn => {
    // Of seven turns, on average: three request locks, two release or fail, one aborts, one steals.
    const choice = requests.length === 0 ? 0 : random.below(7)
    if (choice <= 2) return upTo(4, () => planRequest({ steal: false }))
    if (choice <= 4) return upTo(3, () => planEnd('release', 'release', 'fail'))
    if (choice === 5)
      return random.chance(0.5)
        ? upTo(2, () => planEnd('abort'))
        : withAbort(planRequest({ steal: false }))
    return [planRequest({ steal: true }), ...upTo(2, () => planRequest({ steal: false }))]
  }
  return [...Array.from({ length: turns }, turn), ...closingTurns(requests)]
}

/** A turn that makes this request and aborts it. */
function withAbort(request: PlannedRequest): PlanTurn {
  return [request, { kind: 'abort', label: request.label }]
}

/**
 * Turns that end all requests, one request in each turn, in the order of the requests. The abort
 * ends a request that waits, and the release ends a request that holds its lock.
 */
function closingTurns(requests: readonly PlannedRequest[]): PlanTurn[] {
  return requests.map(({ label }) => [
    { kind: 'abort', label },
    { kind: 'release', label },
  ])
}

/**
 * Runs a plan, and returns the log of all turns.
 *
 * @param locks Makes all requests of the plan.
 * @param otherLocks Another client of the same locks, which makes no requests, or the same object.
 * @param prefix The prefix of all names of locks. Plans that run at the same time need different
 * prefixes.
 */
export async function runPlan(
  plan: readonly PlanTurn[],
  locks: Locks,
  otherLocks: Locks,
  prefix: string,
): Promise<string[]> {
  const script = new Script(locks, otherLocks, prefix)
  const scriptedRequests = new Map<string, ScriptedRequest>()
  const plannedRequests = new Map<string, PlannedRequest>()
  const log: string[] = []
  let held: readonly string[] = []
  let pending: readonly string[] = []
  for (const [i, turn] of plan.entries()) {
    for (const action of turn) {
      const { label } = action
      if (action.kind === 'request') {
        plannedRequests.set(label, action)
        scriptedRequests.set(label, script.request(label, action.name, action.options))
      } else {
        const { name, options } = plannedRequests.get(label)!
        const waitsForShared = options.mode === 'exclusive' && held.includes(`${name} shared`)
        if (action.kind !== 'abort' || !waitsForShared)
          endRequest(scriptedRequests.get(label)!, action)
      }
    }
    await script.untilQuiet()
    ;({ held, pending } = await script.listOwn())
    log.push(`turn ${i}: ${turn.map(describeAction).join('; ')}`)
    log.push(...sortedLines(script.log, plannedRequests))
    log.push(`held: ${held.join(', ')}`, `pending: ${[...pending].sort(byName).join(', ')}`)
    script.log.length = 0
  }
  return log
}

/** Ends a request as planned. */
function endRequest(request: ScriptedRequest, { kind, label }: PlannedEnd): void {
  if (kind === 'release') request.release(label)
  else if (kind === 'fail') request.fail(new Error(label))
  else request.abort(label)
}

/**
 * The lines of a turn: first the arguments of the callbacks, by the name of the lock, and then the
 * settlements.
 */
function sortedLines(
  log: readonly string[],
  planned: ReadonlyMap<string, PlannedRequest>,
): string[] {
  const nameOf = (line: string) => planned.get(line.slice(0, line.indexOf(':')))!.name
  const isArgument = (line: string) => /: (granted|null)$/.test(line)
  const callbackArguments = log.filter(isArgument)
  const settlements = log.filter((line) => !isArgument(line))
  callbackArguments.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0))
  return [...callbackArguments, ...settlements.sort()]
}

/** Compares pending requests by name, because only the order within a name is defined. */
function byName(a: string, b: string): number {
  const [x, y] = [a, b].map((line) => line.slice(0, line.lastIndexOf(' ')))
  return x! < y! ? -1 : x! > y! ? 1 : 0
}

/** Describes an action for the message of a failed test. */
function describeAction(action: PlannedRequest | PlannedEnd): string {
  if (action.kind !== 'request') return `${action.kind} ${action.label}`
  const { mode, steal, ifAvailable } = action.options
  const verb = steal ? 'steals' : ifAvailable ? 'tries to get' : 'requests'
  return `${action.label} ${verb} ${JSON.stringify(action.name)} ${mode}`
}
