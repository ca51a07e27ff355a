/**
 * What stands between a client's messages and the table: may it, is it too big, is it too often. A
 * broker where none of that can be refused has no gates at all, and its messages pay nothing.
 */
import {
  type ClientMessage,
  type ErrorCode,
  type LockRequest,
  maxKeyBytes,
  maxMetadataBytes,
  utf8Length,
} from '@holdfast/shared'
import { type LimitName, limitMessage, off } from '../config/limits.js'
import type { BrokerSettings } from '../config/options.js'
import type { Identity, Operation } from '../config/permissions.js'
import { TokenBucket } from './tokenBuckets.js'

/** Why a message is refused. */
export interface Denial {
  readonly code: ErrorCode
  readonly message: string
  /** The limit that was reached, if it was one. */
  readonly limit: LimitName | undefined
}

export class RequestPolicy {
  readonly #settings: BrokerSettings
  readonly #bucket: TokenBucket | undefined
  #identity: Identity

  /** @param now On the clock of `spend`. */
  constructor(settings: BrokerSettings, identity: Identity, now: number) {
    const { messagesPerSecond, messageBurst } = settings.limits
    this.#settings = settings
    this.#identity = identity
    this.#bucket =
      messagesPerSecond === off ? undefined : new TokenBucket(messagesPerSecond, messageBurst, now)
  }

  get identity(): Identity {
    return this.#identity
  }

  /** The same principal has shown a new token. */
  renew(identity: Identity): void {
    this.#identity = identity
  }

  /** Whether one more message may come now, in ms of a clock that does not go back. */
  consume(now: number): boolean {
    return this.#bucket === undefined || this.#bucket.tryConsume(now)
  }

  /** Whether this operation is allowed on this key. */
  may(operation: Operation, key: string): boolean {
    const { authenticate, authorize } = this.#settings
    const { principal, may } = this.#identity
    try {
      // Exactly true: a promise would be a yes, whatever it comes to.
      if (may !== undefined && may(operation, key) !== true) return false
      if (authorize !== undefined) return authorize(principal, operation, key) === true
    } catch {
      return false
    }
    // Nobody has said what the known may do: what they can do to each other's locks is not in it.
    return may !== undefined || operation !== 'revoke' || authenticate === undefined
  }

  /** Why this message is refused; undefined if it may go on. */
  check(message: ClientMessage): Denial | undefined {
    switch (message.type) {
      case 'lock':
        return this.#checkLock(message)
      case 'query':
      case 'watch':
        return message.key === undefined || this.may(message.type, message.key)
          ? undefined
          : forbidden(message.type)
      case 'stats':
        return this.may('stats', '') ? undefined : forbidden('stats')
      case 'revoke':
        return this.may('revoke', message.key) ? undefined : forbidden('revoke')
      default:
        return undefined
    }
  }

  #checkLock({ key, mode, steal, metadata }: LockRequest): Denial | undefined {
    const operation = steal ? 'steal' : mode === 'shared' ? 'share' : 'lock'
    if (!this.may(operation, key)) return forbidden(operation)
    const { keyBytes, metadataBytes } = this.#settings.limits
    if (keyBytes < maxKeyBytes && utf8Length(key) > keyBytes) return tooMuch('keyBytes', keyBytes)
    if (
      metadataBytes < maxMetadataBytes &&
      metadata !== undefined &&
      utf8Length(JSON.stringify(metadata)) > metadataBytes
    ) {
      return tooMuch('metadataBytes', metadataBytes)
    }
    return undefined
  }
}

/** A gate for each connection; undefined if there is nothing that it could refuse. */
export function policiesFor(
  settings: BrokerSettings,
): ((identity: Identity, now: number) => RequestPolicy) | undefined {
  const { authenticate, authorize, limits } = settings
  const open =
    authenticate === undefined &&
    authorize === undefined &&
    limits.messagesPerSecond === off &&
    limits.keyBytes === maxKeyBytes &&
    limits.metadataBytes === maxMetadataBytes
  return open ? undefined : (identity, now) => new RequestPolicy(settings, identity, now)
}

function forbidden(operation: Operation): Denial {
  return { code: 'FORBIDDEN', message: `you may not ${words[operation]}`, limit: undefined }
}

const words: Record<Operation, string> = {
  lock: 'lock this key',
  share: 'share this key',
  steal: 'steal this key',
  query: 'query this key',
  watch: 'watch this key',
  stats: 'see the statistics',
  revoke: 'revoke locks of this key',
}

function tooMuch(limit: LimitName, most: number): Denial {
  return { code: 'QUOTA_EXCEEDED', message: limitMessage(limit, most), limit }
}
