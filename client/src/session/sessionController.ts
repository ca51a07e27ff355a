/**
 * The state of a session: which session the client has at the broker, whether it is connected, and
 * what each change of the connection or the lease does to locks, requests and watches.
 *
 * A controller outlives the sessions of the broker. If a session cannot be resumed, its locks are
 * lost, and its pending requests are sent again in a new session. The client never asks again for
 * a lock that it has lost.
 */
import {
  closeCodes,
  HoldfastError,
  type LostReason,
  type ServerMessage,
  type Welcome,
} from '@holdfast/shared'
import { HeldLocks } from '../locks/heldLocks.js'
import { Reconciler } from '../locks/reconciler.js'
import type { ClockReading, Environment } from '../platform/environment.js'
import { Scheduler, type Task } from '../platform/scheduler.js'
import { PendingRequests } from '../requests/pendingRequests.js'
import { type Request, withKey } from '../requests/requests.js'
import { ResponseRouter } from '../requests/responseRouter.js'
import type { Connection } from '../transport/connection.js'
import { byeText, messageText } from '../transport/messages.js'
import {
  Reconnector,
  type ReconnectorListener,
  type ReconnectorOptions,
} from '../transport/reconnector.js'
import { type LeaseListener, LeaseMonitor } from './leaseMonitor.js'
import {
  createMessageHandlers,
  type MessageHandlers,
  type MessageTargets,
} from './messageHandlers.js'
import type { SessionControllerListener, SessionSettings, SessionState } from './sessionEvents.js'
import { Watches } from './watch.js'

/** How long `close` may take, in ms. */
const closeMs = 1_000

/** What the broker has said about its session. */
type SessionInfo = Pick<Welcome, 'session' | 'lease' | 'grace'>

export class SessionController implements ReconnectorListener, LeaseListener, MessageTargets {
  readonly scheduler: Scheduler
  readonly pendingRequests: PendingRequests
  readonly heldLocks: HeldLocks
  readonly watches: Watches
  readonly lease: LeaseMonitor
  readonly responseRouter: ResponseRouter
  readonly settings: SessionSettings
  readonly listener: SessionControllerListener
  readonly #reconnector: Reconnector
  readonly #handlers: MessageHandlers
  #state: SessionState = 'connecting'
  #connection: Connection | undefined
  /** Describes the present session; without a session, the last one. */
  #info: SessionInfo = { session: '', lease: 0, grace: 0 }
  /** For the next resume; undefined if this session cannot be resumed. */
  #secret: string | undefined
  /** Counts the tries to resume, so that the broker can tell which of two `hello` is the later. */
  #tries = 0
  #reconciler: Reconciler | undefined
  /** Set by `close`; resolved once the session has ended at the broker, or after a second. */
  #closing: Promise<void> | undefined
  #onClosed: (() => void) | undefined
  readonly #closeTimeout: Task = { run: () => this.#finish() }
  /** The error that has ended the session. */
  #error: HoldfastError | undefined

