/**
 * An oracle (a check of a simulated run) of `once`. If no run of a key is under way, the
 * next caller is the runner. The runner runs its function, and gives the value by the command
 * `complete`. A caller during the run is a follower, and gets the value of that run. The table may
 * keep the value for later callers.
 *
 * The oracle checks the commands and effects of the lock table, and the values that the client
 * programs get. Only the `complete` of a runner gives a value. A follower gets only the value of
 * the run that it waited for, and every other caller only a kept value. No request gets two
 * answers. A kept value answers every call until the table forgets this value. The table forgets a
 * value when its time is over, or when the key has a newer value. When the table keeps too many
 * values, it forgets the oldest.
 */
import type { Command, Effect, Lock } from '@holdfast/server/core'
import type { RunReport } from './runReport.js'

/**
 * The factor by which a time may be longer or shorter. The clock of a broker may be wrong by 1 %,
 * and in a world with several brokers by 1.5 %. The last 0.1 % allows for times in whole ms.
 */
const clockTolerance = 1.016
/** A time may be shorter by this many ms, because timers fire early. */
const earlyMs = 2

type EffectOf<K extends Effect['kind']> = Extract<Effect, { kind: K }>

interface Waiter {
  readonly key: string
  /** The fence of the run whose value must answer this waiter; undefined before the run ends. */
  runFence: number | undefined
}

/** A result: the value of a run, after the table has accepted it. */
interface RunResult {
  readonly key: string
  /** JSON text. */
  readonly value: string | undefined
  /** World time (time of the simulation) of the `complete`. */
  readonly at: number
  /** World time at which the table forgot the value; undefined until then. */
  keptUntil: number | undefined
  /** Whether the table has ever kept the value. */
  wasKept: boolean
}

/** A value that the table keeps. */
interface KeptValue {
  /** The fence (number of the grant) of the run that gave the value. */
  readonly fence: number
  /** How long the table must keep the value, in ms. */
  readonly keep: number
  /** World time at which this duration began. */
  since: number
}

/** The value that the function of a client program returns. The value names its run. */
export interface RunValue {
  /** The call of the client program whose function returned the value. */
  readonly op: string
  readonly fence: number
  /** Makes the value large. */
  readonly padding: string
}

export class OnceOracle {
  readonly #report: RunReport
  readonly #now: () => number
  /** The largest number of values that the table may keep; the operator sets this limit. */
  readonly #maxKept: number
  /** The `once` requests that wait, by `session#id`. */
  #waiters = new Map<string, Waiter>()
  /** The sessions of the runners, by fence. */
  #runners = new Map<number, string>()
  /** The kept values by key, oldest first. */
  #kept = new Map<string, KeptValue>()
  /** The ids of the answered requests, by session. */
  #answered = new Map<string, Set<number>>()
  /** The results of all runs, by fence. */
  readonly #results = new Map<number, RunResult>()

  constructor(report: RunReport, now: () => number, maxKept: number) {
    this.#report = report
    this.#now = now
    this.#maxKept = maxKept
  }

