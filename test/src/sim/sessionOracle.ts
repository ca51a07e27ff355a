/**
 * How long sessions and locks live, as one process of a broker sees to it: judged by what really
 * went over the network and by how long that process was able to run, at the moment when it
 * proposes an end. Silence is bounded, a pause of the broker ends nobody, a goodbye and a drop have
 * the effects that were agreed on, a connection that the broker cut itself leaves its session the
 * whole lease, and whoever takes sessions over begins every deadline anew.
 */
import {
  type Command,
  type Effect,
  Lock,
  type LockTable,
  type Request,
  type Session,
} from '@holdfast/server/core'
import { type Moment, Moments } from './moments.js'
import type { Connection } from './network.js'
import type { SimProcess } from './process.js'
import type { Verdict } from './verdict.js'

/** How late the broker may be with an end, beyond its own stops. */
const patienceMs = 3_000

interface SessionRecord {
  connection: Connection | undefined
  /** When the network took the connection away. */
  droppedAt: Moment | undefined
  /** The broker cut the connection. */
  wasCut: boolean
  /** Undefined until its client was welcomed, or the session was taken over. */
  lastReceived: Moment | undefined
  /** Its end was proposed, as it is now. */
  isOver: boolean
}

/** The broker that is judged. */
export interface Judged {
  readonly process: SimProcess
  /** Whose sessions it keeps; undefined while it keeps none. */
  readonly home: string | undefined
  readonly table: Omit<LockTable, 'apply'> | undefined
}

export class SessionOracle {
  readonly #verdict: Verdict
  readonly #judged: Judged
  readonly #moments: Moments
  readonly #records = new Map<string, SessionRecord>()
  readonly #received = new WeakMap<Connection, Moment>()
  readonly #ttlsBegan = new Map<number, Moment>()
  /** Locks whose expiry was proposed since their ttl began. */
  readonly #expiring = new Set<number>()

  constructor(verdict: Verdict, judged: Judged) {
    this.#verdict = verdict
    this.#judged = judged
    this.#moments = new Moments(judged.process)
  }

