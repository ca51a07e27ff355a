/**
 * Estimates the memory of the table: a fixed number of bytes for each record, and a little more
 * than two bytes for each UTF-16 unit of text. (One unit outside Latin-1 makes V8 store a whole
 * text in two bytes a unit.) The numbers are integers, so that counting down is exact. They are
 * upper bounds for V8 (Node 20 to 24, 64 bits), including the maps, id tables and deadlines that
 * refer to a record. A test compares them with the real heap.
 */

/** A session with its two secrets, its deadline and its entries in maps. */
const sessionBytes = 640
/** A lock with its entries in its session, in its key's list and among the deadlines. */
export const lockBytes = 256
/** A request with its entries in its session, in its key's queue and among the deadlines. */
export const requestBytes = 320
/** The state of a key that is in use, or idle and still kept. */
export const keyStateBytes = 224
/** A stored answer, with the kept part of a lock that is gone. */
export const answerBytes = 192

/** A stored revocation, without its note. */
export const revocationBytes = 96

/** Bytes of a text, with the allocator's rounding; 0 for undefined. */
export function textBytes(text: string | undefined): number {
  return text === undefined ? 0 : 32 + 2 * text.length + (text.length >> 3)
}

/** Bytes of a session, without its answers and revocations. */
export function bytesOfSession(session: {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
}): number {
  const { id, principal, name } = session
  return sessionBytes + textBytes(id) + textBytes(principal) + textBytes(name)
}