  /**
   * The former broker has ended, and a broker has started with an empty table. Forgets the runs of
   * the former table, and ends the time of its kept values.
   */
  brokerStarted(): void {
    for (const { fence } of this.#kept.values()) this.#results.get(fence)!.keptUntil = this.#now()
    this.#kept = new Map()
    this.#waiters = new Map()
    this.#runners = new Map()
    this.#answered = new Map()
  }

  /** Checks a command and its effects. */
  check(command: Command, effects: readonly Effect[]): void {
    /** Whether the table already keeps the value that this command gives. */
    let hasKept = false
    for (const effect of effects) {
      switch (effect.kind) {
        case 'queued':
          if (command.type === 'once') this.#queued(command.key, nameOf(effect.request))
          break
        case 'granted':
          this.#granted(effect, command)
          break
        case 'released':
          this.#released(effect.lock, command)
          break
        case 'withdrawn':
          // An answered waiter is removed at its `answer`, which follows.
          if (effect.reason !== 'answered') this.#waiters.delete(nameOf(effect.request))
          break
        case 'answer':
          if (effect.answer.kind === 'result' && !effect.repeat) this.#checkResult(effect, command)
          break
        case 'kept':
          hasKept = true
          this.#keeps(effect, command)
          break
        case 'keepRestarted':
          this.#keepRestarted(effect, command)
          break
        case 'forgotten':
          this.#forgotten(effect, command, hasKept)
          break
        case 'ended':
          this.#answered.delete(effect.session.id)
          break
      }
    }
    if (this.#kept.size > this.#maxKept)
      this.#violated('the table keeps no more results than the limit', `${this.#kept.size}`)
  }

  /**
   * Checks that the table keeps no value for too long. Call only in a world without faults.
   *
   * @param lateMs How late a broker may be.
   */
  checkOverdue(lateMs: number): void {
    for (const [key, { fence, keep, since }] of this.#kept) {
      const keptMs = this.#now() - since
      if (keptMs > keep * clockTolerance + lateMs)
        this.#violated('a kept result is forgotten in time', `${fence} of ${key}: ${keptMs} ms`)
    }
  }

  /**
   * Checks a value that a call of a client program got.
   *
   * @param calledAt World time of the call.
   * @param ownFence The fence under which the call ran its function; undefined if the call has not
   *   run its function.
   */
  valueReturned(
    key: string,
    value: RunValue,
    calledAt: number,
    ownFence: number | undefined,
  ): void {
    const result = this.#results.get(value.fence)
    const detail = `${key}: ${value.op}, fence ${value.fence}`
    if (result === undefined || result.key !== key || result.value !== JSON.stringify(value)) {
      this.#violated('a caller gets the value of a run of its key', detail)
    } else if (ownFence !== undefined) {
      if (ownFence !== value.fence) this.#violated('a runner gets its own value', detail)
    } else {
      const wasKeptAtCall = result.wasKept && (result.keptUntil ?? this.#now()) >= calledAt
      if (result.at < calledAt && !wasKeptAtCall)
        this.#violated('a value is not older than the call, unless it is kept', detail)
      this.#report.count(result.at < calledAt ? 'once: got a kept value' : 'once: followed a run')
    }
  }

  #queued(key: string, name: string): void {
    if (this.#kept.has(key)) this.#violated('a kept result answers a call immediately', name)
    this.#waiters.set(name, { key, runFence: undefined })
  }

  #granted({ lock, request }: EffectOf<'granted'>, command: Command): void {
    const name = nameOf(lock)
    if (request === undefined) {
      if (command.type !== 'once') return
      if (this.#kept.has(lock.key)) this.#violated('a kept result answers a call immediately', name)
    } else {
      const waiter = this.#waiters.get(name)
      if (waiter === undefined) return
      if (waiter.runFence !== undefined)
        this.#violated('a follower of a run that has ended does not run', name)
      this.#waiters.delete(name)
    }
    this.#report.count('once: ran')
    this.#runners.set(lock.fence, lock.session.id)
    // The grant is the answer to the runner.
    this.#recordAnswer(lock.session.id, lock.id)
  }

  #released({ fence, key }: Lock, command: Command): void {
    const runner = this.#runners.get(fence)
    this.#runners.delete(fence)
    if (command.type !== 'complete') return
    if (command.fence !== fence || runner !== command.session) {
      const detail = `${command.session} completed ${command.fence} and released ${fence}`
      this.#violated('only the runner of a once gives a value', detail)
    }
    const { value } = command
    const result = { key, value, at: this.#now(), wasKept: false, keptUntil: undefined }
    this.#results.set(fence, result)
    for (const waiter of this.#waiters.values())
      if (waiter.key === key && waiter.runFence === undefined) waiter.runFence = fence
  }

  #checkResult({ session, id, answer }: EffectOf<'answer'>, command: Command): void {
    if (answer.kind !== 'result') return
    const name = `${session.id}#${id}`
    const { fence, value } = answer.result
    const waiter = this.#waiters.get(name)
    if (waiter !== undefined) {
      this.#waiters.delete(name)
      if (waiter.runFence !== fence) {
        const detail = `${name} got the value of ${fence} and waited for ${waiter.runFence}`
        this.#violated('a follower gets the value of the run that it waited for', detail)
      }
    } else if (command.type !== 'once' || command.session !== session.id || command.id !== id) {
      this.#violated('only a once gets the value of a run', name)
    } else if (this.#kept.get(command.key)?.fence !== fence) {
      this.#violated('a call that has not waited gets only a kept value', `${name}: ${fence}`)
    }
    if (this.#results.get(fence)?.value !== value)
      this.#violated('an answer has the value of the runner', `${name}: ${fence}`)
    this.#recordAnswer(session.id, id)
  }

  #recordAnswer(session: string, id: number): void {
    const ids = this.#answered.get(session) ?? new Set()
    this.#answered.set(session, ids)
    if (ids.has(id)) this.#violated('a once gets one answer', `${session}#${id}`)
    ids.add(id)
  }

  #keeps({ kept: { key, result } }: EffectOf<'kept'>, command: Command): void {
    const runResult = this.#results.get(result.fence)
    if (command.type !== 'complete' || command.fence !== result.fence || runResult === undefined) {
      this.#violated('only the complete of a runner gives a kept value', `${key} ${result.fence}`)
      return
    }
    if (this.#kept.has(key)) this.#violated('a key has at most one kept value', key)
    this.#report.count('once: kept')
    runResult.wasKept = true
    this.#kept.set(key, { fence: result.fence, keep: command.keep ?? 0, since: this.#now() })
  }

  /** A broker takes over a kept value, whose time starts again. */
  #keepRestarted({ kept }: EffectOf<'keepRestarted'>, command: Command): void {
    const keptValue = this.#kept.get(kept.key)
    if (keptValue !== undefined) keptValue.since = this.#now()
    // Only a `restart` has this effect, so the first condition only narrows the type.
    if (command.type === 'restart' && kept.ownerBroker !== command.ownerBroker) {
      const detail = `${kept.key} belongs to ${kept.ownerBroker}, not to ${command.ownerBroker}`
      this.#violated('a broker that takes over owns the kept results', detail)
    }
  }

  #forgotten({ kept }: EffectOf<'forgotten'>, command: Command, hasKept: boolean): void {
    const { key, result } = kept
    const keptValue = this.#kept.get(key)
    const detail = `${key} ${result.fence} by ${command.type}`
    if (keptValue?.fence !== result.fence) {
      this.#violated('the table forgets a kept result once', detail)
      return
    }
    if (command.type === 'forgetResult') {
      const keptMs = this.#now() - keptValue.since
      if (keptMs < keptValue.keep / clockTolerance - earlyMs)
        this.#violated(
          'a result is kept for its time',
          `${detail}: ${keptMs} of ${keptValue.keep} ms`,
        )
    } else if (command.type !== 'complete') {
      this.#violated('the table forgets a result for a reason', detail)
    } else if (hasKept) {
      // The table has forgotten the old value of the same key before it kept the new value. So it
      // now forgets the oldest value, because it has too many.
      this.#report.count('once: kept too many')
      const [oldestKey] = this.#kept.keys()
      if (this.#kept.size <= this.#maxKept || oldestKey !== key)
        this.#violated('the table forgets the oldest result of too many', detail)
    }
    this.#kept.delete(key)
    this.#results.get(result.fence)!.keptUntil = this.#now()
  }

  #violated(rule: string, detail: string): void {
    this.#report.violated(rule, detail)
  }
}

/** The name of a request, such as `s1#2`. A lock has the session and the id of its request. */
function nameOf({ session, id }: { session: { id: string }; id: number }): string {
  return `${session.id}#${id}`
}
