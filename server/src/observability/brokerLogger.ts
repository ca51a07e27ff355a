/**
 * Writes the broker's events to the operator's logger: a line for each session that ended, each
 * refusal, each revocation, and each problem of a replicated log. Several brokers share a
 * replicated log, the record of all changes of their locks. At the level `debug` the logger also
 * gets a line for each session that was opened, suspended (kept without a connection) or resumed.
 * Text that a client chose (keys, names, reasons) is escaped and shortened first. Tokens and
 * secrets are never logged.
 *
 * The logger gets at most 100 lines of refusals and 100 lines of revocations in a second, because
 * one client can cause many thousands. A further line says how many lines were left out.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Effect, EndReason, Lock, Session } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { LineLimit } from './lineLimit.js'
import type { LogStatus } from './logStatus.js'
import { type BrokerGauges, type Observer, type RefusalNotice, refusalIn } from './observer.js'

/**
 * The methods that a logger must have. The loggers of pino, bunyan and winston have these methods.
 */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** The number of characters to which a longer text is shortened. */
const maxLoggedChars = 64

/** A text that {@link logText} does not change. */
const plainText = /^[ -~]{0,64}$/

/**
 * Prepares a text for a log line: escapes characters that do not print (`\u{1b}`), and shortens the
 * text to 64 characters with "…" at the end.
 */
export function logText(text: string): string {
  if (plainText.test(text)) return text
  // A character takes one or two UTF-16 units.
  const firstChars = [...text.slice(0, 2 * maxLoggedChars)]
  const printable = firstChars
    .slice(0, maxLoggedChars)
    .map((char) => (/[\p{C}\p{Zl}\p{Zp}]/u.test(char) ? `\\u{${hex(char)}}` : char))
    .join('')
  const isShortened = firstChars.length > maxLoggedChars || text.length > 2 * maxLoggedChars
  return isShortened ? `${printable}…` : printable
}

function hex(char: string): string {
  return (char.codePointAt(0) ?? 0).toString(16)
}

/** The messages of the lines that are bounded, because a client can cause very many of them. */
const boundedMessages = {
  refused: 'Client or request refused',
  revoked: 'Lock revoked',
} as const

export class BrokerLogger implements Observer {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #lineLimit: LineLimit<keyof typeof boundedMessages>
  #logHealth: LogHealth | undefined
  /** The time at which each session was opened, in ms of the monotonic clock. */
  readonly #openedAt = new Map<string, number>()

  constructor(logger: Logger, clock = nodeEnvironment.clock) {
    this.#logger = logger
    this.#clock = clock
    this.#lineLimit = new LineLimit(clock, (kind, count) => {
      const fields = { of: boundedMessages[kind], count }
      if (kind === 'revoked') this.#logger.warn({ audit: true, ...fields }, 'Lines left out')
      else this.#logger.info(fields, 'Lines left out')
    })
  }

  attach(gauges: () => BrokerGauges): void {
    // Without a shared log, there is no health of a log to check.
    if (gauges().log === undefined) return
    this.#logHealth = new LogHealth(this.#logger, this.#clock, () => gauges().log)
  }

  close(): void {
    this.#lineLimit.endSecond()
    this.#logHealth?.stop()
  }

  // The broker logger has no lines for messages and for written output.
  onMessage(): void {}
  onFlushed(): void {}

  onEffect(effect: Effect): void {
    switch (effect.kind) {
      case 'opened':
        this.#openedAt.set(effect.session.id, this.#clock.monotonic())
        this.#logger.debug(sessionFields(effect.session), 'Session opened')
        break
      case 'resumed':
        this.#logger.debug(sessionFields(effect.session), 'Session resumed')
        break
      case 'suspended':
        this.#logger.debug(sessionFields(effect.session), 'Session suspended')
        break
      case 'ended':
        this.#onEnded(effect.session, effect.reason)
        break
      case 'revoked':
        this.#onRevoked(effect.lock, effect.by, effect.note)
        break
      case 'answer': {
        const notice = refusalIn(effect)
        if (notice !== undefined) this.onRefused(notice)
        break
      }
    }
  }

  onSessionMoved({ id }: Session): void {
    this.#openedAt.delete(id)
  }

  onRefused(notice: RefusalNotice): void {
    if (!this.#lineLimit.allows('refused')) return
    const { key, origin, principal } = notice
    const fields = { ...notice, ...textFields({ key, origin, principal }) }
    this.#logger.info(fields, boundedMessages.refused)
  }

  #onEnded(session: Session, reason: EndReason): void {
    const openedAt = this.#openedAt.get(session.id)
    this.#openedAt.delete(session.id)
    const lastedMs =
      openedAt === undefined ? undefined : Math.round(this.#clock.monotonic() - openedAt)
    // The highest id is no count of requests, because a client may skip ids, even the first ones.
    const fields = { ...sessionFields(session), reason, highestRequestId: session.lastId }
    this.#logger.info(lastedMs === undefined ? fields : { ...fields, lastedMs }, 'Session ended')
  }

  /**
   * Logs a revocation at level `warn`, because revocations must be logged even if the operator
   * turns off the lower levels. The field `audit` marks the lines about revocations.
   */
  #onRevoked({ key, fence, session: holder }: Lock, by: Session, reason: string): void {
    if (!this.#lineLimit.allows('revoked')) return
    const lock = { key: logText(key), fence, holder: sessionFields(holder) }
    this.#logger.warn(
      { audit: true, by: sessionFields(by), ...lock, reason: logText(reason) },
      boundedMessages.revoked,
    )
  }
}

