/**
 * The state of a client's session. The controller knows which session the client has at the broker
 * and whether the client is connected. When the client loses or opens a connection, or the lease
 * ends, the controller updates the locks, the requests and the watches.
 *
 * The lease is the time for which the broker keeps a session without hearing from the client. The
 * grace is the time for which the broker keeps a session after its connection dropped. A resume
 * continues a session on a new connection.
 *
 * The caller sees one session until it is closed. At the broker, this may be several sessions, one
 * after the other. If the broker cannot resume a session, the locks of that session are lost. The
 * client then sends the pending requests again in a new session. The client never requests a lost
 * lock again by itself.
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
import type { ClockTimes, Environment } from '../platform/environment.js'
import { Scheduler, type Task } from '../platform/scheduler.js'
import { PendingRequests } from '../requests/pendingRequests.js'
import { type Request, type Response, withKey } from '../requests/requests.js'
import { ResponseRouter } from '../requests/responseRouter.js'
import { authRequest } from '../requests/simpleRequests.js'
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
  type MessageHandlersByType,
  type MessageTargets,
} from './messageHandlers.js'
import type { SessionControllerListener, SessionSettings, SessionState } from './sessionEvents.js'
import { Watches } from './watch.js'

/** How long `close` may take, in ms. */
const maxCloseMs = 1_000

/** The fields of `welcome` that describe the session. */
type SessionInfo = Pick<Welcome, 'session' | 'lease' | 'grace'>

export class SessionController implements ReconnectorListener, LeaseListener, MessageTargets {
  readonly scheduler: Scheduler
  readonly pendingRequests: PendingRequests
  readonly heldLocks: HeldLocks
  readonly watches: Watches
  readonly lease: LeaseMonitor
  readonly listener: SessionControllerListener
  readonly #settings: SessionSettings
  readonly #responseRouter: ResponseRouter
  readonly #reconnector: Reconnector
  readonly #handlers: MessageHandlersByType
  #state: SessionState = 'connecting'
  /**
   * The open connection. During a resume there is a connection already, but the state is still
   * `disconnected`.
   */
  #connection: Connection | undefined
  /** Describes the newest session, which may have ended. */
  #info: SessionInfo = { session: '', lease: 0, grace: 0 }
  /** The secret for the next resume; undefined if the session cannot be resumed. */
  #resumeSecret: string | undefined
  /**
   * How many times the client has tried to resume a session. Each `hello` that resumes contains
   * this count, so that the broker can recognise and ignore an old `hello` that arrives late.
   */
  #resumeTries = 0
  /**
   * Whether the broker of the newest connection supports the idle lease. The idle lease is twice
   * the lease. The client asks for it while the session has no lock, request or watch.
   */
  #brokerHasIdleLease = false
  /** The message number of the newest `pong`, if that `pong` asked for the idle lease. */
  #idlePongNumber: number | undefined
  /** Compares the client's locks with the broker's; defined only during a resume. */
  #reconciler: Reconciler | undefined
  /** The promise of `close`: resolved when the broker has ended the session, or after a second. */
  #closing: Promise<void> | undefined
  #resolveClosing: (() => void) | undefined
  readonly #closeTimeout: Task = { onDue: () => this.#finish() }
  /** The error that ended the session for good; undefined before the end, and after `close`. */
  #endError: HoldfastError | undefined

