/**
 * Keeps the client connected to one of the brokers. The reconnector opens the first connection.
 * When a connection drops, the reconnector opens the next connection as the retry strategy says.
 * This file knows URLs, delays and close codes, but not sessions and locks. A connection counts as
 * open from the `welcome` with which the broker answers the client's first message, `hello`.
 *
 * A round tries every URL once. The first round after a drop begins with the URL of the connection
 * that dropped, with two exceptions:
 * - If the broker closed the connection because the broker is about to stop, the round begins with
 *   the first URL of the list. So the client returns to the broker that it prefers.
 * - If the broker sent an invalid message or frame, the round begins with the next URL.
 *
 * After a drop, the reconnector waits before each round for the next delay of the retry strategy.
 * The delays begin again with the first one only if the dropped connection was open for a while.
 * Otherwise a broker that always closes the connection after `welcome` would be tried many times a
 * second.
 */
import { closeCodes, HoldfastError, type ServerMessage, type Welcome } from '@holdfast/shared'
import type { ClockTimes, Environment } from '../platform/environment.js'
import type { PageLifecycleListener } from '../platform/page.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { WebSocketConstructor } from '../platform/webSocket/types.js'
import { droppedError, finalError, unreachableError } from './closeErrors.js'
import { type Closing, Connection, type ConnectionListener } from './connection.js'
import { byeText } from './messages.js'
import { type RetryStrategy, usableDelay } from './retryStrategies.js'

/**
 * The reconnector gives up after this many faulty connections in a row. Another connection would
 * probably be faulty too, and callers would wait in vain. A connection is faulty if the broker sent
 * an invalid message or frame, or if the WebSocket threw.
 */
const maxFaults = 3
/**
 * In ms. If a connection was open for longer than this time before its fault, the count of faulty
 * connections starts again with this connection.
 */
const healthyMs = 60_000
/**
 * In ms. The drop of a connection that was open for at least this time begins a new outage: the
 * first delay of the retry strategy comes next. The drop of a shorter connection continues the
 * present outage.
 */
const stableMs = 1_000

/**
 * In ms. The longest timeout of one try to connect. Every try before the first `welcome` has this
 * timeout.
 */
const maxTimeoutMs = 10_000
/**
 * In ms. The shortest timeout of one try if there is only one broker. This timeout is long, because
 * the client has no other broker to try.
 */
const minTimeoutMsWithOneBroker = 2_000
/**
 * In ms. The shortest timeout of one try if there are several brokers: enough for a handshake on a
 * slow network.
 */
const minTimeoutMs = 500

/**
 * How long one try to connect may take, from the new socket to the `welcome`, in ms. The time is
 * limited, because the operating system accepts connections for a broker even while the broker's
 * process is suspended. The broker then never answers, while the lease runs out. The lease is the
 * time for which the broker keeps a silent session.
 *
 * @param lease The lease of the session in ms; 0 before the first `welcome`.
 * @param failedRounds Each failed round doubles the time, so that the client connects even if every
 *   broker needs a little longer.
 */
export function connectTimeoutFor(
  lease: number,
  brokerCount: number,
  failedRounds: number,
): number {
  if (lease === 0) return maxTimeoutMs
  // The client notices a dead connection after half of the lease. The first round must fit into the
  // other half, unless the tries would then be too short. With one broker, a third of the
  // lease leaves time for the delay before the round.
  const ms =
    brokerCount === 1
      ? Math.max(lease / 3, minTimeoutMsWithOneBroker)
      : Math.max(lease / 2 / brokerCount, minTimeoutMs)
  return Math.min(ms * 2 ** failedRounds, maxTimeoutMs)
}

export interface ReconnectorListener {
  /** The lease of the session in ms; 0 before the first `welcome`. */
  readonly leaseMs: number
  /** Makes the text of the `hello` for the next connection. */
  helloText(): string
  /** Called before the messages of a frame are handled. */
  onFrame(): void
  /** @param sentAt When the client sent the `hello`. */
  onConnected(connection: Connection, welcome: Welcome, sentAt: ClockTimes): void
  onMessage(message: ServerMessage): void
  /** The connection is gone, and the reconnector is about to open another connection. */
  onDisconnected(code: number, error: HoldfastError): void
  /** The connection is gone or was never open, and the reconnector gives up. */
  onGivenUp(error: HoldfastError): void
}

export interface ReconnectorOptions {
  readonly urls: readonly string[]
  readonly WebSocket: WebSocketConstructor
  /** The delays before the rounds of a reconnect; false if the client must not reconnect. */
  readonly strategy: RetryStrategy | false
}

