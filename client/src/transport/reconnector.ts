/**
 * Keeps a connection to one of the brokers. Opens the first connection, and after each drop the
 * next, by the retry strategy. This file knows URLs, delays and close codes, but not sessions and
 * locks.
 *
 * A round tries every URL once and begins with the URL that worked last. Each round of a reconnect
 * begins after a delay of the retry strategy. The delays start anew with each outage.
 */
import {
  closeCodes,
  HoldfastError,
  maxMs,
  type ServerMessage,
  type Welcome,
} from '@holdfast/shared'
import type { ClockReading, Environment } from '../platform/environment.js'
import type { PageLifecycleListener } from '../platform/page.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { WebSocketConstructor } from '../platform/webSocket/types.js'
import { droppedError, finalError, unreachableError } from './closeErrors.js'
import { type Closing, Connection, type ConnectionListener } from './connection.js'
import { byeText } from './messages.js'
import type { RetryStrategy } from './retryStrategies.js'

/**
 * The session ends after so many faulty connections in a row, because another connection would only
 * repeat the fault while callers wait.
 */
const maxFaults = 3
/** A fault later than this after the `welcome`, in ms, is the first of a new row. */
const faultWindowMs = 60_000

/** Longest time for one try to connect, and the time before the lease is known, in ms. */
const maxConnectMs = 10_000
/** Shortest time for one try with one broker, in ms: there is no other broker to try instead. */
const minConnectMsForOne = 2_000
/** Shortest time for one try with several brokers, in ms: a handshake over a slow network. */
const minConnectMs = 500

/**
 * How long one try to connect may take, from the new socket to the `welcome`, in ms. A broker whose
 * process is stopped accepts a connection and never answers, and meanwhile the lease runs out.
 *
 * @param lease The lease of the session in ms; 0 before the first `welcome`.
 * @param rounds How often every broker has been tried in vain. Each round doubles the time, because
 *   otherwise brokers that all need a little longer would never be reached.
 */
export function connectTimeoutFor(lease: number, brokers: number, rounds: number): number {
  if (lease === 0) return maxConnectMs
  // Silence has used up half of the lease; the brokers share the other half.
  const ms =
    brokers === 1
      ? Math.max(lease / 3, minConnectMsForOne)
      : Math.max(lease / 2 / brokers, minConnectMs)
  return Math.min(ms * 2 ** rounds, maxConnectMs)
}

export interface ReconnectorListener {
  /** The lease of the session in ms; 0 before the first `welcome`. */
  readonly leaseMs: number
  /** The text of the `hello` for the next connection. */
  helloText(): string
  onFrame(): void
  onConnected(connection: Connection, welcome: Welcome, sentAt: ClockReading): void
  onMessage(message: ServerMessage): void
  /** The connection is gone, and the reconnector is about to open another. */
  onDisconnected(code: number, error: HoldfastError): void
  /** There is no connection, and the reconnector gives up. */
  onGivenUp(error: HoldfastError): void
}

export interface ReconnectorOptions {
  readonly urls: readonly string[]
  readonly WebSocket: WebSocketConstructor
  /** False: do not reconnect. */
  readonly strategy: RetryStrategy | false
}