  constructor(
    environment: Environment,
    options: ReconnectorOptions,
    settings: SessionSettings,
    listener: SessionControllerListener,
  ) {
    this.listener = listener
    this.#settings = settings
    this.scheduler = new Scheduler(environment.clock)
    this.pendingRequests = new PendingRequests(this.scheduler)
    this.heldLocks = new HeldLocks(
      this.scheduler,
      this.pendingRequests,
      ({ key, fence, lossError }) =>
        listener.notify('lost', { key, fence, reason: lossError!.reason as LostReason }),
    )
    this.watches = new Watches(this.pendingRequests)
    this.#responseRouter = new ResponseRouter(this.pendingRequests, () => this.#info.session)
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

  /** The name that was given to `connect`. */
  get name(): string | undefined {
    return this.#settings.name
  }

  /** How a warning names the session: by its name in quotes, or by its id. */
  get label(): string {
    const { name } = this
    return name === undefined ? this.#info.session : JSON.stringify(name)
  }

  open(): void {
    this.#reconnector.open()
  }

  /**
   * Sends a request as soon as the client is connected. Returns the request's promise, which is
   * rejected if the session is closed.
   */
  submit<T>(request: Request<T>): Promise<T> {
    if (this.#state === 'closed') return Promise.reject(withKey(request.key, this.closedError()))
    this.pendingRequests.add(request)
    return request.promise
  }

  /** Sends a new token. Rejects with `UNAUTHORIZED` if the broker refuses the token. */
  async authenticate(token: string): Promise<void> {
    const settings = this.#settings
    const formerToken = settings.token
    // A reconnect during the call uses the new token already.
    settings.token = token
    try {
      await this.submit(authRequest(token))
    } catch (error) {
      const isRefused = (error as HoldfastError).code === 'UNAUTHORIZED'
      // A later call may have set another token meanwhile.
      if (isRefused && settings.token === token) settings.token = formerToken
      throw error
    }
  }

  /** Chooses whether the connection and the timer keep the process alive. Default: true. */
  keepProcessAlive(keepAlive: boolean): void {
    if (this.#state === 'closed') return
    this.scheduler.keepProcessAlive(keepAlive)
    this.#reconnector.keepProcessAlive(keepAlive)
  }

  /** Makes the error for calls after the end of the session. */
  closedError(): HoldfastError {
    const error = this.#endError
    return error === undefined
      ? new HoldfastError('SESSION_CLOSED')
      : new HoldfastError('SESSION_CLOSED', error.message, { cause: error, reason: error.reason })
  }

  /**
   * Ends the session and all its calls, and sends `bye`, so that the broker also ends the session.
   * Resolves within a second. If the client is disconnected and the broker may still keep the
   * session, the client tries once to reconnect, so that it can send `bye`.
   */
  close(): Promise<void> {
    if (this.#state === 'closed') return this.#closing ?? Promise.resolve()
    // The process must stay alive until the `bye` is sent, which may take a second.
    this.keepProcessAlive(true)
    this.#closing = new Promise((resolve) => {
      this.#resolveClosing = resolve
    })
    this.#endAll(new HoldfastError('SESSION_CLOSED'))
    this.scheduler.after(this.#closeTimeout, maxCloseMs)
    if (this.#connection !== undefined) this.#connection.send(byeText)
    else if (this.#resumeSecret !== undefined) this.#reconnector.limitToOneRound()
    else this.#finish()
    return this.#closing
  }

  // ------------------------------------------------------------------ from the reconnector

  get leaseMs(): number {
    return this.#info.lease
  }

  /** Makes the `hello` for the next connection. If possible, the `hello` resumes the session. */
  helloText(): string {
    const secret = this.#resumeSecret
    const { session } = this.#info
    const resume = secret === undefined ? undefined : { session, secret, try: ++this.#resumeTries }
    return messageText('hello', { ...this.#settings, resume })
  }

  /** Loses the expired locks before the frame is handled, because their timer may run late. */
  onFrame(): void {
    this.scheduler.runExpired()
  }

  onConnected(connection: Connection, welcome: Welcome, sentAt: ClockTimes): void {
    if (this.#closing !== undefined) {
      // The client reconnected only to send `bye`.
      connection.send(byeText)
      return
    }
    const isFirstSession = this.#state === 'connecting'
    // A faulty broker may say `resumed` although the `hello` asked for no resume or for another
    // session.
    const askedForResume = this.#resumeSecret !== undefined
    const isResumed = welcome.resumed && askedForResume && welcome.session === this.#info.session
    this.#connection = connection
    this.#info = welcome
    this.#brokerHasIdleLease = welcome.features?.includes('idleLease') === true
    this.#idlePongNumber = undefined
    this.#resumeSecret = welcome.grace > 0 ? welcome.secret : undefined
    const isResumable = this.#resumeSecret !== undefined
    this.heldLocks.clockSample = { sent: sentAt, received: welcome.at }
    this.heldLocks.maxHoldLimit = welcome.maxHoldMs
    this.pendingRequests.onConnected(connection, isResumable, isResumed)
    if (isResumed) {
      this.#reconciler = new Reconciler(this.pendingRequests, this.heldLocks)
      this.lease.resume(sentAt)
      return
    }
    if (!isFirstSession) this.#endSession('the session could not be resumed')
    // The caller's listener for lost locks may have closed the session.
    if (this.#state === 'closed') return
    this.lease.start(welcome.lease, sentAt, isResumable)
    this.#startSending(connection)
    if (isFirstSession) this.listener.onOpen()
    else this.listener.notify('newSession')
  }

  onMessage(message: ServerMessage): void {
    const connection = this.#connection
    if (connection === undefined || this.#closing !== undefined) return
    const { type } = message
    // Nearly all messages of a busy session are of these two types. V8 inlines this direct call,
    // but would not inline a handler from the table.
    if (type === 'granted' || type === 'unlocked') {
      this.onResponse(message, connection, /* isStored */ true)
    } else {
      // A newer broker may send messages of unknown types, which have no handler.
      this.#handlers.get(type)?.(message, connection)
    }
  }

  /** @param isStored Whether the broker stores responses of this type until the client's `ack`. */
  onResponse(response: Response, connection: Connection, isStored: boolean): void {
    const isResuming = this.#reconciler !== undefined
    const sentAt = this.#responseRouter.route(response, connection, isStored, isResuming)
    if (sentAt !== undefined) this.lease.extend(sentAt)
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
    this.pendingRequests.onDisconnected()
    this.watches.onDisconnected()
    // First loses the locks that have expired, so that their loss has the right reason.
    this.scheduler.runExpired()
    // The caller's listener for lost locks may have closed the session. This line reads `state`,
    // because the compiler would refuse to compare `#state`, which was set above.
    if (this.state === 'closed') return
    // Only a session with a grace has a secret.
    const hasGrace = this.#resumeSecret !== undefined
    // The code `expired`: the broker has ended the session, or the page was left.
    if (code === closeCodes.expired.code) this.#resumeSecret = undefined
    if (this.#resumeSecret === undefined) {
      this.lease.stop()
      const reason = hasGrace ? '' : ': it had no `grace`'
      this.#endSession(`the connection dropped, and the session ended${reason}`, error)
    } else {
      this.lease.limitToGrace(this.#info.grace)
      // In jeopardy: the session still holds its locks, but loses them unless a resume succeeds.
      if (wasConnected) this.listener.notify('jeopardy', error)
    }
    // The caller's listeners may have closed the session.
    if (wasConnected && this.state === 'disconnected') this.listener.notify('disconnected', error)
  }

  /** The reconnector gives up, so the session ends. */
  onGivenUp(error: HoldfastError): void {
    if (this.#closing === undefined) {
      this.#endError = error
      this.#endAll(error)
    }
    this.#finish()
  }

  // ------------------------------------------------------------------ from the lease monitor

  /** Gives up all locks, because the broker may have granted them to other sessions. */
  onLeaseOver(): void {
    const message = 'the lease or grace passed, and the session ended'
    this.heldLocks.loseAll(message)
    // The caller's listener for lost locks may have closed the session.
    if (this.#state === 'connected') this.#reconnector.failConnection(message)
  }

  get idlePongNumber(): number | undefined {
    return this.#idlePongNumber
  }

  /** Whether the session holds nothing and waits for nothing. It may still have watches. */
  get isIdle(): boolean {
    return this.heldLocks.all.length + this.pendingRequests.all.length === 0
  }

  /** @param pingNumber The number of the `ping` to answer; 0 for a `pong` without a `ping`. */
  sendPong(pingNumber = 0): void {
    const connection = this.#connection!
    const asksForIdleLease = this.#brokerHasIdleLease && this.isIdle && this.watches.isEmpty
    const messageNumber = this.pendingRequests.pong(pingNumber, connection, asksForIdleLease)
    this.#idlePongNumber = asksForIdleLease ? messageNumber : undefined
    this.lease.onPong()
  }

  onSilence(): void {
    this.#reconnector.failConnection('the broker has acknowledged nothing for half a lease')
  }

  // ---------------------------------------------------------------------------- transitions

  /** @param waiting After a resume: the ids of the requests that wait at the broker already. */
  #startSending(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#state = 'connected'
    this.pendingRequests.startSending(connection, waiting)
    this.watches.sendAll(connection)
  }

  finishResume(connection: Connection): void {
    const reconciler = this.#reconciler!
    this.#reconciler = undefined
    const waiting = reconciler.settle()
    // The caller's listener for lost locks may have closed the session.
    if (this.#connection !== connection || this.#state === 'closed') return
    this.lease.onResumed()
    this.#startSending(connection, waiting)
    this.listener.notify('resumed')
  }

  /**
   * Gives up the locks of a session that the broker has ended. Ends the requests that depend on
   * these locks; the other requests wait for the next session.
   */
  #endSession(message: string, cause?: HoldfastError): void {
    this.pendingRequests.endSession(message)
    this.heldLocks.loseAll(message, cause)
  }

  /** Ends the session for good: no new session follows. */
  #endAll(error: HoldfastError): void {
    this.#state = 'closed'
    this.lease.stop()
    this.pendingRequests.endAll(error)
    this.watches.clear()
    this.heldLocks.loseAll(error.message, error)
  }

  /**
   * The last step of the end of a session. Called when the connection has ended after `bye`, when
   * the client cannot send `bye` or gives up, or after `maxCloseMs`.
   */
  #finish(): void {
    this.#connection = undefined
    this.#reconnector.close()
    this.scheduler.stop()
    this.listener.notify('closed', this.#endError)
    this.#resolveClosing?.()
  }
}