export class Reconnector implements ConnectionListener, PageLifecycleListener {
  readonly #environment: Environment
  readonly #scheduler: Scheduler
  readonly #options: ReconnectorOptions
  readonly #listener: ReconnectorListener
  /** The open connection, or the connection of the present try; undefined between rounds. */
  #connection: Connection | undefined
  /** Whether `#connection` is open. */
  #isConnected = false
  /** Whether a connection was ever open. */
  #wasEverConnected = false
  #isClosed = false
  #keepsProcessAlive = true
  /** Whether the user has left the page. The client then waits until the page is shown again. */
  #isPageLeft = false
  /** Whether the reconnector must give up after the present round. */
  #isLastRound = false
  /** Stops listening to the events of the page. */
  #stopListening: (() => void) | undefined
  /** Index of the URL of `#connection`; if that is undefined, of the URL that is tried next. */
  #urlIndex = 0
  /** How many URLs of the present round were not tried yet. */
  #triesLeft = 0
  /** How many rounds have failed since the last `welcome`. */
  #failedRounds = 0
  /** When the last `welcome` arrived, by the monotonic clock. */
  #welcomedAt = 0
  /** How many connections in a row were faulty. */
  #faultCount = 0
  /** The delays of the retry strategy. A new outage (see `stableMs`) gets a new iterator. */
  #delays: Iterator<number> | undefined
  /** The error of the newest failed try or dropped connection, if there was one. */
  #lastError: HoldfastError | undefined
  readonly #nextRound: Task = { onDue: () => this.#startRound() }
  readonly #tryTimeout: Task = { onDue: () => this.failConnection('no welcome in time') }

  constructor(
    environment: Environment,
    scheduler: Scheduler,
    options: ReconnectorOptions,
    listener: ReconnectorListener,
  ) {
    this.#environment = environment
    this.#scheduler = scheduler
    this.#options = options
    this.#listener = listener
  }

  /** Opens the first connection. */
  open(): void {
    this.#stopListening = this.#environment.page?.watch(this)
    this.#startRound()
  }

  /** Ends the connection as if the network had failed, and then reconnects. */
  failConnection(reason: string): void {
    this.#connection?.fail(reason)
  }

  /** Chooses whether this and later connections keep the process alive. */
  keepProcessAlive(keepAlive: boolean): void {
    this.#keepsProcessAlive = keepAlive
    this.#connection?.keepProcessAlive(keepAlive)
  }

