/**
 * The dashboard's own session with the broker, and the data that the dashboard receives through
 * this session: locks, recent events, and time series for the charts. The feed opens the session,
 * and opens another session after a failure. The broker treats the dashboard like every other
 * client.
 */
import { connect, HoldfastError, type Session, type WatchEvent } from '@holdfast/client'
import { LockModel } from '../model/lockModel.js'
import { RecentEvents } from '../model/recentEvents.js'
import { TimeSeries } from '../model/series.js'
import type { PageEnvironment } from '../pageEnvironment.js'
import { BrokerPoller } from './brokerPoller.js'
import type { ChangeNotifier } from './changeNotifier.js'
import { HandoffProbe } from './handoffProbe.js'
import { KeyPoller } from './keyPoller.js'
import { SessionPoller } from './sessionPoller.js'

/** The state of the connection to the broker. */
export type ConnectionStatus =
  | { readonly kind: 'connecting'; readonly problem?: string | undefined }
  /** The broker needs a token. `problem` is the reason why the broker refused the last token. */
  | { readonly kind: 'token'; readonly problem?: string | undefined }
  | { readonly kind: 'live' }
  | { readonly kind: 'disconnected' }
  /** The broker closed the session for the reason `problem`; the page does not reconnect. */
  | { readonly kind: 'ended'; readonly problem: string }

/**
 * The grace of the session, in ms: how long the broker keeps the session after its connection
 * dropped. The grace is short, so that the session ends soon after the page is closed.
 */
const graceMs = 5_000
/** Time from a failed attempt to connect to the next attempt, in ms. */
const retryMs = 2_000

/** The data of the broker. The pages read these fields at each change notification. */
export class BrokerFeed {
  readonly locks: LockModel
  readonly recentEvents = new RecentEvents()
  readonly series = new TimeSeries()
  readonly brokerPoller: BrokerPoller
  readonly handoffProbe: HandoffProbe
  readonly keyPoller: KeyPoller
  readonly sessionPoller: SessionPoller
  status: ConnectionStatus = { kind: 'connecting' }
  /**
   * When the draining broker will close, in ms of the wall clock; undefined if the broker does not
   * drain.
   */
  closesAt: number | undefined
  /** When the token expires, in ms of the wall clock; undefined if no expiry was announced. */
  tokenExpiresAt: number | undefined
  /** Why the broker refused to send events; undefined if the broker sends events. */
  watchProblem: string | undefined
  /** The open session; undefined before the first session and after a failure. */
  session: Session | undefined
  /** The URL of the broker. */
  readonly url: string
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  #token: string | undefined
  #cancelRetry: (() => void) | undefined

  constructor(url: string, environment: PageEnvironment, changes: ChangeNotifier) {
    this.url = url
    this.#environment = environment
    this.#changes = changes
    this.locks = new LockModel(() => environment.now())
    this.brokerPoller = new BrokerPoller(this, environment, changes)
    this.handoffProbe = new HandoffProbe(this, environment, changes)
    this.keyPoller = new KeyPoller(this, environment, changes)
    this.sessionPoller = new SessionPoller(this, environment, changes)
  }

  /** Opens a session with this token, which is kept in memory only. Default: the last token. */
  async start(token = this.#token): Promise<void> {
    this.#cancelRetry?.()
    this.#token = token
    this.#setStatus({ kind: 'connecting', problem: problemOf(this.status) })
    try {
      const options = { token, name: 'dashboard', grace: graceMs }
      this.#onOpen(await connect(this.url, options))
    } catch (error) {
      this.#onFailure(error as HoldfastError)
    }
  }

  /** Sends a new token on the open session. Rejects as `session.authenticate` does. */
  async renewToken(token: string): Promise<void> {
    await this.session?.authenticate(token)
    this.#token = token
    this.tokenExpiresAt = undefined
    this.#changes.notify()
  }

  /**
   * Revokes the lock with this fence (the number of the grant). Rejects as `session.revoke` does.
   */
  async revoke(key: string, fence: number, reason: string): Promise<void> {
    if (this.session === undefined) throw new HoldfastError('SESSION_CLOSED')
    await this.session.revoke(key, { fence, reason })
    this.keyPoller.refresh()
  }

  #onOpen(session: Session): void {
    this.session = session
    // The connection is gone, and the broker keeps the session only for the grace.
    session.on('jeopardy', () => this.#setStatus({ kind: 'disconnected' }))
    // The client is connected again, with the old or a new session.
    session.on('resumed', () => this.#onConnected())
    session.on('newSession', () => this.#onConnected())
    // The broker will close.
    session.on('draining', ({ within }) => {
      this.closesAt = this.#environment.wall() + within
      this.#changes.notify()
    })
    // The token of the session will expire.
    session.on('expiring', ({ within }) => {
      this.tokenExpiresAt = this.#environment.wall() + within
      this.#changes.notify()
    })
    session.on('closed', (error) => {
      // Ignore the end of a former session.
      if (this.session !== session) return
      this.session = undefined
      if (error !== undefined) this.#onFailure(error)
    })
    this.watchProblem = undefined
    // Receive the events of all keys.
    session.watch({ prefix: '' }, (event) => this.#onWatchEvent(event))
    this.#onConnected()
  }

  #onConnected(): void {
    this.closesAt = undefined
    this.tokenExpiresAt = undefined
    this.#setStatus({ kind: 'live' })
    this.brokerPoller.start()
    this.keyPoller.refresh()
    this.sessionPoller.refresh()
  }

  /**
   * Handles an event of the watch. The first event is `state`, with the locks that are held, or
   * `refused` if the broker refuses the watch.
   */
  #onWatchEvent(event: WatchEvent): void {
    if (event.event === 'refused') this.watchProblem = event.error.message
    else if (event.event === 'state') this.locks.onState(event)
    else {
      this.locks.onEvent(event)
      // Leave out the events of the lock that `handoffProbe` acquires again and again.
      if (event.key !== this.handoffProbe.key)
        this.recentEvents.add(event, this.#environment.wall())
      this.keyPoller.onEvent(event)
    }
    this.#changes.notifySoon()
  }

  #onFailure(error: HoldfastError): void {
    this.brokerPoller.stop()
    this.handoffProbe.stop()
    if (error.code === 'UNAUTHORIZED') {
      const problem = this.#token === undefined ? undefined : 'The broker refused this token'
      this.#token = undefined
      this.#setStatus({ kind: 'token', problem })
    } else if (error.code === 'UNAVAILABLE') {
      this.#setStatus({ kind: 'connecting', problem: 'The broker does not answer. Trying again…' })
      this.#cancelRetry = this.#environment.after(retryMs, () => void this.start())
    } else {
      this.#setStatus({ kind: 'ended', problem: error.message })
    }
  }

  /** Sets the status. The charts have a gap for the time without a connection. */
  #setStatus(status: ConnectionStatus): void {
    if (status.kind !== 'live') this.series.addGap(this.#environment.wall())
    this.status = status
    this.#changes.notify()
  }
}

/** The problem of the last attempt to connect, which stays on the page during the next attempt. */
function problemOf(status: ConnectionStatus): string | undefined {
  return status.kind === 'connecting' ? status.problem : undefined
}
