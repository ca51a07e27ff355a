/**
 * How long sessions and locks live, judged by what really went over the network and by how long the
 * broker's process was able to run: silence is bounded, a pause of the broker ends nobody, a
 * goodbye and a drop have the effects that were agreed on, and a connection that the broker cut
 * itself leaves its session the whole lease.
 */
import type { Command, Effect, Lock, LockTable, Request, Session } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { SimProcess } from './process.js'
import type { Verdict } from './verdict.js'

/**
 * Timers come up to 1 ms early and times on the wire are whole ms, so this much is nobody's fault.
 */
const roundingMs = 5
/**
 * What one stop of the broker may hide from it: most of a tick, and lateness it thinks ordinary.
 */
const perStopMs = 400
/** How late the broker may be with an end, beyond its own stops. */
const patienceMs = 3_000

interface SessionRecord {
  readonly session: Session
  connection: Connection | undefined
  /** When the network took the connection away, in time that the broker ran for. */
  droppedAt: number | undefined
  /** The broker cut the connection. */
  wasCut: boolean
  lastReceived: Moment
  /** What was received before that, newest first. */
  receivedBefore: Moment[]
}

/** A point in the broker's life. */
interface Moment {
  readonly ranFor: number
  readonly stops: number
}

export class SessionJudge {
  readonly #verdict: Verdict
  readonly #lagMs: number
  #process: SimProcess | undefined
  readonly #records = new Map<string, SessionRecord>()
  readonly #received = new WeakMap<Connection, Moment>()
  #ttlsBegan = new Map<number, Moment>()

  /** @param lagMs Most that a command may be under way: its judgement is that old. */
  constructor(verdict: Verdict, lagMs: number) {
    this.#verdict = verdict
    this.#lagMs = lagMs
  }

  brokerStarted(process: SimProcess): void {
    this.#process = process
    this.#records.clear()
    this.#ttlsBegan = new Map()
  }

