/**
 * Has an operator know when a log that is shared with other brokers is in trouble, when this broker
 * loses its clients by that, and when it is over: a line each. What comes and goes within a moment
 * is no trouble.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { LogStatus } from '../log/log.js'
import type { Logger } from './brokerLogger.js'

const everyMs = 1_000

const sentAway =
  'this broker does not count among those that share the log; its clients were sent to the others'

export class LogHealth {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #status: () => LogStatus | undefined
  #timer: Timer
  /** It has served: before that, starting is no trouble. */
  #hasServed = false
  /** It was in trouble at the last look, and since when, by the monotonic clock. */
  #since: number | undefined
  /** What was said of it: whether the broker served nevertheless. */
  #said: boolean | undefined

  constructor(logger: Logger, clock: Clock, status: () => LogStatus | undefined) {
    this.#logger = logger
    this.#clock = clock
    this.#status = status
    this.#wait()
  }

  stop(): void {
    this.#clock.clearTimer(this.#timer)
  }

  #wait(): void {
    this.#timer = this.#clock.setTimer(() => {
      this.#look()
      this.#wait()
    }, everyMs)
  }

  #look(): void {
    const status = this.#status()
    if (status === undefined) return
    const now = this.#clock.monotonic()
    const { name, problem } = status
    const serves = name !== undefined
    if (serves) this.#hasServed = true
    if (problem === undefined && (serves || !this.#hasServed)) this.#over(now)
    else if (this.#since === undefined) this.#since = now
    else if (this.#said !== serves) {
      this.#said = serves
      this.#logger.warn({ trouble: problem ?? sentAway, serves }, 'the log is in trouble')
    }
  }

  #over(now: number): void {
    if (this.#said !== undefined) {
      const lastedMs = Math.round(now - this.#since!)
      this.#logger.warn({ lastedMs }, 'the log is well again')
    }
    this.#said = undefined
    this.#since = undefined
  }
}
