/** What the broker says about requests, locks and watches, brought to whom it concerns. */
import { type Failed, type Granted, maxReasonLength, type ServerMessage } from '@holdfast/shared'
import type { ClockReading } from '../locks/expiry.js'
import type { HeldLocks } from '../locks/heldLocks.js'
import type { Reconciler } from '../locks/reconciler.js'
import type { Watches } from '../session/watch.js'
import type { Connection } from '../transport/connection.js'
import { ProtocolViolation } from '../transport/violation.js'
import { about, errorOf } from './errorOf.js'
import type { PendingRequests } from './pendingRequests.js'
import { type AnyRequest, LockRequest, RefreshRequest } from './requests.js'

/**
 * With so many answers that the broker may still store, it may have refused a lock for their
 * number.
 */
const manyAnswers = 512

/** The answers to requests, and whether the broker stores them until it has our word of them. */
const answers: ReadonlyMap<string, boolean> = new Map([
  ['granted', true],
  ['unlocked', true],
  ['refreshed', true],
  ['revoked', true],
  ['failed', true],
  ['authenticated', false],
  ['found', false],
  ['stats', false],
])

export class ResponseRouter {
  readonly #outbox: PendingRequests
  readonly #heldLocks: HeldLocks
  readonly #watches: Watches
  readonly #session: () => string

  /** @param session The id of the present session. */
  constructor(
    outbox: PendingRequests,
    holdings: HeldLocks,
    watches: Watches,
    session: () => string,
  ) {
    this.#outbox = outbox
    this.#heldLocks = holdings
    this.#watches = watches
    this.#session = session
  }

  /**
   * Takes a message; a type that is not known is ignored. When something that is hereby known to
   * have arrived was sent, if that is news.
   *
   * @throws Violation for a message that cannot be right.
   */
  route(
    message: ServerMessage,
    connection: Connection,
    reconciler: Reconciler | undefined,
  ): ClockReading | undefined {
    switch (message.type) {
      case 'lost': {
        const { fence, reason, note } = message
        reconciler?.lost.add(fence)
        const grant = this.#heldLocks.grants.get(fence)
        if (grant !== undefined)
          this.#heldLocks.lose([grant], reason, note?.slice(0, maxReasonLength) || undefined)
        return undefined
      }
      case 'watching':
        this.#watches.onPart(message)
        return undefined
      case 'event':
        this.#watches.onEvent(message)
        return undefined
      default:
        return answers.has(message.type)
          ? this.#settle(message as Answer, connection, reconciler)
          : undefined
    }
  }

  #settle(
    message: Answer,
    connection: Connection,
    reconciler: Reconciler | undefined,
  ): ClockReading | undefined {
    const request = this.#outbox.get(message.id)
    if (request === undefined) {
      if (message.type === 'failed' && this.#watches.onFailed(message)) return undefined
      // An answer that came before, and comes again because our word of it was lost.
      if (answers.get(message.type)) this.#outbox.onAnswer(message.id, connection)
      return undefined
    }
    this.#checkAnswer(request, message)
    if (request.stored) this.#outbox.onAnswer(message.id, connection)
    const arrived =
      request.sentOn === connection ? connection.arrived(request.messageNumber) : undefined
    if (message.type === 'failed') this.#onFailed(request, message)
    else if (request instanceof LockRequest) {
      if (reconciler !== undefined) request.granted = message as Granted
      else this.#onGranted(request, message as Granted)
    } else if (request.onResponse(message)) this.#outbox.remove(request)
    return arrived
  }

  /** What a broker cannot mean would leave a request waiting, or a lock without an end. */
  #checkAnswer(request: AnyRequest, message: Answer): void {
    const { type, id } = message
    if (type === 'failed') return
    if (type !== request.answer) {
      throw new ProtocolViolation(
        `${type} cannot answer request ${id}, which waits for ${request.answer}`,
      )
    }
    if (request.sentAt === undefined) {
      throw new ProtocolViolation(`${type} answers request ${id}, which was not sent`)
    }
    if (type === 'granted' && this.#heldLocks.grants.get(message.fence) !== undefined) {
      throw new ProtocolViolation(`granted.fence ${message.fence} is held already`)
    }
  }

  #onGranted(request: LockRequest, { fence, at }: Granted): void {
    this.#outbox.remove(request)
    if (request.wanted) request.resolve(this.#heldLocks.hold(request, fence, at))
    else this.#heldLocks.unlockFence(fence)
  }

  #onFailed(request: AnyRequest, failed: Failed): void {
    if (this.#mayReissue(request, failed)) {
      this.#outbox.reissue(request)
      return
    }
    this.#outbox.remove(request)
    const error = about(request.key, errorOf(failed, this.#session()))
    if (request instanceof RefreshRequest) this.#heldLocks.onRefreshFailed(request, error)
    request.fail(error)
  }

  /**
   * Whether the reason says nothing about the request: the quota of stored answers, which we can do
   * something about, or a refusal that got lost before others went on. Its id is spent, then.
   */
  #mayReissue(request: AnyRequest, { code }: Failed): boolean {
    if (!request.stored) return false
    if (code === 'BAD_MESSAGE') return request.isRepeat
    if (code !== 'QUOTA_EXCEEDED') return false
    return this.#outbox.unconfirmedAnswers > (request instanceof LockRequest ? manyAnswers : 1)
  }
}

type Answer = Extract<ServerMessage, { id: number }>
