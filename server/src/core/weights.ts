/**
 * How much memory the table takes, as the table itself counts it: a fixed number of bytes for each
 * record and a little more than two for each UTF-16 unit of text, because one unit outside Latin-1
 * makes all of a text take two bytes each. Integers, so that counting down is exact. The fixed
 * numbers are at least what V8 takes (Node 20 to 24, 64 bits) with the maps, rosters and deadlines
 * that point to a record; a test holds them to the real heap.
 */

/** A session with its two secrets, its deadline and its place in the tables. */
const sessionBytes = 640
/** A lock with its places in its session, its key's chain and the deadlines. */
export const lockBytes = 256
/** A request, with the same. */
export const requestBytes = 320
/** A key that is in use, or idle and not forgotten. */
export const entryBytes = 224
/** A stored answer, with what it keeps of a lock that is gone. */
export const answerBytes = 192

/** A revocation that a session is told again, without its note. */
export const revocationBytes = 96

/** Bytes of a text, with what an allocator leaves unused; 0 for none. */
export function textBytes(text: string | undefined): number {
  return text === undefined ? 0 : 32 + 2 * text.length + (text.length >> 3)
}

/** Bytes of a session without its answers. */
export function bytesOfSession(session: {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
}): number {
  const { id, principal, name } = session
  return sessionBytes + textBytes(id) + textBytes(principal) + textBytes(name)
}
