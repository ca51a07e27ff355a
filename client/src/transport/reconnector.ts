/**
 * Keeps a connection to one of the brokers: makes the first, and after each drop the next, by the
 * retry strategy. It knows URLs, delays and close codes, and nothing of sessions and locks.
 *
 * One try goes over all URLs once, beginning with the one that worked last. The strategy's delays
 * come before each try to reconnect, and start anew with each outage.
 */
import {
  closeCodes,
  HoldfastError,
  maxMs,
  type ServerMessage,
  type Welcome,
} from '@holdfast/shared'
import type { ClockReading } from '../locks/expiry.js'
import type { Environment, WebSocketConstructor } from '../platform/environment.js'
import type { PageLifecycle } from '../platform/page.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { dropped, finalError, unreachable } from './closeErrors.js'
import { type Closing, Connection, type ConnectionListener } from './connection.js'
import { byeText } from './messages.js'
import type { RetryStrategy } from './retryStrategies.js'

/**
 * So many connections in a row may fail by a fault, each within so many ms of its welcome. More
 * would only repeat the fault, while callers wait for answers without a word.
 */
const maxFaults = 3
const faultyMs = 60_000

export interface ReconnectorListener {
  /** Text of the hello for the next connection. */
  hello(): string
  /** How long a try may take until its welcome, in ms, of so many brokers, after so many rounds. */
  connectTimeout(brokers: number, rounds: number): number
  onFrame(): void
  onUp(connection: Connection, welcome: Welcome, sentAt: ClockReading): void
  onMessage(message: ServerMessage): void
  /** The connection is gone, for this reason; the link is about to make another. */
  onDown(code: number, error: HoldfastError): void
  /** There is no connection and there will be none. */
  onEnd(error: HoldfastError): void
}

export interface ReconnectorOptions {
  readonly urls: readonly string[]
  readonly WebSocket: WebSocketConstructor
  /** False: never come back. */
  readonly strategy: RetryStrategy | false
}

export class Reconnector implements ConnectionListener, PageLifecycle {
  readonly #environment: Environment
  readonly #scheduler: Scheduler
  readonly #options: ReconnectorOptions
  readonly #listener: ReconnectorListener
  /** The connection that is up, or the one that tries to be. */
  #connection: Connection | undefined
  #isUp = false
  /** Whether a connection ever was. */
  #wasUp = false
  #closed = false
  #isRef = true
  /** The page was left; no connection before it is seen again. */
  #isLeft = false
  /** The round of tries that is under way is the last. */
  #isLast = false
  #stopWatching: (() => void) | undefined
  /** Place in the list of the URL that was tried last. */
  #current = 0
  #triesLeft = 0
  /** How often all of them were tried in vain since the last welcome. */
  #rounds = 0
  /** When the newest welcome came, by the monotonic clock. */
  #upAt = 0
  /** How many connections in a row have failed by a fault. */
  #faults = 0
  #delays: Iterator<number> | undefined
  #lastError: HoldfastError | undefined
  readonly #nextTry: Task = { run: () => this.#startRound() }
  readonly #tryEnds: Task = { run: () => this.drop('no welcome in time') }

  constructor(
    environment: Environment,
    schedule: Scheduler,
    options: ReconnectorOptions,
    listener: ReconnectorListener,
  ) {
    this.#environment = environment
    this.#scheduler = schedule
    this.#options = options
    this.#listener = listener
  }

  /** Makes the first connection. */
  open(): void {
    this.#stopWatching = this.#environment.page?.watch(this)
    this.#startRound()
  }

  /** Gives the connection up, as if it had dropped, and makes another. */
  drop(reason: string): void {
    this.#connection?.fail(reason)
  }

  /** Whether its connections keep the process alive. */
  keepAlive(isRef: boolean): void {
    this.#isRef = isRef
    this.#connection?.keepAlive(isRef)
  }

