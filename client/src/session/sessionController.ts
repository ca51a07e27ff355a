/**
 * The client's standing with the broker: which session it has there, whether it is connected, how
 * long it may believe in what it holds, and what becomes of everything when that changes.
 *
 * It outlives the broker's sessions. Where one cannot be taken up again its locks are lost, and
 * what still waits is asked again in a new one; nothing is ever locked again by itself.
 */
import {
  closeCodes,
  HoldfastError,
  type LostReason,
  type ServerMessage,
  type Welcome,
} from '@holdfast/shared'
import type { ClockReading } from '../locks/expiry.js'
import { HeldLocks } from '../locks/heldLocks.js'
import { Reconciler } from '../locks/reconciler.js'
import type { Environment } from '../platform/environment.js'
import { Scheduler, type Task } from '../platform/scheduler.js'
import { about } from '../requests/errorOf.js'
import { PendingRequests } from '../requests/pendingRequests.js'
import type { AnyRequest, Request } from '../requests/requests.js'
import { ResponseRouter } from '../requests/responseRouter.js'
import type { Connection } from '../transport/connection.js'
import { connectTimeoutFor } from '../transport/connectTimeout.js'
import { byeText, messageText } from '../transport/messages.js'
import {
  Reconnector,
  type ReconnectorListener,
  type ReconnectorOptions,
} from '../transport/reconnector.js'
import { type LeaseListener, LeaseMonitor } from './leaseMonitor.js'
import type { SessionControllerListener, SessionSettings, SessionState } from './state.js'
import { Watches } from './watch.js'

/** How long a goodbye may take. */
const goodbyeMs = 1_000

export class SessionController implements ReconnectorListener, LeaseListener {
  readonly scheduler: Scheduler
  readonly outbox: PendingRequests
  readonly heldLocks: HeldLocks
  readonly watches: Watches
  readonly settings: SessionSettings
  readonly #listener: SessionControllerListener
  readonly #reconnector: Reconnector
  readonly #answers: ResponseRouter
  #state: SessionState = 'connecting'
  #connection: Connection | undefined
  /** What holds of the broker's session; of the last one while there is none. */
  #terms: Pick<Welcome, 'session' | 'lease' | 'grace'> = { session: '', lease: 0, grace: 0 }
  /** For the next resume; undefined if this session cannot be taken up. */
  #secret: string | undefined
  /** How often it has asked to resume: of two hellos, the broker tells by it which is the later. */
  #tries = 0
  readonly lease: LeaseMonitor
  /** While the session is being taken up. */
  #reconciler: Reconciler | undefined
  #goodbye: Promise<void> | undefined
  #onGone: (() => void) | undefined
  readonly #goodbyeEnd: Task = { run: () => this.#finish() }
  #error: HoldfastError | undefined