  received(connection: Connection): void {
    const now = this.#now()
    this.#received.set(connection, now)
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection !== connection) return
    record.receivedBefore = [record.lastReceived, ...record.receivedBefore.slice(0, 9)]
    record.lastReceived = now
  }

  /** The broker has told a client which session its connection has. */
  welcomed(connection: Connection, id: string): void {
    connection.session = id
    const record = this.#records.get(id)
    if (record === undefined) return
    record.connection = connection
    record.droppedAt = undefined
    record.wasCut = false
    record.lastReceived = this.#received.get(connection) ?? this.#now()
  }

  closedAtServer(connection: Connection): void {
    const record = this.#records.get(connection.session ?? '')
    if (record?.connection !== connection) return
    if (connection.wasClosedByServer) record.wasCut = true
    else record.droppedAt = this.#now().ranFor
  }

  /** Whether a client may, for up to its lease, still believe in locks of a session that ended. */
  mayStillBelieve(id: string): boolean {
    const record = this.#records.get(id)
    return record?.droppedAt !== undefined && record.session.grace < record.session.ttl
  }

  /** @param isLeaving The broker is going away, and everybody was told. */
  judge(command: Command, effects: readonly Effect[], isLeaving: boolean): void {
    if (command.type === 'suspend') this.#suspended(command.session, command.keep)
    for (const effect of effects) {
      switch (effect.kind) {
        case 'opened':
          this.#records.set(effect.session.id, {
            session: effect.session,
            connection: undefined,
            droppedAt: undefined,
            wasCut: false,
            lastReceived: this.#greeted(),
            receivedBefore: [],
          })
          break
        case 'resumed':
          this.#resumed(effect.session.id)
          break
        case 'granted':
        case 'refreshed':
          this.#ttlsBegan.set(effect.lock.fence, this.#now())
          break
        case 'released':
          if (effect.reason === 'expired') this.#judgeExpiry(effect.lock)
          this.#ttlsBegan.delete(effect.lock.fence)
          break
        case 'withdrawn':
          if (command.type === 'suspend') this.#judgeLeaving(effect.request)
          break
        case 'suspended':
          this.#judgeSuspension(effect.session, effect.keep)
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

  /** Whoever is silent for too long is gone; whoever's ttl is over has lost the lock. */
  judgeSilence(table: Omit<LockTable, 'apply'>): void {
    for (const session of table.sessions.values()) {
      const record = this.#records.get(session.id)
      if (record === undefined) continue
      const silent = this.#since(record.lastReceived).least
      if (silent > session.ttl + patienceMs) {
        this.#verdict.broken('silence is bounded', `${session.id} silent for ${silent} ms`)
      }
      if (record.droppedAt !== undefined) {
        const away = this.#since({ ranFor: record.droppedAt, stops: 0 }).least
        if (away > session.grace + patienceMs) {
          this.#verdict.broken('a grace is bounded', `${session.id} away for ${away} ms`)
        }
      }
      for (const lock of session.held.values()) {
        const began = this.#ttlsBegan.get(lock.fence)
        if (lock.ttl === undefined || began === undefined) continue
        const held = this.#since(began).least
        if (held > lock.ttl + patienceMs) {
          this.#verdict.broken('a ttl ends a lock', `fence ${lock.fence} after ${held} ms`)
        }
      }
    }
  }

  /** Until it is welcomed on its new connection, if that is still there. */
  #resumed(id: string): void {
    const record = this.#records.get(id)
    if (record === undefined) return
    record.connection = undefined
    record.droppedAt = undefined
    record.wasCut = false
    record.lastReceived = this.#greeted()
  }

  /** The newest sign of life that whoever proposed what is applied now can have known of. */
  #asJudged({ lastReceived, receivedBefore }: SessionRecord): Moment {
    if (this.#lagMs === 0) return lastReceived
    const proposed = this.#now().ranFor - this.#lagMs - roundingMs
    const known = [lastReceived, ...receivedBefore].find(({ ranFor }) => ranFor <= proposed)
    return known ?? lastReceived
  }

  /** Whether something that contains this had arrived from the session before this turn. */
  #hasUnread({ id }: Session, text: string): boolean {
    if (this.#lagMs > 0) return false
    const turnBegan = this.#process?.turnBegan ?? 0
    const unread = this.#records.get(id)?.connection?.unread ?? []
    return unread.some(({ at, frame }) => at < turnBegan && frame.includes(text))
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
    const held = this.#since(began).most
    if (held < ttl) this.#verdict.broken('a lock lives for its ttl', `fence ${fence}: ${held} ms`)
  }

  #judgeEnd(session: Session, reason: string, isLeaving: boolean): void {
    const record = this.#records.get(session.id)
    if (record === undefined) return
    this.#verdict.count(`session ended: ${reason}`)
    const { droppedAt, wasCut } = record
    const lastReceived = this.#asJudged(record)
    const silence = this.#since(lastReceived)
    const wasDropped = droppedAt !== undefined && session.grace === 0
    if (reason === 'dropped' && !wasDropped && !isLeaving) {
      this.#verdict.broken('a cut session has its lease', `${session.id} ended as dropped`)
    }
    if (reason === 'expired' && this.#hasUnread(session, '')) {
      this.#verdict.broken('input comes before judgement', `${session.id} was heard`)
    }
    if (reason !== 'expired' || isLeaving || silence.most >= session.ttl) return
    const dropped =
      droppedAt === undefined
        ? undefined
        : this.#since({ ranFor: droppedAt, stops: lastReceived.stops }).most
    if (dropped === undefined || dropped < session.grace) {
      const why =
        `${session.id} after ${silence.most} of ${session.ttl} ms, cut: ${wasCut}, ` +
        `dropped: ${dropped} of ${session.grace} ms`
      this.#verdict.broken('a session has its lease or its grace', why)
    }
  }

  /** Somebody who is away leaves a queue. */
  #judgeLeaving({ id, session }: Request): void {
    if (session.grace > 0) this.#verdict.broken('a grace keeps the places', `${session.id}#${id}`)
  }

  #judgeSuspension(session: Session, keep: boolean): void {
    if (session.grace > 0 || keep) return
    this.#verdict.broken('a drop ends a session without a grace', session.id)
  }

  #suspended(id: string, keep: boolean): void {
    const record = this.#records.get(id)
    if (record === undefined) return
    // Gone before its welcome: nobody was told that it is there.
    if (record.connection === undefined) record.droppedAt = this.#now().ranFor
    this.#verdict.count(keep ? 'session cut by the broker' : 'session dropped')
  }

  #now(): Moment {
    const process = this.#process
    return { ranFor: process?.ranFor ?? 0, stops: process?.stops ?? 0 }
  }

  /** When the hello came that is acted upon now: on its way through the log may lie a stop. */
  #greeted(): Moment {
    const { ranFor, stops } = this.#now()
    return { ranFor, stops: this.#process?.stopsIn(ranFor - this.#lagMs) ?? stops }
  }

  /** How long ago that was on the broker's clock: at least, and at most. */
  #since(then: Moment): { least: number; most: number } {
    const now = this.#now()
    const elapsed = (now.ranFor - then.ranFor) * (this.#process?.clock.rate ?? 1)
    const hidden = roundingMs + this.#lagMs + perStopMs * (now.stops - then.stops)
    return { least: elapsed, most: elapsed + hidden }
  }
}
