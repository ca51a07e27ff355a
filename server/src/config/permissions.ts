/**
 * Who somebody is and what they may do: the words in which `authenticate`, `authorize` and tokens
 * speak to the broker.
 */
import { HoldfastError } from '@holdfast/shared'

/**
 * What may be allowed or not.
 *
 * - `lock`: take a key exclusively. `share`: take it in shared mode.
 * - `steal`: take a key from whoever holds it.
 * - `query`, `watch`: see who holds a key and who waits for it.
 * - `stats`: see the broker's counters; not of a key, so the key is empty.
 * - `revoke`: end somebody else's lock.
 *
 * To unlock, refresh or cancel what is one's own needs no permission. Whoever is refused a lock
 * with `LOCK_HELD` is told who holds it.
 */
export const operations = ['lock', 'share', 'steal', 'query', 'watch', 'stats', 'revoke'] as const

export type Operation = (typeof operations)[number]

/**
 * Decides what somebody may do. Asked for every request, so it should be quick; it may change its
 * mind at any time. Throwing is a no, and so is whatever is not `true`, such as a promise.
 *
 * @param key Empty for `stats`.
 */
export type Authorize = (principal: string, operation: Operation, key: string) => boolean

/** Who is asking, as far as the connection tells. */
export interface Credentials {
  /** The token of the hello, else that of the upgrade. */
  readonly token: string | undefined
  /** The `Origin` header of the upgrade; browsers send it, others do not. */
  readonly origin: string | undefined
  /** The peer's address, or what a trusted proxy says it is. */
  readonly remoteAddress: string | undefined
}

/** Somebody the broker knows. */
export interface Identity {
  /** Any non-empty string; a session can only be resumed by the same. */
  readonly principal: string
  /** Until when, in ms since 1970; then the connection is closed with 4401. Default: no end. */
  readonly expiresAt?: number | undefined
  /** What it may do, beside what `authorize` says. Default: everything but `revoke`. */
  readonly may?: ((operation: Operation, key: string) => boolean) | undefined
}

/**
 * Decides who may come in: who it is, or undefined to refuse. Throwing refuses too, and so does an
 * identity without a principal or with an `expiresAt` that is no number; throwing a
 * `HoldfastError` with the code `UNAVAILABLE` says "not now" and lets the client come back.
 */
export type Authenticate = (
  credentials: Credentials,
) => string | Identity | undefined | Promise<string | Identity | undefined>

/** What a token allows on which keys. */
export interface PermissionRule {
  /** Keys, or beginnings of keys that end in `*`; `*` alone is every key. */
  readonly keys: readonly string[]
  /** Default: everything but `steal` and `revoke`. */
  readonly allow?: readonly Operation[] | undefined
}

/** What is allowed where nothing is said. */
export const defaultOperations: readonly Operation[] = ['lock', 'share', 'query', 'watch', 'stats']

export function isOperation(value: unknown): value is Operation {
  return operations.includes(value as Operation)
}

/** One function from many grants. Whoever may lock a key may share it. */
export function permissionsFrom(
  grants: readonly PermissionRule[],
): (operation: Operation, key: string) => boolean {
  return (operation, key) =>
    grants.some(({ keys, allow = defaultOperations }) => {
      const allowed = allow.includes(operation) || (operation === 'share' && allow.includes('lock'))
      return allowed && (operation === 'stats' || keys.some((pattern) => matches(pattern, key)))
    })
}

function matches(pattern: string, key: string): boolean {
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : pattern === key
}

/** Asks `authenticate`, whatever it is. Rejects only with "not now". */
export async function identify(
  authenticate: Authenticate,
  credentials: Credentials,
): Promise<Identity | undefined> {
  try {
    const answer = await authenticate(credentials)
    const identity = typeof answer === 'string' ? { principal: answer } : answer
    return isIdentity(identity) ? identity : undefined
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') throw error
    return undefined
  }
}

function isIdentity(value: Identity | undefined | null): value is Identity {
  if (typeof value?.principal !== 'string' || value.principal === '') return false
  // What is no number would be due for ever, or never.
  const { expiresAt = Number.POSITIVE_INFINITY } = value
  return typeof expiresAt === 'number' && !Number.isNaN(expiresAt)
}
