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
import { Answers } from './answers.js'
import type { Environment } from './environment.js'
import { about } from './errorOf.js'
import { Holdings } from './holdings.js'
import type { Stamp } from './lease.js'
import { type LeaseListener, LeaseWatch } from './leaseWatch.js'
import { Link, type LinkListener, type LinkOptions } from './link/link.js'
import { patienceFor } from './link/patience.js'
import { byeText, messageText } from './messages.js'
import { Outbox } from './outbox.js'
import { Reconciler } from './reconciler.js'
import type { AnyRequest, Request } from './requests.js'
import { Schedule, type Task } from './schedule.js'
import type { SessionSettings, SessionState, StandingListener } from './state.js'
import type { Connection } from './transport/connection.js'
import { Watches } from './watch.js'

/** How long a goodbye may take. */
const goodbyeMs = 1_000

export class Standing implements LinkListener, LeaseListener {
  readonly schedule: Schedule
  readonly outbox: Outbox
  readonly holdings: Holdings
  readonly watches: Watches
  readonly settings: SessionSettings
  readonly #listener: StandingListener
  readonly #link: Link
  readonly #answers: Answers
  #state: SessionState = 'connecting'
  #connection: Connection | undefined
  /** What holds of the broker's session; of the last one while there is none. */
  #terms: Pick<Welcome, 'session' | 'lease' | 'grace'> = { session: '', lease: 0, grace: 0 }
  /** For the next resume; undefined if this session cannot be taken up. */
  #secret: string | undefined
  /** How often it has asked to resume: of two hellos, the broker tells by it which is the later. */
  #tries = 0
  readonly lease: LeaseWatch
  /** While the session is being taken up. */
  #reconciler: Reconciler | undefined
  #goodbye: Promise<void> | undefined
  #onGone: (() => void) | undefined
  readonly #goodbyeEnd: Task = { run: () => this.#finish() }
  #error: HoldfastError | undefined

  constructor(
    environment: Environment,
    link: LinkOptions,
    settings: SessionSettings,
    listener: StandingListener,
  ) {
    this.settings = settings
    this.#listener = listener
    this.schedule = new Schedule(environment.clock)
    this.outbox = new Outbox(this.schedule)
    this.holdings = new Holdings(this.schedule, this.outbox, ({ key, fence, lost }) =>
      listener.tell('lost', { key, fence, reason: lost!.reason as LostReason }),
    )
    this.watches = new Watches(this.outbox)
    this.#answers = new Answers(this.outbox, this.holdings, this.watches, () => this.#terms.session)
    this.lease = new LeaseWatch(this.schedule, this)
    this.#link = new Link(environment, this.schedule, link, this)
  }

  get state(): SessionState {
    return this.#state
  }

  get terms(): Pick<Welcome, 'session' | 'lease' | 'grace'> {
    return this.#terms
  }

  open(): void {
    this.#link.open()
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
    this.schedule.keepAlive(isRef)
    this.#link.keepAlive(isRef)
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
    this.schedule.after(this.#goodbyeEnd, goodbyeMs)
    if (this.#connection !== undefined) this.#connection.send(byeText)
    else this.#link.tryOnceMore()
    return this.#goodbye
  }

  // ------------------------------------------------------------------------- from the link

  hello(): string {
    const secret = this.#secret
    const { session } = this.#terms
    const resume = secret === undefined ? undefined : { session, secret, try: ++this.#tries }
    return messageText('hello', { ...this.settings, resume })
  }

  patience(brokers: number, rounds: number): number {
    return patienceFor(this.#terms.lease, brokers, rounds)
  }

  onFrame(): void {
    this.schedule.look()
  }

  onUp(connection: Connection, welcome: Welcome, sentAt: Stamp): void {
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
    this.holdings.exchange = { sent: sentAt, received: welcome.at }
    this.outbox.begin(connection, this.#secret !== undefined, resumed)
    if (resumed) this.#reconciler = new Reconciler(this.outbox, this.holdings)
    else if (!isFirst) this.#leaveSession('the session could not be taken up again')
    if (this.#state === 'closed') return
    if (resumed) this.lease.resume(sentAt)
    else this.lease.start(welcome.lease, sentAt, this.#secret !== undefined)
    if (resumed) return
    this.#goUp(connection)
    if (isFirst) this.#listener.onOpen()
    else this.#listener.tell('renewed')
  }

  onMessage(message: ServerMessage): void {
    const connection = this.#connection
    if (connection === undefined || this.#goodbye !== undefined) return
    switch (message.type) {
      case 'ping':
        this.outbox.pong(message.n, connection)
        // Our timers may be a minute late, in a hidden tab; what the broker says is not.
        this.schedule.run()
        break
      case 'ack': {
        const sent = connection.arrived(message.n)
        this.outbox.onAck(message.n)
        if (sent === undefined) break
        this.holdings.exchange = { sent, received: message.at }
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
        const arrived = this.#answers.take(message, connection, this.#reconciler)
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
    this.#state = 'away'
    this.#connection = undefined
    this.#reconciler = undefined
    this.outbox.close()
    this.watches.goDown()
    this.schedule.look()
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
    this.holdings.loseAll(sentence)
    // Whoever was told of a loss may have closed the session.
    if (this.#state === 'connected') this.#link.drop(sentence)
  }

  onSilence(): void {
    this.#link.drop('for half a lease the broker did not hear us')
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
    this.holdings.loseAll(sentence, cause)
  }

  /** Nothing more will be answered. */
  #endAll(error: HoldfastError): void {
    this.#state = 'closed'
    this.lease.stop()
    this.outbox.end(error)
    this.watches.clear()
    this.holdings.loseAll(error.message, error)
  }

  #finish(): void {
    this.#connection = undefined
    this.#link.close()
    this.schedule.stop()
    this.#listener.tell('closed', this.#error)
    this.#onGone?.()
  }
}
