/**
 * Estimates the memory of the table: a fixed number of bytes for each record, and a little more
 * than two bytes for each UTF-16 unit of text. (V8 stores the whole text in two bytes a unit if one
 * unit is outside Latin-1.) The estimates are integers, so that adding and subtracting them causes
 * no rounding error. The estimates are upper bounds for V8 (Node 20 to 24, 64 bits). The bytes of a
 * record include its entries in maps and id tables, and its deadlines. A test compares the
 * estimates with the real heap.
 */

/** Bytes of a session with its two secrets, its deadline and its entries in maps. */
const sessionBytes = 640
/** Bytes of a lock with its entries in its session, in its key's list and among the deadlines. */
export const lockBytes = 256
/** Bytes of a request with its entries in its session, its key's queue and the deadlines. */
export const requestBytes = 320
/** Bytes of a barrier, without its key and its calls. */
export const barrierBytes = 320
/** Bytes of a call at a barrier with its entries in its session and among the deadlines. */
export const barrierCallBytes = 256
/**
 * Bytes of the `LockExtras` of a lock or request: the fields that only a few of them have. Includes
 * a share of the memory of its set, if any, and of the permits of its key.
 */
export const extrasBytes = 320
/** Bytes of a `SharedResult` (the result of a `once`), without the texts of its key and value. */
export const resultBytes = 128
/** Bytes of a `KeptResult`, without the `SharedResult` to which it refers. */
export const keptResultBytes = 256
/** Further bytes for a lock or request in a scope: a share of the memory of the scope. */
const scopedBytes = 1_024
/** Bytes of the state of a key that is in use, or is idle and still kept. */
export const keyStateBytes = 224
/** Bytes of a stored answer, with the few fields that it keeps of a released lock. */
export const answerBytes = 192
/** Bytes of a stored revocation, without its note. */
export const revocationBytes = 96

/**
 * Bytes of a text; 0 for undefined. The 32 bytes are for the object of the text, and an eighth of a
 * byte for each unit is for the allocator's rounding.
 */
export function textBytes(text: string | undefined): number {
  return text === undefined ? 0 : 32 + 2 * text.length + (text.length >> 3)
}

/** The fields of `LockExtras` on which the memory depends. */
interface WeighedExtras {
  readonly election?: { readonly value?: string | undefined } | undefined
  readonly scope?: object | undefined
}

function bytesOfExtras(extras: WeighedExtras | undefined): number {
  if (extras === undefined) return 0
  const scopeBytes = extras.scope === undefined ? 0 : scopedBytes
  return extrasBytes + scopeBytes + textBytes(extras.election?.value)
}

/** The fields of a lock or a request on which its memory depends. */
interface Weighed {
  readonly metadata: string | undefined
  readonly extras: WeighedExtras | undefined
}

/** Bytes of a lock with its metadata and its extras. */
export function bytesOfLock({ metadata, extras }: Weighed): number {
  return lockBytes + textBytes(metadata) + bytesOfExtras(extras)
}

/** Bytes of a request with its metadata and its extras. */
export function bytesOfRequest({ metadata, extras }: Weighed): number {
  return requestBytes + textBytes(metadata) + bytesOfExtras(extras)
}

/** The fields of a session on which its memory depends. */
interface WeighedSession {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
}

/** Bytes of a session, without its answers and revocations. */
export function bytesOfSession({ id, principal, name }: WeighedSession): number {
  return sessionBytes + textBytes(id) + textBytes(principal) + textBytes(name)
}

/** Bytes of these sessions with their revocations, without their answers. */
export function bytesOfSessions(
  sessions: Iterable<WeighedSession & { readonly bytesOfRevocations: number }>,
): number {
  let bytes = 0
  for (const session of sessions) bytes += bytesOfSession(session) + session.bytesOfRevocations
  return bytes
}
