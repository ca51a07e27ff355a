/**
 * Encodes messages about one session and its connection, such as `welcome`, `lost` and `ping`, as
 * JSON text. None of these messages is an answer to a request (see `encodeAnswers.ts`). Frequent
 * messages use templates, because a template is several times faster than `JSON.stringify`.
 * Numbers, codes and session ids in a template need no escaping.
 *
 * The messages carry times in ms, rounded down. A *fence* is the number of a grant; a later grant
 * has a higher fence. An upgrade (from shared to exclusive) gives a lock a new fence: `fence` is
 * the first fence of a lock, and `presentFence` is its newest.
 */
import type { BrokerLossReason, LockMode } from '@holdfast/shared'
import type { Session, StoredHolder } from '../core/index.js'
import { encodeHolders } from './encodeLockInfo.js'
import { brokerFeatures, brokerVersion } from './features.js'

/** The fields at the end of every `welcome`. Only the field `cell` may follow. */
const welcomeFields = `"version":${JSON.stringify(brokerVersion)},"features":${JSON.stringify(brokerFeatures)}`

/**
 * @param secret The secret that the client must send to resume the session. Undefined without a
 *   grace, which is the time in which a client may resume.
 * @param at When `hello` arrived, in ms.
 * @param cell The cell of this broker (its share of all keys), such as `1/4`; undefined if the
 *   broker serves all keys.
 */
export function encodeWelcome(
  session: Session,
  resumed: boolean,
  secret: string | undefined,
  at: number,
  cell: string | undefined,
): string {
  const { id, lease, grace, limits } = session
  // A secret is base64url, and a cell is two numbers with a slash, so neither needs escaping.
  const secretField = secret === undefined ? '' : `"secret":"${secret}",`
  const maxHoldField = limits.maxHold === undefined ? '' : `"maxHoldMs":${limits.maxHold},`
  const cellField = cell === undefined ? '' : `,"cell":"${cell}"`
  return (
    `{"type":"welcome","session":"${id}","resumed":${resumed},${secretField}"lease":${lease},` +
    `"grace":${grace},${maxHoldField}"at":${Math.floor(at)},${welcomeFields}${cellField}}`
  )
}

/** A lock of a resumed session. This is a copy, because the lock may end before its encoding. */
export interface SnapshotLock {
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly presentFence: number
  readonly ttl: number | undefined
  /**
   * When the ttl started, in ms; for a lock without a ttl, when the maxHold started. Undefined if
   * the lock has neither.
   */
  readonly at: number | undefined
}

/** Encodes a lock for the `snapshot`, which lists the locks of a session after a resume. */
export function encodeSnapshotLock(lock: SnapshotLock): string {
  const { id, key, mode, fence, ttl } = lock
  const at = lock.at === undefined ? undefined : Math.floor(lock.at)
  const presentFence = lock.presentFence === fence ? undefined : lock.presentFence
  return JSON.stringify({ id, key, mode, fence, presentFence, ttl, at })
}

/** @param note The reason that the operator gave for a revocation. */
export function encodeLost(fence: number, reason: BrokerLossReason, note?: string): string {
  const noteField = note === undefined ? '' : `,"note":${JSON.stringify(note)}`
  return `{"type":"lost","fence":${fence},"reason":"${reason}"${noteField}}`
}

/** @param ahead How many requests wait before this request. */
export function encodeQueued(id: number, ahead: number, holders: readonly StoredHolder[]): string {
  return `{"type":"queued","id":${id},"ahead":${ahead},"holders":[${encodeHolders(holders)}]}`
}

/** @param waiting How many requests wait behind the lock with this fence. */
export function encodeContended(fence: number, waiting: number): string {
  return `{"type":"contended","fence":${fence},"waiting":${waiting}}`
}

export function encodePing(pingNumber: number): string {
  return `{"type":"ping","n":${pingNumber}}`
}

/**
 * @param messageCount How many messages of this connection the broker has handled.
 * @param at When the newest of these messages arrived, in ms.
 */
export function encodeAck(messageCount: number, at: number): string {
  return `{"type":"ack","n":${messageCount},"at":${Math.floor(at)}}`
}

/** @param withinMs Time until the client's token expires, in ms. */
export function encodeExpiring(withinMs: number): string {
  return `{"type":"expiring","within":${Math.floor(withinMs)}}`
}

/** @param withinMs Time until the broker stops, in ms. */
export function encodeDraining(withinMs: number): string {
  return `{"type":"draining","within":${withinMs}}`
}