function sessionFields({ id, principal, name }: Session): object {
  return { session: id, ...textFields({ principal, name }) }
}

/** The fields that are defined, each prepared by {@link logText}. */
function textFields(fields: Record<string, string | undefined>): object {
  const prepared: Record<string, string> = {}
  for (const name of Object.keys(fields)) {
    const text = fields[name]
    if (text !== undefined) prepared[name] = logText(text)
  }
  return prepared
}

/** Time between two checks of the log, in ms. */
const checkEveryMs = 1_000

const notMember = 'this broker is not a member; it sent its clients to the other brokers'

/**
 * Logs the health of the replicated log. A line says one of these:
 * - A problem has begun.
 * - During the problem, this broker has stopped or begun serving clients.
 * - The log has recovered.
 *
 * A problem that is over at the next check is not logged.
 */
class LogHealth {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #status: () => LogStatus | undefined
  #timer: Timer
  /**
   * Whether this broker has ever served clients. Only a member of the cluster (the brokers that
   * share the log) serves. A broker that has never served is still starting, which is no problem.
   */
  #hasServed = false
  /**
   * When the current problem was first seen, in ms of the monotonic clock; undefined if there is no
   * problem.
   */
  #problemSince: number | undefined
  /**
   * Whether this broker served its clients when the last line about the current problem was logged.
   * Undefined without such a line.
   */
  #servedWhenLogged: boolean | undefined
  #hasWarnedOfOtherLogs = false

  constructor(logger: Logger, clock: Clock, status: () => LogStatus | undefined) {
    this.#logger = logger
    this.#clock = clock
    this.#status = status
    this.#scheduleCheck()
  }

  stop(): void {
    this.#clock.clearTimer(this.#timer)
  }

  #scheduleCheck(): void {
    this.#timer = this.#clock.setTimer(() => {
      this.#check()
      this.#scheduleCheck()
    }, checkEveryMs)
  }

  #check(): void {
    const status = this.#status()
    if (status === undefined) return
    const now = this.#clock.monotonic()
    const { name, problem, givenName } = status
    this.#warnOfOtherLogs(status)
    // The broker has a `name` only while it is a member. `givenName` is from the operator.
    const serves = name !== undefined
    if (serves) this.#hasServed = true
    if (problem === undefined && (serves || !this.#hasServed)) this.#onHealthy(now)
    // The first check that sees a problem logs nothing, because the next check may find no problem.
    else if (this.#problemSince === undefined) this.#problemSince = now
    else if (this.#servedWhenLogged !== serves) {
      this.#servedWhenLogged = serves
      const fields = { ...brokerField(givenName), problem: problem ?? notMember, serves }
      this.#logger.warn(fields, 'Replicated log has a problem')
    }
  }

  /**
   * Warns once of other logs in the same storage. If the operator mistypes the address of a log, a
   * second log begins, whose brokers share no locks with the brokers of the first log.
   */
  #warnOfOtherLogs({ givenName, otherLogs }: LogStatus): void {
    if (this.#hasWarnedOfOtherLogs || otherLogs.length === 0) return
    this.#hasWarnedOfOtherLogs = true
    const fields = { ...brokerField(givenName), otherLogs: otherLogs.map(logText) }
    this.#logger.warn(fields, 'The storage has other Holdfast logs, whose brokers share no locks')
  }

  #onHealthy(now: number): void {
    if (this.#servedWhenLogged !== undefined) {
      const lastedMs = Math.round(now - this.#problemSince!)
      const broker = brokerField(this.#status()?.givenName)
      this.#logger.warn({ ...broker, lastedMs }, 'Replicated log recovered')
    }
    this.#servedWhenLogged = undefined
    this.#problemSince = undefined
  }
}

/** The field with the name of this broker, if the operator has named the broker. */
function brokerField(broker: string | undefined): object {
  return broker === undefined ? {} : { broker }
}
