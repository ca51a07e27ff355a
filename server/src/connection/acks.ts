/**
 * The acknowledgements (`ack`) that the broker sends on one connection. An `ack` has the number of
 * messages that the broker has handled, and the time when the newest of these messages arrived.
 * The lease of the client runs from this time. The lease is how long the session lives without a
 * message of the client.
 *
 * The broker answers a `pong` with an `ack` at once. A client sends an `ack` too, for the answers
 * that it has read. This `ack` becomes a command, and the broker answers only after the command log
 * has ordered and applied the command. Until then the client sends only a limited number of
 * requests, so a slow log slows the client down.
 */
import { encodeAck } from '../protocol/encodeSessionMessages.js'

/** The connection, as far as its acknowledgements need it. */
export interface AckSender {
  /** Queues an encoded message for the end of this turn. */
  send(message: string): void
}

/** A deferred `ack`. Later messages do not change its fields. */
interface DeferredAck {
  readonly messageCount: number
  /** When the newest of these messages arrived, in ms. */
  readonly arrivedAt: number
}

/** The array keeps sent entries until there are this many, or until all entries are sent. */
const maxSentKept = 1_024

export class Acks {
  readonly #sender: AckSender
  /** How many messages the broker has handled, including the message that it is handling now. */
  #messageCount = 0
  #messageArrivedAt: number
  /** The deferred acknowledgements, oldest first; undefined before the first `defer`. */
  #deferred: DeferredAck[] | undefined = undefined
  /** How many entries at the beginning of `#deferred` are already sent. */
  #sentCount = 0
  #hasStopped = false

  /** @param now The time in ms of compensated time (see `connectionDeps.ts`). */
  constructor(sender: AckSender, now: number) {
    this.#sender = sender
    this.#messageArrivedAt = now
  }

  /** The arrival time of the message that is being handled, in ms of compensated time. */
  get messageArrivedAt(): number {
    return this.#messageArrivedAt
  }

  /** Counts a message. Must be called before the broker handles the message. */
  countMessage(arrivedAt: number): void {
    this.#messageCount++
    this.#messageArrivedAt = arrivedAt
  }

  /** Sends an `ack` for the messages that were counted. */
  send(): void {
    this.#send(this.#messageCount, this.#messageArrivedAt)
  }

  /**
   * Prepares an `ack` for the messages that were counted. The `ack` is sent by
   * {@link sendDeferred}.
   */
  defer(): void {
    const ack = { messageCount: this.#messageCount, arrivedAt: this.#messageArrivedAt }
    if (this.#deferred === undefined) this.#deferred = [ack]
    else this.#deferred.push(ack)
  }

  /**
   * Sends the oldest deferred `ack`. Call when the command log has applied the command for which
   * the `ack` was deferred.
   */
  sendDeferred(): void {
    const ack = this.#removeNext()
    if (ack !== undefined) this.#send(ack.messageCount, ack.arrivedAt)
  }

  /** Sends no `ack` from now on, because the broker has submitted the end of the session. */
  stop(): void {
    this.#hasStopped = true
  }

  #send(messageCount: number, arrivedAt: number): void {
    if (!this.#hasStopped) this.#sender.send(encodeAck(messageCount, arrivedAt))
  }

  #removeNext(): DeferredAck | undefined {
    const ack = this.#deferred?.[this.#sentCount]
    if (this.#deferred === undefined || ack === undefined) return undefined
    this.#sentCount++
    // With a slow log there may be 100,000 acknowledgements here. A call of `shift` for each would
    // be slow, because each call moves all the others.
    if (this.#sentCount === this.#deferred.length || this.#sentCount === maxSentKept) {
      this.#deferred.splice(0, this.#sentCount)
      this.#sentCount = 0
    }
    return ack
  }
}