export class Reconnector implements ConnectionListener, PageLifecycleListener {
  readonly #environment: Environment
  readonly #scheduler: Scheduler
  readonly #options: ReconnectorOptions
  readonly #listener: ReconnectorListener
  /** The open connection, or the connection of the present try. */
  #connection: Connection | undefined
  #isUp = false
  /** Whether any connection was ever open. */
  #wasUp = false
  #closed = false
  #isRef = true
  /** The page was left: open no connection before the page is shown again. */
  #isPageLeft = false
  /** The present round of tries is the last. */
  #isLast = false
  #stopWatching: (() => void) | undefined
  /** Index of the URL that was tried last. */
  #current = 0
  #triesLeft = 0
  /** How many rounds have failed since the last `welcome`. */
  #rounds = 0
  /** When the last `welcome` arrived, by the monotonic clock. */
  #upAt = 0
  /** How many connections in a row were faulty. */
  #faults = 0
  #delays: Iterator<number> | undefined
  #lastError: HoldfastError | undefined
  readonly #nextTry: Task = { run: () => this.#startRound() }
  readonly #tryEnds: Task = { run: () => this.drop('no welcome in time') }

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
    this.#stopWatching = this.#environment.page?.watch(this)
    this.#startRound()
  }

  /** Ends the connection, as if the network had dropped it, and opens another. */
  drop(reason: string): void {
    this.#connection?.fail(reason)
  }

  /** Chooses whether the connections keep the process alive. */
  keepProcessAlive(isRef: boolean): void {
    this.#isRef = isRef
    this.#connection?.keepProcessAlive(isRef)
  }

  /** Without a connection, tries one last round now. */
  tryOnceMore(): void {
    this.#isLast = true
    if (this.#connection === undefined) this.#tryNow()
  }

  /** Drops the connection, and opens no other. */
  close(): void {
    this.#closed = true
    this.#stopWatching?.()
    this.#scheduler.cancel(this.#nextTry)
    this.#scheduler.cancel(this.#tryEnds)
    this.#connection?.drop()
    this.#connection = undefined
    this.#endDelays()
  }

  // ------------------------------------------------------------------------- from the page

  /**
   * Sends `bye`, because other sessions should not wait for the locks of a page that is not shown.
   * If the page is shown again, it opens a new session.
   */
  onLeave(): void {
    const connection = this.#connection
    this.#isPageLeft = true
    this.#scheduler.cancel(this.#nextTry)
    connection?.send(byeText)
    connection?.flush()
    connection?.fail('the page was left', closeCodes.expired.code)
  }

  /** Checks the deadlines first, and then reconnects at once instead of after the delay. */
  onWake(): void {
    this.#isPageLeft = false
    this.#scheduler.expireDue()
    if (!this.#closed && this.#wasUp && this.#connection === undefined) this.#tryNow()
  }

  // ------------------------------------------------------------------- from the connection

  onFrame(): void {
    this.#listener.onFrame()
  }

  onWelcome(welcome: Welcome, sentAt: ClockReading): void {
    this.#scheduler.cancel(this.#tryEnds)
    this.#isUp = true
    this.#wasUp = true
    this.#upAt = this.#scheduler.monotonic()
    this.#rounds = 0
    this.#lastError = undefined
    this.#endDelays()
    this.#listener.onConnected(this.#connection!, welcome, sentAt)
  }

  onMessage(message: ServerMessage): void {
    this.#listener.onMessage(message)
  }

  onClose(closing: Closing): void {
    const wasUp = this.#isUp
    this.#isUp = false
    this.#connection = undefined
    this.#scheduler.cancel(this.#tryEnds)
    const final = finalError(this.#options.urls[this.#current]!, closing)
    if (final !== undefined) this.#end(final)
    else if (wasUp) this.#reconnect(closing)
    else this.#tryFailed(closing)
  }

  // ---------------------------------------------------------------------------------- tries

  #reconnect(closing: Closing): void {
    const { urls, strategy } = this.#options
    const url = urls[this.#current]!
    this.#countFault(closing)
    const end =
      strategy === false
        ? ', and reconnecting is switched off'
        : this.#faults >= maxFaults
          ? `, as did the ${maxFaults - 1} before it`
          : undefined
    if (end !== undefined) {
      this.#end(droppedError(url, closing, end))
      return
    }
    // Another broker may work.
    if (closing.isFault) this.#current = (this.#current + 1) % urls.length
    this.#listener.onDisconnected(closing.code, droppedError(url, closing))
    // The listener may have closed the reconnector, or started a try.
    if (!this.#closed && this.#connection === undefined) this.#waitForTry()
  }

  #countFault({ isFault }: Closing): void {
    if (!isFault || this.#scheduler.monotonic() - this.#upAt > faultWindowMs) this.#faults = 0
    if (isFault) this.#faults++
  }

  #waitForTry(): void {
    if (this.#isPageLeft) return
    let next: IteratorResult<number>
    try {
      this.#delays ??= (this.#options.strategy as RetryStrategy)[Symbol.iterator]()
      next = this.#delays.next()
    } catch (cause) {
      this.#end(new HoldfastError('INVALID_OPTION', 'the reconnect strategy threw', { cause }))
      return
    }
    if (!next.done) {
      this.#scheduler.after(this.#nextTry, usableDelay(next.value))
      return
    }
    this.#delays = undefined
    const message = 'the connection dropped, and every try to reconnect failed'
    this.#end(new HoldfastError('UNAVAILABLE', message, { cause: this.#lastError }))
  }

  #tryNow(): void {
    this.#scheduler.cancel(this.#nextTry)
    this.#startRound()
  }

  #startRound(): void {
    this.#triesLeft = this.#options.urls.length
    this.#try()
  }

  #try(): void {
    const { urls, WebSocket } = this.#options
    const hello = this.#listener.helloText()
    const url = urls[this.#current]!
    this.#triesLeft--
    try {
      this.#connection = new Connection(this.#environment, WebSocket, url, hello, this)
      if (!this.#isRef) this.#connection.keepProcessAlive(false)
    } catch (cause) {
      this.#tryFailed({ code: 1006, reason: '', cause })
      return
    }
    const { leaseMs } = this.#listener
    const timeout = connectTimeoutFor(leaseMs, urls.length, this.#rounds)
    this.#scheduler.after(this.#tryEnds, timeout)
  }

  #tryFailed(closing: Closing): void {
    const { urls } = this.#options
    const error = unreachableError(urls[this.#current]!, closing, this.#environment)
    this.#lastError = error
    this.#current = (this.#current + 1) % urls.length
    if (this.#triesLeft === 0) this.#rounds++
    if (this.#triesLeft > 0 && !this.#isPageLeft) this.#try()
    else if (this.#wasUp && !this.#isLast) this.#waitForTry()
    else this.#end(urls.length === 1 ? error : noneAnswered(urls.length, error))
  }

  #end(error: HoldfastError): void {
    this.close()
    this.#listener.onGivenUp(error)
  }

  /** Ends the iterator of the strategy, so that a generator runs its `finally`. */
  #endDelays(): void {
    const delays = this.#delays
    this.#delays = undefined
    try {
      delays?.return?.()
    } catch {
      // An error of the strategy does not matter, because the outage is over.
    }
  }
}

function noneAnswered(brokers: number, cause: HoldfastError): HoldfastError {
  const message = `none of the ${brokers} brokers answered; the last: ${cause.message}`
  return new HoldfastError('UNAVAILABLE', message, { cause })
}

/** Converts a delay of the caller's strategy; a value that is not a number counts as 0. */
function usableDelay(ms: number): number {
  return Math.min(Math.max(Number(ms) || 0, 0), maxMs)
}
