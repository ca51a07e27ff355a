/**
 * An oracle (a check of a simulated run) of the time at which a broker ends sessions and locks.
 * Each process of a broker, from start to exit, has its own oracle. A session ends when its client
 * has been silent for the lease, or disconnected for the grace of the session. A lock ends when its
 * ttl, which starts at the grant and at each refresh, is over. When the broker proposes an end, the
 * oracle checks that the end is due. For this check, the oracle uses the network traffic and the
 * time that the process ran. A stop of the process (as by SIGSTOP) ends no session. A session whose
 * connection the broker closed keeps its whole lease. A broker that takes over sessions starts
 * every deadline anew.
 */
import type { Command, Effect, Lock, LockTable, Request, Session } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { RunReport } from './runReport.js'
import type { SimProcess } from './simProcess.js'
import { type ProcessTime, Stopwatch } from './stopwatch.js'

/**
 * How late the broker may end a session or a lock, in ms. Time in which the process of the broker
 * did not run does not count.
 */
const latenessMs = 3_000
/** A session that holds nothing and waits for nothing may last for its lease times this factor. */
const idleLeaseFactor = 2

interface SessionRecord {
  connection: Connection | undefined
  /** When the broker learned that the connection had ended, unless the broker closed it. */
  droppedAt: ProcessTime | undefined
  /** Whether the broker closed the connection. */
  wasClosedByBroker: boolean
  /**
   * When the broker last received a frame of the session. Undefined until the broker welcomed the
   * client or took over the session.
   */
  lastReceived: ProcessTime | undefined
  /** Whether the broker has proposed the end of the session. */
  isEndProposed: boolean
}

/** The state of the broker that the oracle reads. */
export interface BrokerView {
  readonly process: SimProcess
  /** The name under which the broker owns sessions; undefined while it owns none. */
  readonly ownerBroker: string | undefined
  readonly table: Omit<LockTable, 'apply'> | undefined
}

export class SessionOracle {
  readonly #report: RunReport
  readonly #broker: BrokerView
  /**
   * Measures a lower and an upper bound of an elapsed time, because the broker may not notice how
   * long a stop of the process lasted.
   */
  readonly #stopwatch: Stopwatch
  readonly #records = new Map<string, SessionRecord>()
  /** When the broker last read a frame from each connection. */
  readonly #received = new WeakMap<Connection, ProcessTime>()
  /** When the ttl of each lock began, by the fence (the unique number) of the lock. */
  readonly #ttlStarts = new Map<number, ProcessTime>()
  /** The fences of the locks whose expiry was proposed since their ttl began. */
  readonly #expiring = new Set<number>()

  constructor(report: RunReport, broker: BrokerView) {
    this.#report = report
    this.#broker = broker
    this.#stopwatch = new Stopwatch(broker.process)
  }

