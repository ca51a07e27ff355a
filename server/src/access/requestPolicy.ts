/**
 * Decides whether a client may send a message. Checks the permissions of the client, its message
 * rate, the size of keys and metadata, and the number of keys in a set (one lock on several keys).
 * If the settings allow every message, connections have no policy, so that the check of messages
 * costs nothing.
 */
import { maxKeyBytes, maxMetadataBytes, maxSetKeys, utf8Length } from '@holdfast/shared'
import { type LimitName, limitMessage, off } from '../config/limits.js'
import { type Identity, type Operation, operatorOperations } from '../config/permissions.js'
import type { BrokerSettings } from '../config/settings.js'
import type { ConnectionPolicy, Denial } from '../connection/connectionPolicy.js'
import { TokenBucket } from './tokenBuckets.js'

export class RequestPolicy implements ConnectionPolicy {
  readonly #settings: BrokerSettings
  /** Limits the rate of messages; undefined without such a limit. */
  readonly #bucket: TokenBucket | undefined
  #identity: Identity

  /**
   * @param now The time of a monotonic clock, in ms. {@link countMessage} needs the same clock.
   */
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

  replaceIdentity(identity: Identity): void {
    this.#identity = identity
  }

  countMessage(now: number): boolean {
    return this.#bucket === undefined || this.#bucket.tryConsume(now)
  }

  may(operation: Operation, key: string): boolean {
    const { authenticate, authorize } = this.#settings
    const { principal, may: identityAllows } = this.#identity
    try {
      // Only `true` allows, because an `async` function returns a promise, which is truthy.
      if (identityAllows !== undefined && identityAllows(operation, key) !== true) return false
      if (authorize !== undefined) return authorize(principal, operation, key) === true
    } catch {
      return false
    }
    // Here no `authorize` is set, and the rules of the identity, if any, allow the operation.
    if (identityAllows !== undefined || authenticate === undefined) return true
    // Without rules, an authenticated client may do everything that is not for operators.
    return !operatorOperations.includes(operation)
  }

  checkPermission(operation: Operation, key: string): Denial | undefined {
    if (this.may(operation, key)) return undefined
    return { code: 'FORBIDDEN', message: `you may not ${phrases[operation]}`, limit: undefined }
  }

  checkSize(key: string, metadata: unknown): Denial | undefined {
    const { keyBytes, metadataBytes } = this.#settings.limits
    // The validation of the message has refused sizes above `maxKeyBytes` or `maxMetadataBytes`. So
    // only a lower limit needs a check here.
    if (keyBytes < maxKeyBytes && utf8Length(key) > keyBytes) return tooLarge('keyBytes', keyBytes)
    if (
      metadataBytes < maxMetadataBytes &&
      metadata !== undefined &&
      utf8Length(JSON.stringify(metadata)) > metadataBytes
    ) {
      return tooLarge('metadataBytes', metadataBytes)
    }
    return undefined
  }

  checkSetSize(keyCount: number): Denial | undefined {
    const { keysPerSet } = this.#settings.limits
    return keyCount > keysPerSet ? tooLarge('keysPerSet', keysPerSet) : undefined
  }
}

/**
 * Returns a function that makes the policy of a connection; undefined if the settings allow every
 * message.
 */
export function policiesFor(
  settings: BrokerSettings,
): ((identity: Identity, now: number) => RequestPolicy) | undefined {
  const { authenticate, authorize, limits } = settings
  const allowsEverything =
    authenticate === undefined &&
    authorize === undefined &&
    limits.messagesPerSecond === off &&
    limits.keyBytes === maxKeyBytes &&
    limits.metadataBytes === maxMetadataBytes &&
    limits.keysPerSet === maxSetKeys
  if (allowsEverything) return undefined
  return (identity, now) => new RequestPolicy(settings, identity, now)
}

/** The end of the message "you may not …" for each operation. */
const phrases: Record<Operation, string> = {
  lock: 'lock this key',
  share: 'take a shared lock of this key',
  steal: 'steal locks of this key',
  query: 'query this key',
  watch: 'watch this key',
  stats: 'see the statistics',
  revoke: 'revoke locks of this key',
  inspect: 'see the principals and addresses of sessions',
}

function tooLarge(limit: LimitName, limitValue: number): Denial {
  return { code: 'QUOTA_EXCEEDED', message: limitMessage(limit, limitValue), limit }
}