  constructor(
    environment: Environment,
    options: ReconnectorOptions,
    settings: SessionSettings,
    listener: SessionControllerListener,
  ) {
    this.settings = settings
    this.listener = listener
    this.scheduler = new Scheduler(environment.clock)
    this.pendingRequests = new PendingRequests(this.scheduler)
    this.heldLocks = new HeldLocks(this.scheduler, this.pendingRequests, ({ key, fence, lost }) =>
      listener.notify('lost', { key, fence, reason: lost!.reason as LostReason }),
    )
    this.watches = new Watches(this.pendingRequests)
    this.responseRouter = new ResponseRouter(this.pendingRequests, () => this.#info.session)
    this.lease = new LeaseMonitor(this.scheduler, this)
    this.#reconnector = new Reconnector(environment, this.scheduler, options, this)
    this.#handlers = createMessageHandlers(this)
  }

  get state(): SessionState {
    return this.#state
  }

  get info(): SessionInfo {
    return this.#info
  }

  get reconciler(): Reconciler | undefined {
    return this.#reconciler
  }

  /** The name of the session for a warning: its name, or its id. */
  get label(): string {
    const { name } = this.settings
    return name === undefined ? this.#info.session : JSON.stringify(name)
  }

  open(): void {
    this.#reconnector.open()
  }

  /** Sends a request, now or later. Returns the request's promise. */
  submit<T>(request: Request<T>): Promise<T> {
    if (this.#state === 'closed') return Promise.reject(withKey(request.key, this.closedError()))
    this.pendingRequests.add(request)
    return request.promise
  }

  /** Chooses whether the connection and the timer keep the process alive. Default: they do. */
  keepProcessAlive(isRef: boolean): void {
    if (this.#state === 'closed') return
    this.scheduler.keepProcessAlive(isRef)
    this.#reconnector.keepProcessAlive(isRef)
  }

  /** The error of calls after the end of the session. */
  closedError(): HoldfastError {
    const error = this.#error
    return error === undefined
      ? new HoldfastError('SESSION_CLOSED')
      : new HoldfastError('SESSION_CLOSED', error.message, { cause: error, reason: error.reason })
  }

  /**
   * Sends `bye` and ends everything; resolves within a second. A disconnected session that the
   * broker still keeps is resumed for the `bye`, if that is possible in time.
   */
  close(): Promise<void> {
    if (this.#state === 'closed') return this.#closing ?? Promise.resolve()
    // The process must stay alive for the second that a `bye` may take.
    this.keepProcessAlive(true)
    this.#closing = new Promise((resolve) => {
      this.#onClosed = resolve
    })
    this.#endAll(new HoldfastError('SESSION_CLOSED'))
    this.scheduler.after(this.#closeTimeout, closeMs)
    if (this.#connection !== undefined) this.#connection.send(byeText)
    else if (this.#secret !== undefined) this.#reconnector.tryOnceMore()
    else this.#finish()
    return this.#closing
  }

  // ------------------------------------------------------------------ from the reconnector

  get leaseMs(): number {
    return this.#info.lease
  }

  helloText(): string {
    const secret = this.#secret
    const { session } = this.#info
    const resume = secret === undefined ? undefined : { session, secret, try: ++this.#tries }
    return messageText('hello', { ...this.settings, resume })
  }

  onFrame(): void {
    this.scheduler.expireDue()
  }

  onConnected(connection: Connection, welcome: Welcome, sentAt: ClockReading): void {
    if (this.#closing !== undefined) {
      connection.send(byeText)
      return
    }
    const isFirst = this.#state === 'connecting'
    const isSameSession = this.#secret !== undefined && welcome.session === this.#info.session
    const isResumed = welcome.resumed && isSameSession
    this.#connection = connection
    this.#info = welcome
    this.#secret = welcome.grace > 0 ? welcome.secret : undefined
    this.heldLocks.clockSample = { sent: sentAt, received: welcome.at }
    this.pendingRequests.connect(connection, this.#secret !== undefined, isResumed)
    if (isResumed) {
      this.#reconciler = new Reconciler(this.pendingRequests, this.heldLocks)
      this.lease.resume(sentAt)
      return
    }
    if (!isFirst) this.#endSession('the session could not be resumed')
    // A listener of a loss may have closed the session.
    if (this.state === 'closed') return
    this.lease.start(welcome.lease, sentAt, this.#secret !== undefined)
    this.#startSending(connection)
    if (isFirst) this.listener.onOpen()
    else this.listener.notify('newSession')
  }

  onMessage(message: ServerMessage): void {
    const connection = this.#connection
    if (connection === undefined || this.#closing !== undefined) return
    // A newer broker may have more types; `hasOwn` keeps names such as `toString` out.
    if (!Object.hasOwn(this.#handlers, message.type)) return
    const handle = this.#handlers[message.type as keyof MessageHandlers]
    ;(handle as (message: ServerMessage, connection: Connection) => void)(message, connection)
  }

  onDisconnected(code: number, error: HoldfastError): void {
    if (this.#closing !== undefined) {
      this.#finish()
      return
    }
    const wasConnected = this.#state === 'connected'
    this.#state = 'disconnected'
    this.#connection = undefined
    this.#reconciler = undefined
    this.pendingRequests.disconnect()
    this.watches.disconnect()
    this.scheduler.expireDue()
    // A listener of a loss may have closed the session.
    if (this.state === 'closed') return
    if (code === closeCodes.expired.code) this.#secret = undefined
    if (this.#secret === undefined) {
      this.lease.stop()
      this.#endSession('the connection dropped, and the session with it', error)
      return
    }
    this.lease.limitTo(this.#info.grace)
    if (wasConnected) this.listener.notify('jeopardy', error)
  }

  onGivenUp(error: HoldfastError): void {
    if (this.#closing === undefined) {
      this.#error = error
      this.#endAll(error)
    }
    this.#finish()
  }

  // ------------------------------------------------------------------------- from the lease

  /** The broker may have granted the locks to other sessions. */
  onLeaseOver(): void {
    const message = 'the lease is over, and nothing was heard from the broker'
    this.heldLocks.loseAll(message)
    // A listener of a loss may have closed the session.
    if (this.#state === 'connected') this.#reconnector.drop(message)
  }

  onSilence(): void {
    this.#reconnector.drop('for half a lease the broker has acknowledged nothing')
  }

  // ---------------------------------------------------------------------------- transitions

  #startSending(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#state = 'connected'
    this.pendingRequests.startSending(connection, waiting)
    this.watches.connect(connection)
  }

  finishResume(connection: Connection): void {
    const reconciler = this.#reconciler!
    this.#reconciler = undefined
    const waiting = reconciler.settle()
    // A listener of a loss may have closed the session.
    if (this.#connection !== connection || this.#state === 'closed') return
    this.lease.onLocksKnown()
    this.#startSending(connection, waiting)
    this.listener.notify('resumed')
  }

  /** The broker's session is over: its locks are lost, and its requests wait for the next one. */
  #endSession(message: string, cause?: HoldfastError): void {
    this.pendingRequests.endSession(message)
    this.heldLocks.loseAll(message, cause)
  }

  /** The session ends for good. */
  #endAll(error: HoldfastError): void {
    this.#state = 'closed'
    this.lease.stop()
    this.pendingRequests.endAll(error)
    this.watches.clear()
    this.heldLocks.loseAll(error.message, error)
  }

  #finish(): void {
    this.#connection = undefined
    this.#reconnector.close()
    this.scheduler.stop()
    this.listener.notify('closed', this.#error)
    this.#onClosed?.()
  }
}
