/**
 * The identity and the permissions of a client: the types that `authenticate`, `authorize` and
 * tokens use, and the functions that evaluate identities and permissions. A principal is the name
 * of an authenticated client.
 */
import { HoldfastError } from '@holdfast/shared'

/**
 * The operations that need a permission.
 *
 * - `lock`: lock a key in exclusive mode, take permits of a key (as from a semaphore), or lock
 *   several keys together in any mode.
 * - `share`: lock a single key in shared mode.
 * - `steal`: take a lock from its holders.
 * - `query`: ask for the present holders and waiters of a key.
 * - `watch`: get an event for each change of the holders and the waiters of a key.
 * - `stats`: see the counters of the broker, which belong to no key.
 * - `revoke`: end a lock of another session.
 * - `inspect`: see the principal and the address of every session. Sessions belong to no key.
 *
 * A session needs no permission to unlock, refresh or cancel its own locks and requests. Even a
 * client that may not `query` a key learns the holders of the key from the error `LOCK_HELD`.
 */
export const operations = [
  'lock',
  'share',
  'steal',
  'query',
  'watch',
  'stats',
  'revoke',
  'inspect',
] as const

export type Operation = (typeof operations)[number]

/**
 * Decides whether a principal may do an operation on a key. The broker calls this function for
 * every request, so the function must be fast. The result may change from call to call. Any result
 * other than `true` denies the operation, even a promise. An exception denies the operation too.
 *
 * @param key Empty for `stats` and `inspect`.
 */
export type Authorize = (principal: string, operation: Operation, key: string) => boolean

/** The data with which `authenticate` decides about a client. */
export interface Credentials {
  /**
   * The token in `hello`. If `hello` has no token, the token in the upgrade (the HTTP request that
   * opens the WebSocket), if any.
   */
  readonly token: string | undefined
  /** The `Origin` header of the upgrade, which browsers send and other clients usually do not. */
  readonly origin: string | undefined
  /** The address of the peer, or the address that a trusted proxy reports. */
  readonly remoteAddress: string | undefined
}

/** An authenticated client. */
export interface Identity {
  /** Name of the client, not empty. Only the principal that opened a session can resume it. */
  readonly principal: string
  /**
   * When the identity expires, in ms since 1970. The broker then closes the connection with 4401.
   * Default: never.
   */
  readonly expiresAt?: number | undefined
  /**
   * Whether the client may do an operation on a key. `authorize` must allow the operation as well.
   * Default: `authorize` decides alone. If neither function exists, all operations but `revoke` and
   * `inspect` are allowed.
   */
  readonly may?: ((operation: Operation, key: string) => boolean) | undefined
}

/**
 * Authenticates a client. Returns its identity or principal, or undefined to refuse the client.
 *
 * The broker also refuses the client if this function throws, or if the identity has no principal
 * or an invalid `expiresAt`. To make the client try again later, throw a `HoldfastError` with the
 * code `UNAVAILABLE`.
 */
export type Authenticate = (
  credentials: Credentials,
) => string | Identity | undefined | Promise<string | Identity | undefined>

/** The operations that a token allows on some keys. */
export interface PermissionRule {
  /** Keys, or prefixes of keys followed by `*`. A single `*` means every key. */
  readonly keys: readonly string[]
  /** Allowed operations. Default: all but `steal`, `revoke` and `inspect`. */
  readonly allow?: readonly Operation[] | undefined
}

/** The operations of a permission rule without `allow`. */
export const defaultOperations: readonly Operation[] = ['lock', 'share', 'query', 'watch', 'stats']

/**
 * The operations for operators. If neither `authorize` nor `may` exists, an authenticated client
 * may do all operations but these.
 */
export const operatorOperations: readonly Operation[] = ['revoke', 'inspect']

/** The operations that belong to no key. */
const keylessOperations: readonly Operation[] = ['stats', 'inspect']

export function isOperation(value: unknown): value is Operation {
  return operations.includes(value as Operation)
}

/**
 * Combines permission rules into one function, which returns whether a rule allows an operation on
 * a key. A rule that allows `lock` also allows `share`.
 */
export function permissionsFrom(
  rules: readonly PermissionRule[],
): (operation: Operation, key: string) => boolean {
  return (operation, key) =>
    rules.some(({ keys, allow = defaultOperations }) => {
      const isAllowed =
        allow.includes(operation) || (operation === 'share' && allow.includes('lock'))
      // The keys of a rule do not matter for an operation that belongs to no key.
      if (!isAllowed || keylessOperations.includes(operation)) return isAllowed
      return keys.some((pattern) => matchesPattern(pattern, key))
    })
}

/** Whether a key matches a pattern: a key, or a prefix with a `*` at its end. */
function matchesPattern(pattern: string, key: string): boolean {
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : pattern === key
}

/**
 * Calls `authenticate` and checks its result. Resolves with undefined to refuse the client. Rejects
 * only if `authenticate` throws an `UNAVAILABLE` error.
 */
export async function identify(
  authenticate: Authenticate,
  credentials: Credentials,
): Promise<Identity | undefined> {
  try {
    const result = await authenticate(credentials)
    const identity = typeof result === 'string' ? { principal: result } : result
    return isIdentity(identity) ? identity : undefined
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') throw error
    return undefined
  }
}

function isIdentity(value: Identity | undefined | null): value is Identity {
  if (typeof value?.principal !== 'string' || value.principal === '') return false
  // With NaN the identity would never expire, because every comparison with NaN is false.
  const { expiresAt = Number.POSITIVE_INFINITY } = value
  return typeof expiresAt === 'number' && !Number.isNaN(expiresAt)
}
