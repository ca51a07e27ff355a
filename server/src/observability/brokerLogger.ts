/**
 * The broker's log: one line for each session that ended, each refusal and each revocation, and for
 * trouble with a shared log, to whatever logger its operator uses. What strangers chose (keys,
 * names, reasons) is made visible and cut short before it gets there; tokens and secrets never do.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Effect, EndReason, Lock, Session } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import type { LogStatus } from './logStatus.js'
import { type BrokerGauges, type Observer, type RefusalNotice, refusalIn } from './observer.js'

/** What the broker needs of a logger; those of pino, bunyan and winston have it. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Longest part of a text that is logged, in characters. */
const maxShown = 64

/** A text as it may stand in a log: what does not print is spelt out, what is long is cut. */
export function shown(text: string): string {
  const cut = [...text.slice(0, 2 * maxShown)]
  const printable = cut
    .slice(0, maxShown)
    .map((char) => (/[\p{C}\p{Zl}\p{Zp}]/u.test(char) ? `\\u{${hex(char)}}` : char))
    .join('')
  return cut.length > maxShown || text.length > 2 * maxShown ? `${printable}…` : printable
}

function hex(char: string): string {
  return (char.codePointAt(0) ?? 0).toString(16)
}

export class BrokerLogger implements Observer {
  readonly #logger: Logger
  readonly #clock: Clock
  #trouble: LogHealth | undefined
  /** When sessions were opened, by the monotonic clock. */
  readonly #openedAt = new Map<string, number>()

  constructor(logger: Logger, clock = nodeEnvironment.clock) {
    this.#logger = logger
    this.#clock = clock
  }

  attach(vitals: () => BrokerGauges): void {
    if (vitals().log === undefined) return
    this.#trouble = new LogHealth(this.#logger, this.#clock, () => vitals().log)
  }

  close(): void {
    this.#trouble?.stop()
  }

  onMessage(): void {}
  onFlushed(): void {}

  onEffect(effect: Effect): void {
    switch (effect.kind) {
      case 'opened':
        this.#openedAt.set(effect.session.id, this.#clock.monotonic())
        this.#logger.debug(about(effect.session), 'session opened')
        break
      case 'resumed':
        this.#logger.debug(about(effect.session), 'session resumed')
        break
      case 'suspended':
        this.#logger.debug(about(effect.session), 'session suspended')
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
    const { key, origin, principal } = notice
    const fields = { ...notice, ...shownFields({ key, origin, principal }) }
    this.#logger.info(fields, 'refused')
  }

  #onEnded(session: Session, reason: EndReason): void {
    const openedAt = this.#openedAt.get(session.id)
    this.#openedAt.delete(session.id)
    const lasted = openedAt === undefined ? undefined : this.#clock.monotonic() - openedAt
    const ms = lasted === undefined ? {} : { lastedMs: Math.round(lasted) }
    const fields = { ...about(session), reason, requests: session.lastId, ...ms }
    this.#logger.info(fields, 'session ended')
  }

  /** For the record, so above what a quiet logger leaves out. */
  #onRevoked({ key, fence, session: holder }: Lock, by: Session, reason: string): void {
    const lock = { key: shown(key), fence, holder: about(holder) }
    this.#logger.warn(
      { audit: true, by: about(by), ...lock, reason: shown(reason) },
      'lock revoked',
    )
  }
}

function about({ id, principal, name }: Session): object {
  return { session: id, ...shownFields({ principal, name }) }
}

/** Only those that are there, shown. */
function shownFields(fields: Record<string, string | undefined>): object {
  const there = Object.entries(fields).filter(([, text]) => text !== undefined)
  return Object.fromEntries(there.map(([name, text]) => [name, shown(text as string)]))
}

/** How often the state of the log is looked at, in ms. */
const everyMs = 1_000

const sentAway =
  'this broker does not count among those that share the log; its clients were sent to the others'

/**
 * Logs one line when a shared log is in trouble, one when this broker loses its clients by that,
 * and one when the trouble is over. Trouble that ends between two looks is not logged.
 */
class LogHealth {
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
