/** What the broker says about requests, locks and watches, brought to whom it concerns. */
import {
  type Failed,
  type Granted,
  HoldfastError,
  isErrorCode,
  type ServerMessage,
} from '@holdfast/shared'
import type { Holdings } from './holdings.js'
import type { Stamp } from './lease.js'
import type { Outbox } from './outbox.js'
import type { Reconciler } from './reconciler.js'
import {
  type AnyRequest,
  AuthRequest,
  LockRequest,
  QueryRequest,
  RefreshRequest,
  RevokeRequest,
  StatsRequest,
  UnlockRequest,
} from './requests.js'
import type { Connection } from './transport/connection.js'
import type { Watches } from './watch.js'

/**
 * With so many answers that the broker may still store, it may have refused a lock for their
 * number.
 */
const manyAnswers = 512

/** Answers that no broker stores, and that need no word of ours. */
const unstored: ReadonlySet<string> = new Set(['found', 'stats', 'authenticated'])

export class Answers {
  readonly #outbox: Outbox
  readonly #holdings: Holdings
  readonly #watches: Watches

  constructor(outbox: Outbox, holdings: Holdings, watches: Watches) {
    this.#outbox = outbox
    this.#holdings = holdings
    this.#watches = watches
  }

  /**
   * Takes a message; a type that is not known is ignored. When something that is hereby known to
   * have arrived was sent, if that is news.
   */
  take(
    message: ServerMessage,
    connection: Connection,
    reconciler: Reconciler | undefined,
  ): Stamp | undefined {
    switch (message.type) {
      case 'granted':
      case 'unlocked':
      case 'refreshed':
      case 'revoked':
      case 'authenticated':
      case 'failed':
      case 'found':
      case 'stats':
        return this.#settle(message, connection, reconciler)
      case 'lost': {
        reconciler?.onLost(message)
        const grant = this.#holdings.grants.get(message.fence)
        if (grant !== undefined) this.#holdings.lose(grant, message.reason)
        return undefined
      }
      case 'watching':
        this.#watches.onPart(message)
        return undefined
      case 'event':
        this.#watches.onEvent(message)
        return undefined
      default:
        return undefined
    }
  }

  #settle(
    message: Extract<ServerMessage, { id: number }>,
    connection: Connection,
    reconciler: Reconciler | undefined,
  ): Stamp | undefined {
    const request = this.#outbox.get(message.id)
    if (request === undefined) {
      if (message.type === 'failed' && this.#watches.onFailed(message)) return undefined
      if (unstored.has(message.type)) return undefined
      // An answer that came before, and comes again because our word of it was lost.
      this.#outbox.onAnswer(message.id, connection)
      return undefined
    }
    if (request.stored) this.#outbox.onAnswer(message.id, connection)
    const arrived =
      request.sentOn === connection ? connection.arrived(request.messageNumber) : undefined
    if (message.type === 'granted') this.#onGranted(request, message, reconciler)
    else if (message.type === 'failed') this.#onFailed(request, message)
    else this.#onDone(request, message)
    return arrived
  }

  #onGranted(request: AnyRequest, message: Granted, reconciler: Reconciler | undefined): void {
    if (!(request instanceof LockRequest)) return
    if (reconciler !== undefined) {
      reconciler.onGranted(request, message)
      return
    }
    this.#outbox.remove(request)
    const { fence, at } = message
    if (request.wanted) request.resolve(this.#holdings.hold(request, fence, at))
    else this.#holdings.unlockFence(fence)
  }

  #onDone(request: AnyRequest, message: ServerMessage): void {
    if (message.type === 'unlocked' && request instanceof UnlockRequest) {
      this.#outbox.remove(request)
      request.resolve()
    } else if (message.type === 'refreshed' && request instanceof RefreshRequest) {
      this.#outbox.remove(request)
      this.#holdings.onRefreshed(request)
      request.resolve()
    } else if (
      (message.type === 'revoked' && request instanceof RevokeRequest) ||
      (message.type === 'authenticated' && request instanceof AuthRequest)
    ) {
      this.#outbox.remove(request)
      request.resolve()
    } else if (message.type === 'stats' && request instanceof StatsRequest) {
      this.#outbox.remove(request)
      request.resolve(message.stats)
    } else if (message.type === 'found' && request instanceof QueryRequest) {
      if (request.onFound(message)) this.#outbox.remove(request)
    }
  }

  #onFailed(request: AnyRequest, failed: Failed): void {
    if (this.#mayAskAnew(request, failed)) {
      this.#outbox.askAnew(request)
      return
    }
    this.#outbox.remove(request)
    const error = errorOf(failed)
    if (request instanceof RefreshRequest) this.#holdings.onRefreshFailed(request, error)
    request.reject(error)
  }

  /**
   * Whether the reason says nothing about the request: the quota of stored answers, which we can do
   * something about, or a refusal that got lost before others went on. Its id is spent, then.
   */
  #mayAskAnew(request: AnyRequest, { code }: Failed): boolean {
    const { unconfirmedAnswers } = this.#outbox
    if (!request.stored) return false
    if (code === 'BAD_MESSAGE') return request.isRepeat
    if (code !== 'QUOTA_EXCEEDED') return false
    return request instanceof LockRequest
      ? unconfirmedAnswers > manyAnswers
      : unconfirmedAnswers > 1
  }
}

function errorOf({ code, message, holders }: Failed): HoldfastError {
  // A newer broker may have codes that are not ours.
  return new HoldfastError(isErrorCode(code) ? code : 'UNAVAILABLE', message, { holders })
}