  received(connection: Connection): void {
    // What is read on a connection that the broker has closed, to its end, is no sign of life.
    if (connection.wasClosedByServer) return
    const now = this.#moments.now()
    this.#received.set(connection, now)
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection === connection) record.lastReceived = now
  }

  /** The broker tells a client which session its connection has. */
  welcomed(connection: Connection, id: string, secret: string | undefined): void {
    const session = this.#judged.table?.sessions.get(id)
    // A welcome may leave on a connection that was replaced in the same turn.
    const newest = session?.nextSecret ?? session?.secret
    if (session === undefined || (secret !== undefined && newest !== `hash of ${secret}`)) return
    connection.session = id
    const record = this.#recordOf(id)
    record.connection = connection
    record.droppedAt = undefined
    record.wasCut = false
    record.lastReceived = this.#received.get(connection) ?? this.#moments.now()
  }

  closedAtServer(connection: Connection): void {
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection !== connection) return
    if (connection.wasClosedByServer) record.wasCut = true
    else record.droppedAt = { ...this.#moments.now(), stops: record.lastReceived?.stops ?? 0 }
  }

  /** Whether a client may, for up to its lease, still believe in locks of a session that ended. */
  mayStillBelieve({ id, grace, lease }: Session): boolean {
    return this.#records.get(id)?.droppedAt !== undefined && grace < lease
  }

  /** The broker keeps deadlines from now on: of all that are its own, in full. */
  served(): void {
    for (const session of this.#judged.table?.sessions.values() ?? []) {
      if (!this.#isHere(session)) continue
      this.#takenOver(session)
      for (const lock of session.held.values()) this.#ttlBegins(lock)
    }
  }

  // ------------------------------------------------------------------- what the table did

  /** @param isLeaving The broker is going away, and everybody was told. */
  judge(command: Command, effects: readonly Effect[], isLeaving: boolean): void {
    if (command.type === 'suspend') this.#suspended(command.session, command.keep)
    for (const effect of effects) {
      switch (effect.kind) {
        case 'opened':
        case 'resumed':
          this.#greeted(effect.session.id)
          break
        case 'granted':
        case 'refreshed':
          this.#ttlBegins(effect.lock)
          break
        case 'deadlineRestarted':
          if (effect.lockOrRequest instanceof Lock) this.#ttlBegins(effect.lockOrRequest)
          break
        case 'released':
          if (effect.reason === 'expired') this.#judgeExpired(effect.lock)
          this.#ttlsBegan.delete(effect.lock.fence)
          this.#expiring.delete(effect.lock.fence)
          break
        case 'withdrawn':
          if (command.type === 'suspend') this.#judgeLeaving(effect.request)
          break
        case 'suspended':
          if (command.type === 'restart') this.#takenOver(effect.session)
          else this.#judgeSuspension(effect.session, effect.keep)
          break
        case 'ended':
          this.#judgeEnd(effect.session, effect.reason, isLeaving)
          break
      }
    }
  }

  /** The ended session's record is still needed for `mayStillBelieve` while its end is judged. */
  forget(id: string): void {
    this.#records.delete(id)
  }

  #ttlBegins({ fence }: Lock): void {
    this.#ttlsBegan.set(fence, this.#moments.now())
    this.#expiring.delete(fence)
  }

  /** What was proposed before the ttl began anew is void. */
  #judgeExpired({ fence, session }: Lock): void {
    if (!this.#isHere(session) || this.#expiring.has(fence)) return
    this.#verdict.broken('a lock lives for its ttl', `fence ${fence} was refreshed meanwhile`)
  }

  #greeted(id: string): void {
    const fresh = { connection: undefined, droppedAt: undefined, wasCut: false, isOver: false }
    this.#records.set(id, { ...fresh, lastReceived: undefined })
  }

  /** Nobody kept its deadlines, so its lease begins anew. */
  #takenOver({ id }: Session): void {
    this.#greeted(id)
    this.#recordOf(id).lastReceived = this.#moments.now()
  }

  #suspended(id: string, keep: boolean): void {
    const record = this.#recordOf(id)
    // Gone before its welcome: nobody was told that it is there.
    if (record.connection === undefined) record.droppedAt = this.#moments.now()
    this.#verdict.count(keep ? 'session cut by the broker' : 'session dropped')
  }

  /** Somebody who is away leaves a queue. */
  #judgeLeaving({ id, session }: Request): void {
    if (session.grace > 0) this.#verdict.broken('a grace keeps the places', `${session.id}#${id}`)
  }

  #judgeSuspension(session: Session, keep: boolean): void {
    if (session.grace > 0 || keep) return
    this.#verdict.broken('a drop ends a session without a grace', session.id)
  }

  #judgeEnd(session: Session, reason: string, isLeaving: boolean): void {
    const record = this.#recordOf(session.id)
    if (!this.#isHere(session)) return
    this.#verdict.count(`session ended: ${reason}`)
    const wasDropped = record.droppedAt !== undefined && session.grace === 0
    if (reason === 'dropped' && !wasDropped && !isLeaving) {
      this.#verdict.broken('a cut session has its lease', `${session.id} ended as dropped`)
    }
  }

  // --------------------------------------------------------------- what the broker proposes

  /** @param isLeaving As for {@link judge}. */
  proposed(command: Command, isLeaving: boolean): void {
    const { table, home } = this.#judged
    if (table === undefined || home === undefined) return
    if (command.type === 'end' && command.reason === 'expired') {
      const session = table.sessions.get(command.session)
      if (session?.attachEpoch !== command.attachEpoch) return
      this.#recordOf(session.id).isOver = true
      if (this.#judgeHome(session)) this.#judgeSilent(session, isLeaving)
    } else if (command.type === 'expire') {
      const lock = table.sessions.get(command.session)?.held.get(command.fence)
      if (lock?.generation !== command.generation) return
      this.#expiring.add(lock.fence)
      if (this.#judgeHome(lock.session)) this.#judgeExpiry(lock)
    }
  }

  /** Whose deadlines it keeps are its own sessions. */
  #judgeHome({ id, ownerBroker }: Session): boolean {
    if (ownerBroker === this.#judged.home) return true
    const why = `${this.#judged.home} judges ${id}, which is at home with ${ownerBroker}`
    this.#verdict.broken('only the home keeps deadlines', why)
    return false
  }

  #judgeSilent(session: Session, isLeaving: boolean): void {
    const { lastReceived, droppedAt, wasCut } = this.#recordOf(session.id)
    if (this.#hasUnread(session, '')) {
      this.#verdict.broken('input comes before judgement', `${session.id} was heard`)
    }
    // Whoever was not welcomed does not know of it.
    if (isLeaving || lastReceived === undefined) return
    const silence = this.#moments.since(lastReceived).most
    if (silence >= session.lease) return
    const dropped = droppedAt && this.#moments.since(droppedAt).most
    if (dropped === undefined || dropped < session.grace) {
      const why =
        `${session.id} after ${silence} of ${session.lease} ms, cut: ${wasCut}, ` +
        `dropped: ${dropped} of ${session.grace} ms`
      this.#verdict.broken('a session has its lease or its grace', why)
    }
  }

  #judgeExpiry({ fence, ttl, session }: Lock): void {
    if (this.#hasUnread(session, `"fence":${fence}`)) {
      this.#verdict.broken('input comes before judgement', `${fence} was refreshed or unlocked`)
    }
    const began = this.#ttlsBegan.get(fence)
    if (ttl === undefined || began === undefined) {
      this.#verdict.broken('only a ttl expires', `fence ${fence}`)
      return
    }
    const held = this.#moments.since(began).most
    if (held < ttl) this.#verdict.broken('a lock lives for its ttl', `fence ${fence}: ${held} ms`)
  }

  /** Whoever is silent for too long is gone; whoever's ttl is over has lost the lock. */
  judgeSilence(): void {
    const { table } = this.#judged
    for (const session of table?.sessions.values() ?? []) {
      const record = this.#records.get(session.id)
      if (record === undefined || record.isOver || !this.#isHere(session)) continue
      const silent = record.lastReceived && this.#moments.since(record.lastReceived).least
      if (silent !== undefined && silent > session.lease + patienceMs) {
        this.#verdict.broken('silence is bounded', `${session.id} silent for ${silent} ms`)
      }
      if (record.droppedAt !== undefined) {
        const away = this.#moments.since(record.droppedAt).least
        if (away > session.grace + patienceMs) {
          this.#verdict.broken('a grace is bounded', `${session.id} away for ${away} ms`)
        }
      }
      for (const lock of session.held.values()) this.#judgeTtl(lock)
    }
  }

  #judgeTtl({ ttl, fence }: Lock): void {
    const began = this.#ttlsBegan.get(fence)
    if (ttl === undefined || began === undefined || this.#expiring.has(fence)) return
    const held = this.#moments.since(began).least
    if (held > ttl + patienceMs) {
      this.#verdict.broken('a ttl ends a lock', `fence ${fence} after ${held} ms`)
    }
  }

  #isHere({ ownerBroker }: Session): boolean {
    return ownerBroker === this.#judged.home
  }

  /** Of a session that came with a snapshot nothing is known yet. */
  #recordOf(id: string): SessionRecord {
    if (!this.#records.has(id)) this.#greeted(id)
    return this.#records.get(id)!
  }

  /**
   * Whether something that contains this had arrived from the session before this turn. Of a
   * connection that the broker has cut, nothing counts any more: it may have been paused for long.
   */
  #hasUnread({ id }: Session, text: string): boolean {
    const { turnBegan } = this.#judged.process
    const { unread = [], wasClosedByServer } = this.#records.get(id)?.connection ?? {}
    if (wasClosedByServer === true) return false
    return unread.some(({ at, frame }) => at < turnBegan && frame.includes(text))
  }
}
