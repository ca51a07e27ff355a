/**
 * An oracle (a check of a simulated run) of the two notices of the broker: `queued` tells a client
 * that its request waits, and `contended` tells a holder that requests wait for its lock. `queued`
 * comes once for a request. In a run without faults, `contended` comes at most about once a second
 * for a lock on one connection, and each notice that a client wants comes soon.
 */
import type { Effect, Request, Session } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { RunReport } from './runReport.js'

/**
 * The shortest time between two `contended` of one lock on the network, in ms. The broker makes the
 * second notice at least 1 s after the first. If it writes the first late, this gap is shorter.
 */
const shortestGapMs = 500

/** A request that waits, and when it began to wait. */
interface Waiting {
  readonly request: Request
  readonly since: number
}

export class NoticeOracle {
  readonly #report: RunReport
  readonly #now: () => number
  readonly #isFaultless: boolean
  /** The session of each connection that a broker has welcomed. */
  readonly #sessions = new WeakMap<Connection, string>()
  /** Requests for which the broker must send `queued`, by `session#id`. */
  readonly #expectedQueued = new Map<string, Waiting>()
  /**
   * The waiting requests of which `contended` must tell a holder, oldest first. The map key is the
   * fence (number of the grant) of the holder's lock. One `contended` tells of all these requests.
   */
  readonly #expectedContended = new Map<number, Waiting[]>()
  /** The requests for which a broker has sent `queued`, as `session#id`. */
  readonly #requestsWithQueued = new Set<string>()
  /**
   * World time (time of the simulation) of the last `contended` on each connection for each lock,
   * by its fence. The gap starts anew with each connection, because the broker sends a `contended`
   * at once after a resume.
   */
  readonly #contendedAt = new WeakMap<Connection, Map<number, number>>()

  constructor(report: RunReport, now: () => number, isFaultless: boolean) {
    this.#report = report
    this.#now = now
    this.#isFaultless = isFaultless
  }

  /** Derives the expected notices from the effects of a command. */
  check(effects: readonly Effect[]): void {
    if (!this.#isFaultless) return
    for (const effect of effects) {
      if (effect.kind === 'queued') this.#expectNotices(effect.request)
      else if (effect.kind === 'withdrawn') this.#forget(effect.request)
      else if (
        (effect.kind === 'granted' || effect.kind === 'upgraded') &&
        effect.request !== undefined
      )
        this.#forget(effect.request)
      else if (effect.kind === 'released') this.#expectedContended.delete(effect.lock.fence)
      else if (effect.kind === 'suspended') this.#forgetNoticesTo(effect.session)
    }
  }

  /** A broker has sent a frame. */
  sent(connection: Connection, frame: string): void {
    if (!/"type":"(welcome|queued|contended)"/.test(frame)) return
    const parsed: unknown = JSON.parse(frame)
    for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
      if (message.type === 'welcome') this.#sessions.set(connection, message.session)
      else if (message.type === 'queued') this.#checkQueued(connection, message.id)
      else if (message.type === 'contended')
        this.#checkContended(connection, message.fence, message.waiting)
    }
  }

  /**
   * Checks that all expected notices were sent in time. Call only in a world without faults.
   *
   * @param lateMs How late a notice may be.
   */
  checkOverdue(lateMs: number): void {
    // After a `contended` for a lock, the broker waits 1,000 ms before the next.
    for (const [fence, [oldest]] of this.#expectedContended)
      this.#checkInTime(`contended ${fence}`, oldest!, lateMs + 1_000)
    for (const [name, waiting] of this.#expectedQueued)
      this.#checkInTime(`queued ${name}`, waiting, lateMs)
  }

  #checkInTime(notice: string, { since }: Waiting, maxMs: number): void {
    if (this.#now() - since > maxMs)
      this.#report.violated('a client gets the notices that it asks for', notice)
  }

  #expectNotices(request: Request): void {
    const waiting = { request, since: this.#now() }
    const { extras, isPrimary, keyState, session } = request
    // A set (a request for several keys) has one `Request` for each key. The broker sends `queued`
    // for the first of them, the primary.
    if (isPrimary && !session.suspended && extras?.notify?.includes('queued') === true)
      this.#expectedQueued.set(nameOf(request), waiting)
    for (const lock of keyState.holders) {
      if (lock.session.suspended || lock.extras?.notify?.includes('contended') !== true) continue
      const expected = this.#expectedContended.get(lock.fence)
      if (expected === undefined) this.#expectedContended.set(lock.fence, [waiting])
      else expected.push(waiting)
    }
  }

  #forget(request: Request): void {
    this.#expectedQueued.delete(nameOf(request))
    for (const [fence, expected] of this.#expectedContended) {
      const others = expected.filter((waiting) => waiting.request !== request)
      if (others.length === 0) this.#expectedContended.delete(fence)
      else this.#expectedContended.set(fence, others)
    }
  }

  /** The connection of the session has dropped. A notice may be lost with the connection. */
  #forgetNoticesTo(session: Session): void {
    for (const [name, { request }] of this.#expectedQueued) {
      if (request.session === session) this.#expectedQueued.delete(name)
    }
    for (const lock of session.held.values()) this.#expectedContended.delete(lock.fence)
  }

  #checkQueued(connection: Connection, id: number): void {
    const name = `${this.#sessions.get(connection)}#${id}`
    if (this.#requestsWithQueued.has(name)) this.#report.violated('a request is queued once', name)
    this.#requestsWithQueued.add(name)
    this.#expectedQueued.delete(name)
    this.#report.count('notice queued')
  }

  #checkContended(connection: Connection, fence: number, waitingCount: number): void {
    const now = this.#now()
    const contendedAt = this.#contendedAt.get(connection) ?? new Map<number, number>()
    this.#contendedAt.set(connection, contendedAt)
    const gapMs = now - (contendedAt.get(fence) ?? Number.NEGATIVE_INFINITY)
    contendedAt.set(fence, now)
    this.#expectedContended.delete(fence)
    this.#report.count('notice contended')
    if (waitingCount < 1) this.#report.violated('contended means that requests wait', `${fence}`)
    if (this.#isFaultless && gapMs < shortestGapMs)
      this.#report.violated('contended comes at most once a second', `${fence}: ${gapMs} ms`)
  }
}

/** The name of a request, such as `s1#2`: its session and its id. */
function nameOf({ session, id }: Request): string {
  return `${session.id}#${id}`
}