  /** While there is no connection: tries to make one now, and if that fails never again. */
  tryOnceMore(): void {
    this.#isLast = true
    if (this.#connection === undefined) this.#tryNow()
  }

  /** Drops whatever there is, and does nothing more. */
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
   * A goodbye while there is time for one: others should not wait for a page that nobody sees. If
   * it is seen again, that is another session.
   */
  onLeave(): void {
    const connection = this.#connection
    this.#isLeft = true
    this.#scheduler.cancel(this.#nextTry)
    connection?.send(byeText)
    connection?.flush()
    connection?.fail('the page was left', closeCodes.expired.code)
  }

  /** Deadlines first; then, if it is known that there was a broker, no more waiting for it. */
  onWake(): void {
    this.#isLeft = false
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
    this.#listener.onUp(this.#connection!, welcome, sentAt)
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
    else if (wasUp) this.#comeBack(closing)
    else this.#tryFailed(closing)
  }

  // ---------------------------------------------------------------------------------- tries

  #comeBack(closing: Closing): void {
    const { urls, strategy } = this.#options
    const url = urls[this.#current]!
    this.#countFault(closing)
    if (strategy === false) {
      this.#end(dropped(url, closing, ', and reconnecting is switched off'))
      return
    }
    if (this.#faults >= maxFaults) {
      this.#end(dropped(url, closing, `, as did the ${maxFaults - 1} before it`))
      return
    }
    // Another broker may do better.
    if (closing.isFault) this.#current = (this.#current + 1) % urls.length
    this.#listener.onDown(closing.code, dropped(url, closing))
    // Whoever was told may have asked for no more tries, or for one at once.
    if (!this.#closed && this.#connection === undefined) this.#waitForTry()
  }

  #countFault({ isFault }: Closing): void {
    if (!isFault || this.#scheduler.monotonic() - this.#upAt > faultyMs) this.#faults = 0
    if (isFault) this.#faults++
  }

  #waitForTry(): void {
    if (this.#isLeft) return
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
    const sentence = 'the connection dropped, and every try to reconnect failed'
    this.#end(new HoldfastError('UNAVAILABLE', sentence, { cause: this.#lastError }))
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
    const hello = this.#listener.hello()
    const url = urls[this.#current]!
    this.#triesLeft--
    try {
      this.#connection = new Connection(this.#environment, WebSocket, url, hello, this)
      if (!this.#isRef) this.#connection.keepAlive(false)
    } catch (cause) {
      this.#tryFailed({ code: 1006, reason: '', cause })
      return
    }
    this.#scheduler.after(this.#tryEnds, this.#listener.connectTimeout(urls.length, this.#rounds))
  }

  #tryFailed(closing: Closing): void {
    const { urls } = this.#options
    const error = unreachable(urls[this.#current]!, closing, this.#environment)
    this.#lastError = error
    this.#current = (this.#current + 1) % urls.length
    if (this.#triesLeft === 0) this.#rounds++
    if (this.#triesLeft > 0 && !this.#isLeft) this.#try()
    else if (this.#wasUp && !this.#isLast) this.#waitForTry()
    else this.#end(urls.length === 1 ? error : noneAnswered(urls.length, error))
  }

  #end(error: HoldfastError): void {
    this.close()
    this.#listener.onEnd(error)
  }

  /** Lets a strategy that is a generator run its `finally`. */
  #endDelays(): void {
    const delays = this.#delays
    this.#delays = undefined
    try {
      delays?.return?.()
    } catch {
      // The outage is over; how the strategy takes its leave changes nothing.
    }
  }
}

function noneAnswered(brokers: number, cause: HoldfastError): HoldfastError {
  const sentence = `none of the ${brokers} brokers answered; the last: ${cause.message}`
  return new HoldfastError('UNAVAILABLE', sentence, { cause })
}

/** A strategy may be anybody's: what is not a delay is none. */
function usableDelay(ms: number): number {
  return Math.min(Math.max(Number(ms) || 0, 0), maxMs)
}