  /** The broker has read a frame from this connection. */
  received(connection: Connection): void {
    // A frame does not extend the lease if the broker reads it after closing the connection.
    if (connection.wasClosedByBroker) return
    const now = this.#stopwatch.read()
    this.#received.set(connection, now)
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection === connection) record.lastReceived = now
  }

  /** The broker sends a `welcome`, which tells the client its session and a new secret. */
  welcomed(connection: Connection, id: string, secret: string | undefined): void {
    const session = this.#broker.table?.sessions.get(id)
    // If the secret is not the newest, another connection has replaced this connection in the same
    // turn (run of the event loop). A session without a grace has one connection and no secret.
    const newestHash = session?.nextSecret ?? session?.secret
    if (session === undefined || (secret !== undefined && newestHash !== `hash of ${secret}`))
      return
    connection.session = id
    const record = this.#recordOf(id)
    record.connection = connection
    record.droppedAt = undefined
    record.wasClosedByBroker = false
    record.lastReceived = this.#received.get(connection) ?? this.#stopwatch.read()
  }

  /** The broker has learned that this connection is closed. */
  closedAtBroker(connection: Connection): void {
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection !== connection) return
    // The connection may have dropped before a stop of the process. So `droppedAt` has the present
    // time, but the number of stops at the last frame. This raises the upper bound of the time
    // since the drop for each stop since that frame.
    if (connection.wasClosedByBroker) record.wasClosedByBroker = true
    else record.droppedAt = { ...this.#stopwatch.read(), stops: record.lastReceived?.stops ?? 0 }
  }

  /**
   * Whether the client of an ended session may still believe that it holds locks. The broker ends a
   * disconnected session after the grace. The client believes in its locks until the lease is over.
   */
  mayStillBelieve({ id, grace, lease }: Session): boolean {
    return this.#records.get(id)?.droppedAt !== undefined && grace < lease
  }

  /** The broker begins to serve, and all deadlines of its sessions begin anew. */
  served(): void {
    for (const session of this.#broker.table?.sessions.values() ?? []) {
      if (!this.#isOwned(session)) continue
      this.#takenOver(session)
      for (const lock of session.held.values()) this.#ttlBegins(lock)
    }
  }

  // -------------------------------------------------------------------------- effects of the table

  /**
   * Checks the effects of a command.
   *
   * @param isLeaving Whether the broker drains and has told its clients to leave.
   */
  check(command: Command, effects: readonly Effect[], isLeaving: boolean): void {
    if (command.type === 'suspend') this.#suspended(command.session, command.keep)
    for (const effect of effects) {
      switch (effect.kind) {
        case 'opened':
        case 'resumed':
          this.#startRecord(effect.session.id)
          break
        case 'granted':
        case 'refreshed':
          this.#ttlBegins(effect.lock)
          break
        case 'deadlinesRestarted':
          for (const lock of effect.session.held.values()) this.#ttlBegins(lock)
          break
        case 'released':
          // A set (a lock of several keys) has an effect for each key. Only the primary one counts.
          if (!effect.lock.isPrimary) break
          if (effect.reason === 'expired') this.#checkAppliedExpiry(effect.lock)
          this.#ttlStarts.delete(effect.lock.fence)
          this.#expiring.delete(effect.lock.fence)
          break
        case 'withdrawn':
          if (!effect.request.isPrimary) break
          // An `answered` request is a `once` (it asks for the value of a function). It left the
          // queue because another caller ran the function.
          if (command.type === 'suspend' && effect.reason !== 'answered')
            this.#checkWithdrawn(effect.request)
          break
        case 'suspended':
          if (command.type === 'restart') this.#takenOver(effect.session)
          else this.#checkSuspension(effect.session, effect.keep)
          break
        case 'ended':
          this.#checkEnd(effect.session, effect.reason, isLeaving)
          break
      }
    }
  }

  /** Called after `mayStillBelieve`, which still needs the record of the ended session. */
  forget(id: string): void {
    this.#records.delete(id)
  }

  #ttlBegins({ fence }: Lock): void {
    this.#ttlStarts.set(fence, this.#stopwatch.read())
    this.#expiring.delete(fence)
  }

  /** A proposed expiry is void if the ttl began anew after the proposal. */
  #checkAppliedExpiry({ fence, session }: Lock): void {
    if (!this.#isOwned(session) || this.#expiring.has(fence)) return
    this.#report.violated(
      'a lock does not expire before its ttl',
      `fence ${fence} was refreshed meanwhile`,
    )
  }

  #startRecord(id: string): void {
    this.#records.set(id, {
      connection: undefined,
      droppedAt: undefined,
      wasClosedByBroker: false,
      lastReceived: undefined,
      isEndProposed: false,
    })
  }

  /** This broker does not know the former deadlines of the session, so the lease begins anew. */
  #takenOver({ id }: Session): void {
    this.#startRecord(id)
    this.#recordOf(id).lastReceived = this.#stopwatch.read()
  }

  /** @param keep Whether the broker closed the connection. Then the session keeps its lease. */
  #suspended(id: string, keep: boolean): void {
    const record = this.#recordOf(id)
    // Before its welcome, a connection has no session, so `closedAtBroker` did not record the drop.
    if (record.connection === undefined) record.droppedAt = this.#stopwatch.read()
    this.#report.count(keep ? 'session disconnected by the broker' : 'session dropped')
  }

  /** Checks a request that leaves a queue because its session was disconnected. */
  #checkWithdrawn({ id, session }: Request): void {
    if (session.grace > 0)
      this.#report.violated(
        'a session keeps its queue places during its grace',
        `${session.id}#${id}`,
      )
  }

  /** A session with neither a grace nor `keep` must end, and not be suspended. */
  #checkSuspension(session: Session, keep: boolean): void {
    if (session.grace > 0 || keep) return
    this.#report.violated('a drop ends a session without a grace', session.id)
  }

  #checkEnd(session: Session, reason: string, isLeaving: boolean): void {
    const record = this.#recordOf(session.id)
    if (!this.#isOwned(session)) return
    this.#report.count(`session ended: ${reason}`)
    const wasDropped = record.droppedAt !== undefined && session.grace === 0
    if (reason === 'dropped' && !wasDropped && !isLeaving) {
      this.#report.violated(
        'a session that the broker disconnected keeps its lease',
        `${session.id} ended as dropped`,
      )
    }
  }

  // ----------------------------------------------------------------------- proposals of the broker

  /** The broker proposes a command. @param isLeaving As for {@link check}. */
  proposed(command: Command, isLeaving: boolean): void {
    const { table, ownerBroker } = this.#broker
    if (table === undefined || ownerBroker === undefined) return
    // The table ignores a command with an old epoch or generation, so it needs no check.
    if (command.type === 'end' && command.reason === 'expired') {
      const session = table.sessions.get(command.session)
      if (session?.attachEpoch !== command.attachEpoch) return
      this.#recordOf(session.id).isEndProposed = true
      if (this.#checkOwner(session)) this.#checkProposedEnd(session, isLeaving)
    } else if (command.type === 'expire') {
      const lock = table.sessions.get(command.session)?.held.get(command.fence)
      if (lock?.generation !== command.generation) return
      this.#expiring.add(lock.fence)
      if (this.#checkOwner(lock.session)) this.#checkProposedExpiry(lock)
    }
  }

  /** Checks that the broker owns the session. */
  #checkOwner({ id, ownerBroker }: Session): boolean {
    if (ownerBroker === this.#broker.ownerBroker) return true
    const detail = `${this.#broker.ownerBroker} ends ${id}, which belongs to ${ownerBroker}`
    this.#report.violated('only the owner broker ends sessions and locks', detail)
    return false
  }

  #checkProposedEnd(session: Session, isLeaving: boolean): void {
    const { lastReceived, droppedAt, wasClosedByBroker } = this.#recordOf(session.id)
    if (this.#hasUnread(session)) {
      this.#report.violated(
        'the broker handles input before deadlines',
        `${session.id} sent a frame`,
      )
    }
    // The sessions of a leaving broker may end early. So may a session without a welcome, because
    // its client does not know of the session.
    if (isLeaving || lastReceived === undefined) return
    const silentForMs = this.#stopwatch.since(lastReceived).max
    if (silentForMs >= session.lease) return
    const disconnectedForMs = droppedAt && this.#stopwatch.since(droppedAt).max
    if (disconnectedForMs === undefined || disconnectedForMs < session.grace) {
      const detail =
        `${session.id} after ${silentForMs} of ${session.lease} ms, ` +
        `closed by the broker: ${wasClosedByBroker}, ` +
        `dropped: ${disconnectedForMs} of ${session.grace} ms`
      this.#report.violated('a session does not end before its lease or grace', detail)
    }
  }

  #checkProposedExpiry({ fence, ttl, session }: Lock): void {
    if (this.#hasUnread(session, `"fence":${fence}`)) {
      this.#report.violated(
        'the broker handles input before deadlines',
        `${fence} was refreshed or unlocked`,
      )
    }
    const began = this.#ttlStarts.get(fence)
    if (ttl === undefined || began === undefined) {
      this.#report.violated('only a lock with a ttl expires', `fence ${fence}`)
      return
    }
    const elapsedMs = this.#stopwatch.since(began).max
    if (elapsedMs < ttl)
      this.#report.violated(
        'a lock does not expire before its ttl',
        `fence ${fence}: ${elapsedMs} ms`,
      )
  }

  /** Checks that silent sessions, disconnected sessions and locks with a ttl end in time. */
  checkOverdue(): void {
    const { table } = this.#broker
    for (const session of table?.sessions.values() ?? []) {
      const record = this.#records.get(session.id)
      if (record === undefined || record.isEndProposed || !this.#isOwned(session)) continue
      const silentForMs = record.lastReceived && this.#stopwatch.since(record.lastReceived).min
      const leaseMs = session.lease * (session.lockCount > 0 ? 1 : idleLeaseFactor)
      if (silentForMs !== undefined && silentForMs > leaseMs + latenessMs) {
        this.#report.violated(
          'a silent session ends after its lease',
          `${session.id} silent for ${silentForMs} ms`,
        )
      }
      if (record.droppedAt !== undefined) {
        const disconnectedForMs = this.#stopwatch.since(record.droppedAt).min
        if (disconnectedForMs > session.grace + latenessMs) {
          this.#report.violated(
            'a disconnected session ends after its grace',
            `${session.id} disconnected for ${disconnectedForMs} ms`,
          )
        }
      }
      for (const lock of session.held.values()) this.#checkLockOverdue(lock)
    }
  }

  #checkLockOverdue({ ttl, fence }: Lock): void {
    const began = this.#ttlStarts.get(fence)
    if (ttl === undefined || began === undefined || this.#expiring.has(fence)) return
    const elapsedMs = this.#stopwatch.since(began).min
    if (elapsedMs > ttl + latenessMs) {
      this.#report.violated('a lock expires after its ttl', `fence ${fence} after ${elapsedMs} ms`)
    }
  }

  #isOwned({ ownerBroker }: Session): boolean {
    return ownerBroker === this.#broker.ownerBroker
  }

  /** Returns the record of a session. Creates the record if the session came with a snapshot. */
  #recordOf(id: string): SessionRecord {
    if (!this.#records.has(id)) this.#startRecord(id)
    return this.#records.get(id)!
  }

  /**
   * Whether an unread frame of the session contains this text, and arrived before this turn. Frames
   * on a connection that the broker has closed do not count, because the broker may have stopped
   * reading from that connection long before.
   */
  #hasUnread({ id }: Session, text = ''): boolean {
    const { turnBegan } = this.#broker.process
    const { unread = [], wasClosedByBroker } = this.#records.get(id)?.connection ?? {}
    if (wasClosedByBroker === true) return false
    return unread.some(({ at, frame }) => at < turnBegan && frame.includes(text))
  }
}
