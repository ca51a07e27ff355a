/**
 * Starts the deadlines of sessions that this broker takes over, in short turns. A broker takes over
 * all sessions when it starts with a journal, and the sessions of another broker of its cluster
 * when that broker has ended. These sessions may hold a million locks with a ttl (how long a lock
 * lives without a refresh). To start a million deadlines takes a second.
 *
 * Each deadline counts from the takeover, and not from the later turn that starts the deadline. If
 * the time of a deadline has passed when the deadline starts, the broker handles the deadline at
 * once. All deadlines of a session start before its client can resume the session.
 */
import { costOfGathering, costs } from '../config/workCosts.js'
import type { PacedWork, WorkScheduler } from '../connection/workScheduler.js'
import { type BarrierCall, Lock, type Request, type Session } from '../core/index.js'
import type { BrokerTimekeeper } from './deadlineHandler.js'
import type { HoldDeadlines } from './holdDeadlines.js'

/** A record that may have deadlines: for a lock its ttl and `maxHold`, otherwise a timeout. */
type Timed = Lock | Request | BarrierCall<Session>

/** Earlier than every time; stands for a deadline or start time that a lock does not have. */
const longAgo = Number.NEGATIVE_INFINITY

interface Restart {
  /** When this broker took over the session, in compensated time (see `timekeeper.ts`). */
  readonly since: number
  /** The records whose deadlines must start; undefined until the first work on this session. */
  records: readonly Timed[] | undefined
  /** How many of the records were visited. */
  visitedCount: number
}

export interface DeadlineRestartsDeps {
  readonly time: Pick<
    BrokerTimekeeper,
    'now' | 'clientDeadlineOf' | 'setClientDeadline' | 'setTimer'
  >
  readonly holdDeadlines: Pick<HoldDeadlines, 'start' | 'startTimeOf'>
  readonly scheduler: Pick<WorkScheduler, 'add' | 'remove'>
}

export class DeadlineRestarts implements PacedWork {
  readonly #deps: DeadlineRestartsDeps
  /** The sessions with deadlines that must start, in the order of the takeover. */
  readonly #restarts = new Map<Session, Restart>()

  constructor(deps: DeadlineRestartsDeps) {
    this.#deps = deps
  }

  /** Starts the deadlines of a session in later turns. Call when this broker takes it over. */
  add(session: Session): void {
    // Without this deletion, the session would keep the place of an earlier takeover in the map.
    this.#restarts.delete(session)
    const since = this.#deps.time.now()
    this.#restarts.set(session, { since, records: undefined, visitedCount: 0 })
    this.#deps.scheduler.add(this)
  }

  /**
   * Starts all remaining deadlines of a session at once. Call before the client resumes the
   * session. Returns the units of work (see `workCosts.ts`).
   */
  finish(session: Session): number {
    const restart = this.#restarts.get(session)
    return restart === undefined ? 0 : this.#workOn(session, restart, Number.POSITIVE_INFINITY)
  }

  /** Starts no more deadlines of a session. Call when the session ends or gets another owner. */
  forget(session: Session): void {
    this.#restarts.delete(session)
  }

  /** Starts no more deadlines. Call when this broker is no longer a member of its cluster. */
  clear(): void {
    this.#restarts.clear()
    this.#deps.scheduler.remove(this)
  }

  /**
   * The time from which the deadlines of a lock count, in compensated time. Undefined unless the
   * session of the lock still has deadlines to start.
   */
  startTimeOf({ session }: Lock): number | undefined {
    return this.#restarts.get(session)?.since
  }

  work(units: number): number {
    const [first] = this.#restarts
    if (first === undefined) return 0
    const [session, restart] = first
    const usedUnits = this.#workOn(session, restart, units)
    if (this.#restarts.size > 0) this.#deps.scheduler.add(this)
    return usedUnits
  }

  /** Starts deadlines of a session for about `units` units of work. Returns the used units. */
  #workOn(session: Session, restart: Restart, units: number): number {
    let usedUnits = 0
    if (restart.records === undefined) {
      restart.records = recordsOf(session)
      // If gathering many records uses up `units`, the deadlines start in later calls.
      usedUnits += costOfGathering(restart.records.length)
    }
    const { records } = restart
    while (restart.visitedCount < records.length && usedUnits < units) {
      this.#start(records[restart.visitedCount++]!, restart.since)
      usedUnits += costs.deadline
    }
    if (restart.visitedCount === records.length) this.#restarts.delete(session)
    return usedUnits
  }

  /** Starts the deadlines of a record, unless the record has ended since it was gathered. */
  #start(record: Timed, since: number): void {
    if (record instanceof Lock) this.#startLock(record, since)
    else if (record.timeout !== undefined && isWaiting(record)) {
      const elapsed = this.#deps.time.now() - since
      this.#deps.time.setTimer(record, Math.max(0, record.timeout - elapsed))
    }
  }

  /**
   * Starts the deadlines of a lock. A lock that was granted after the takeover has later deadlines
   * already, and keeps them.
   */
  #startLock(lock: Lock, since: number): void {
    const { time, holdDeadlines } = this.#deps
    if (lock.session.held.get(lock.fence) !== lock) return
    if (lock.ttl !== undefined && (time.clientDeadlineOf(lock) ?? longAgo) < since + lock.ttl)
      time.setClientDeadline(lock, since + lock.ttl)
    if ((holdDeadlines.startTimeOf(lock) ?? longAgo) < since) holdDeadlines.start(lock, since)
  }
}

/** The records of a session that may have deadlines: its locks, requests and barrier calls. */
function recordsOf({ timedLockCount, held, waiting, barrierCalls }: Session): Timed[] {
  const locks = timedLockCount === 0 ? [] : held.values().filter(({ isTimed }) => isTimed)
  return [...locks, ...waiting.values(), ...barrierCalls.values()]
}

function isWaiting(record: Request | BarrierCall<Session>): boolean {
  const { session, id } = record
  return session.waiting.get(id) === record || session.barrierCalls.get(id) === record
}