  constructor(
    environment: Environment,
    link: ReconnectorOptions,
    settings: SessionSettings,
    listener: SessionControllerListener,
  ) {
    this.settings = settings
    this.#listener = listener
    this.scheduler = new Scheduler(environment.clock)
    this.outbox = new PendingRequests(this.scheduler)
    this.heldLocks = new HeldLocks(this.scheduler, this.outbox, ({ key, fence, lost }) =>
      listener.tell('lost', { key, fence, reason: lost!.reason as LostReason }),
    )
    this.watches = new Watches(this.outbox)
    this.#answers = new ResponseRouter(
      this.outbox,
      this.heldLocks,
      this.watches,
      () => this.#terms.session,
    )
    this.lease = new LeaseMonitor(this.scheduler, this)
    this.#reconnector = new Reconnector(environment, this.scheduler, link, this)
  }

  get state(): SessionState {
    return this.#state
  }

  get terms(): Pick<Welcome, 'session' | 'lease' | 'grace'> {
    return this.#terms
  }

  open(): void {
    this.#reconnector.open()
  }

  /** Asks; the promise is that of the request. */
  ask<T>(request: AnyRequest & Request<T>): Promise<T> {
    if (this.#state === 'closed') return Promise.reject(about(request.key, this.closedError()))
    this.outbox.add(request)
    return request.promise
  }

  /** Whether the connection and the timers keep the process alive; at first they do. */
  keepAlive(isRef: boolean): void {
    if (this.#state === 'closed') return
    this.scheduler.keepAlive(isRef)
    this.#reconnector.keepAlive(isRef)
  }

  /** For whoever comes after the end. */
  closedError(): HoldfastError {
    const error = this.#error
    return error === undefined
      ? new HoldfastError('SESSION_CLOSED')
      : new HoldfastError('SESSION_CLOSED', error.message, { cause: error, reason: error.reason })
  }

  /**
   * Says goodbye and ends everything; resolves within a second. While it is away from a session
   * that the broker keeps, it comes back for that, if it can be done in the time.
   */
  close(): Promise<void> {
    if (this.#state === 'closed') return this.#goodbye ?? Promise.resolve()
    // A goodbye is worth the second that it may take.
    this.keepAlive(true)
    this.#goodbye = new Promise((resolve) => {
      this.#onGone = resolve
    })
    this.#endAll(new HoldfastError('SESSION_CLOSED'))
    if (this.#connection === undefined && this.#secret === undefined) {
      this.#finish()
      return this.#goodbye
    }
    this.scheduler.after(this.#goodbyeEnd, goodbyeMs)
    if (this.#connection !== undefined) this.#connection.send(byeText)
    else this.#reconnector.tryOnceMore()
    return this.#goodbye
  }

  // ------------------------------------------------------------------------- from the link

  hello(): string {
    const secret = this.#secret
    const { session } = this.#terms
    const resume = secret === undefined ? undefined : { session, secret, try: ++this.#tries }
    return messageText('hello', { ...this.settings, resume })
  }

  connectTimeout(brokers: number, rounds: number): number {
    return connectTimeoutFor(this.#terms.lease, brokers, rounds)
  }

  onFrame(): void {
    this.scheduler.expireDue()
  }

  onUp(connection: Connection, welcome: Welcome, sentAt: ClockReading): void {
    if (this.#goodbye !== undefined) {
      connection.send(byeText)
      return
    }
    const isFirst = this.#state === 'connecting'
    const isOurs = this.#secret !== undefined && welcome.session === this.#terms.session
    const resumed = welcome.resumed && isOurs
    this.#connection = connection
    this.#terms = welcome
    this.#secret = welcome.grace > 0 ? welcome.secret : undefined
    this.heldLocks.exchange = { sent: sentAt, received: welcome.at }
    this.outbox.begin(connection, this.#secret !== undefined, resumed)
    if (resumed) this.#reconciler = new Reconciler(this.outbox, this.heldLocks)
    else if (!isFirst) this.#leaveSession('the session could not be taken up again')
    if (this.#state === 'closed') return
    if (resumed) this.lease.resume(sentAt)
    else this.lease.start(welcome.lease, sentAt, this.#secret !== undefined)
    if (resumed) return
    this.#goUp(connection)
    if (isFirst) this.#listener.onOpen()
    else this.#listener.tell('newSession')
  }

  onMessage(message: ServerMessage): void {
    const connection = this.#connection
    if (connection === undefined || this.#goodbye !== undefined) return
    switch (message.type) {
      case 'ping':
        this.outbox.pong(message.n, connection)
        // Our timers may be a minute late, in a hidden tab; what the broker says is not.
        this.scheduler.run()
        break
      case 'ack': {
        const sent = connection.arrived(message.n)
        this.outbox.onAck(message.n)
        if (sent === undefined) break
        this.heldLocks.exchange = { sent, received: message.at }
        this.lease.extend(sent)
        break
      }
      case 'snapshot':
        if (this.#reconciler?.add(message)) this.#finishResume(connection, this.#reconciler)
        break
      case 'draining':
      case 'expiring':
        this.#listener.tell(message.type, { within: message.within })
        break
      default: {
        const arrived = this.#answers.route(message, connection, this.#reconciler)
        if (arrived !== undefined) this.lease.extend(arrived)
      }
    }
  }

  onDown(code: number, error: HoldfastError): void {
    if (this.#goodbye !== undefined) {
      this.#finish()
      return
    }
    const wasConnected = this.#state === 'connected'
    this.#state = 'disconnected'
    this.#connection = undefined
    this.#reconciler = undefined
    this.outbox.close()
    this.watches.goDown()
    this.scheduler.expireDue()
    // Whoever was told of a loss may have closed the session.
    if (this.state === 'closed') return
    if (code === closeCodes.expired.code) this.#secret = undefined
    if (this.#secret === undefined) {
      this.lease.stop()
      this.#leaveSession('the connection dropped, and the session with it', error)
      return
    }
    this.lease.leaveFor(this.#terms.grace)
    if (wasConnected) this.#listener.tell('jeopardy', error)
  }

  onEnd(error: HoldfastError): void {
    if (this.#goodbye !== undefined) {
      this.#finish()
      return
    }
    this.#error = error
    this.#connection = undefined
    this.#endAll(error)
    this.#finish()
  }

  // ------------------------------------------------------------------------- from the lease

  /** The broker may have given our locks to others. It is told so at the next contact. */
  onLeaseOver(): void {
    const sentence = 'the lease is over, and nothing was heard from the broker'
    this.heldLocks.loseAll(sentence)
    // Whoever was told of a loss may have closed the session.
    if (this.#state === 'connected') this.#reconnector.drop(sentence)
  }

  onSilence(): void {
    this.#reconnector.drop('for half a lease the broker did not hear us')
  }

  // ---------------------------------------------------------------------------- transitions

  #goUp(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#state = 'connected'
    this.outbox.open(connection, waiting)
    this.watches.goUp(connection)
  }

  #finishResume(connection: Connection, reconciler: Reconciler): void {
    this.#reconciler = undefined
    const waiting = reconciler.settle()
    // Whoever was told of a loss may have closed the session.
    if (this.#connection !== connection || this.#state === 'closed') return
    this.lease.settle()
    this.#goUp(connection, waiting)
    this.#listener.tell('resumed')
  }

  /**
   * The broker's session is over: its locks are lost, and what still waits is asked in the next.
   */
  #leaveSession(sentence: string, cause?: HoldfastError): void {
    this.outbox.leaveSession(sentence)
    this.heldLocks.loseAll(sentence, cause)
  }

  /** Nothing more will be answered. */
  #endAll(error: HoldfastError): void {
    this.#state = 'closed'
    this.lease.stop()
    this.outbox.end(error)
    this.watches.clear()
    this.heldLocks.loseAll(error.message, error)
  }

  #finish(): void {
    this.#connection = undefined
    this.#reconnector.close()
    this.scheduler.stop()
    this.#listener.tell('closed', this.#error)
    this.#onGone?.()
  }
}
