/**
 * Which holders of a key an answer names: those that fit. An answer is stored until its client
 * acknowledges it, so what it names is bounded here, where it is stored, by the same rule on every
 * replica. A client that acknowledges nothing must not make the broker keep megabytes for it.
 */
import type { StoredHolder } from './effects.js'
import type { KeyState, Lock } from './records.js'

/** Most holders that one answer names. */
const maxHolders = 16
/** Most bytes of JSON that the holders of one answer take. */
const maxAnswerBytes = 16 * 1024
/** Most bytes of holders in all stored answers of a session; beyond it an answer names one. */
export const maxStoredHolderBytes = 256 * 1024
/** At least the punctuation, field names and two numbers of a holder as JSON. */
const frameBytes = 100

export interface NamedHolders {
  readonly holders: readonly StoredHolder[]
  /** At least as many bytes as the holders take as JSON. */
  readonly holderBytes: number
}

/**
 * The oldest holders, at most 16 and at most 16 KiB of them. Where not even the first fits, it is
 * named without its metadata, so that an answer always says who holds the key.
 *
 * @param metadata Whether the answer shows the metadata of the locks.
 * @param storedBytes What the stored answers of the session that asks take already; 0 for a session
 *   whose answers are not stored.
 */
export function nameHolders(entry: KeyState, metadata: boolean, storedBytes: number): NamedHolders {
  const room = Math.min(maxAnswerBytes, maxStoredHolderBytes - storedBytes)
  const holders: StoredHolder[] = []
  let holderBytes = 0
  for (const lock of entry.holders) {
    const holder = holderOf(lock, metadata)
    const bytes = bytesOf(holder)
    if (holders.length === maxHolders || holderBytes + bytes > room) break
    holders.push(holder)
    holderBytes += bytes
  }
  if (holders.length === 0 && entry.first !== undefined) {
    const holder = holderOf(entry.first, false)
    return { holders: [holder], holderBytes: bytesOf(holder) }
  }
  return { holders, holderBytes }
}

function holderOf({ session, metadata, fence, since }: Lock, shown: boolean): StoredHolder {
  const { id, name } = session
  return { session: id, name, metadata: shown ? metadata : undefined, fence, since }
}

function bytesOf({ session, name, metadata }: StoredHolder): number {
  const named = name === undefined ? 0 : textBytes(JSON.stringify(name))
  const described = metadata === undefined ? 0 : textBytes(metadata)
  return frameBytes + session.length + named + described
}

/** Of JSON text. Exact for ASCII, which nearly all of it is; otherwise the most that it can be. */
function textBytes(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : 3 * text.length
}