  /**
   * Makes the present round the last round. If no connection is open and no try is under way,
   * begins the last round now. The caller of this method is about to close the session, and needs a
   * connection to send `bye`.
   */
  limitToOneRound(): void {
    this.#isLastRound = true
    if (this.#connection === undefined) this.#startRoundNow()
  }

  /** Drops the connection, and opens no further connection. */
  close(): void {
    this.#isClosed = true
    this.#stopListening?.()
    this.#scheduler.cancel(this.#nextRound)
    this.#scheduler.cancel(this.#tryTimeout)
    this.#connection?.drop()
    this.#connection = undefined
    this.#endDelays()
  }

  // ------------------------------------------------------------------------- from the page

  /**
   * Called when the user leaves the page. Sends `bye`, which ends the session, so that other
   * sessions need not wait for the locks of a page that the user has left. If the page is shown
   * again, the client opens a new session.
   */
  onLeave(): void {
    const connection = this.#connection
    this.#isPageLeft = true
    this.#scheduler.cancel(this.#nextRound)
    connection?.send(byeText)
    connection?.flush()
    // This close code means that the session has ended, so the client does not try to resume it.
    connection?.fail('the page was left', closeCodes.expired.code)
  }

  /**
   * Called when the page was shown or woken, or when the network is back. First ends the locks and
   * the lease if they have expired, because the timer for an expiry may run late. Then, if the
   * connection has dropped, begins a round without the delay of the retry strategy.
   */
  onWake(): void {
    this.#isPageLeft = false
    this.#scheduler.runExpired()
    const isDropped = this.#wasEverConnected && this.#connection === undefined
    if (!this.#isClosed && isDropped) this.#startRoundNow()
  }

  // ------------------------------------------------------------------- from the connection

  onFrame(): void {
    this.#listener.onFrame()
  }

  onWelcome(welcome: Welcome, sentAt: ClockTimes): void {
    this.#scheduler.cancel(this.#tryTimeout)
    this.#isConnected = true
    this.#wasEverConnected = true
    this.#welcomedAt = this.#scheduler.monotonic()
    this.#failedRounds = 0
    this.#listener.onConnected(this.#connection!, welcome, sentAt)
  }

  onMessage(message: ServerMessage): void {
    this.#listener.onMessage(message)
  }

  onClose(closing: Closing): void {
    const wasConnected = this.#isConnected
    this.#isConnected = false
    this.#connection = undefined
    this.#scheduler.cancel(this.#tryTimeout)
    const error = finalError(this.#options.urls[this.#urlIndex]!, closing)
    if (error !== undefined) this.#giveUp(error)
    else if (wasConnected) this.#reconnect(closing)
    else this.#tryFailed(closing)
  }

  // ---------------------------------------------------------------------------------- tries

  #reconnect(closing: Closing): void {
    const { urls, strategy } = this.#options
    const url = urls[this.#urlIndex]!
    this.#countFault(closing)
    // The end of the sentence that `droppedError` makes.
    const giveUpReason =
      strategy === false
        ? ', and reconnect is false'
        : this.#faultCount >= maxFaults
          ? `, as did the ${maxFaults - 1} connections before`
          : undefined
    if (giveUpReason !== undefined) {
      this.#giveUp(droppedError(url, closing, giveUpReason))
      return
    }
    // The next broker may work without this fault.
    if (closing.isFault) this.#urlIndex = (this.#urlIndex + 1) % urls.length
    else if (closing.code === closeCodes.restart.code) this.#urlIndex = 0
    if (this.#scheduler.monotonic() - this.#welcomedAt >= stableMs) this.#endDelays()
    this.#lastError = droppedError(url, closing)
    this.#listener.onDisconnected(closing.code, this.#lastError)
    // The listener may have called `close` or `limitToOneRound`.
    if (!this.#isClosed && this.#connection === undefined) this.#waitForRound()
  }

  #countFault({ isFault }: Closing): void {
    if (!isFault || this.#scheduler.monotonic() - this.#welcomedAt > healthyMs) this.#faultCount = 0
    if (isFault) this.#faultCount++
  }

  #waitForRound(): void {
    if (this.#isPageLeft) return
    let delay: number | undefined
    try {
      this.#delays ??= (this.#options.strategy as RetryStrategy)[Symbol.iterator]()
      const { done, value } = this.#delays.next()
      // The conversion may throw too, for instance for a symbol.
      if (!done) delay = usableDelay(value)
    } catch (cause) {
      this.#giveUp(new HoldfastError('INVALID_OPTION', 'the reconnect strategy threw', { cause }))
      return
    }
    if (delay !== undefined) {
      this.#scheduler.after(this.#nextRound, delay)
      return
    }
    // The iterator has ended by itself. So `#giveUp` below must not end the iterator again.
    this.#delays = undefined
    const message = 'the connection dropped, and every try to reconnect failed'
    this.#giveUp(new HoldfastError('UNAVAILABLE', message, { cause: this.#lastError }))
  }

  #startRoundNow(): void {
    this.#scheduler.cancel(this.#nextRound)
    this.#startRound()
  }

  #startRound(): void {
    this.#triesLeft = this.#options.urls.length
    this.#tryUrl()
  }

  #tryUrl(): void {
    const { urls, WebSocket } = this.#options
    const hello = this.#listener.helloText()
    const url = urls[this.#urlIndex]!
    this.#triesLeft--
    try {
      this.#connection = new Connection(this.#environment, WebSocket, url, hello, this)
      if (!this.#keepsProcessAlive) this.#connection.keepProcessAlive(false)
    } catch (cause) {
      // 1006 stands for a missing close code: there was no WebSocket that could close.
      this.#tryFailed({ code: 1006, reason: '', cause })
      return
    }
    const { leaseMs } = this.#listener
    const timeout = connectTimeoutFor(leaseMs, urls.length, this.#failedRounds)
    this.#scheduler.after(this.#tryTimeout, timeout)
  }

  #tryFailed(closing: Closing): void {
    const { urls } = this.#options
    const error = unreachableError(urls[this.#urlIndex]!, closing, this.#environment)
    this.#lastError = error
    this.#urlIndex = (this.#urlIndex + 1) % urls.length
    if (this.#triesLeft === 0) this.#failedRounds++
    if (this.#triesLeft > 0 && !this.#isPageLeft) this.#tryUrl()
    else if (this.#wasEverConnected && !this.#isLastRound) this.#waitForRound()
    else this.#giveUp(urls.length === 1 ? error : noneAnsweredError(urls.length, error))
  }

  #giveUp(error: HoldfastError): void {
    this.close()
    this.#listener.onGivenUp(error)
  }

  /** Ends the iterator of the retry strategy, so that a generator function runs its `finally`. */
  #endDelays(): void {
    const delays = this.#delays
    this.#delays = undefined
    try {
      delays?.return?.()
    } catch {
      // Ignores an error of the caller's strategy: the strategy is not needed any more.
    }
  }
}

function noneAnsweredError(brokerCount: number, cause: HoldfastError): HoldfastError {
  const message = `none of the ${brokerCount} brokers answered; the last: ${cause.message}`
  return new HoldfastError('UNAVAILABLE', message, { cause })
}
