/**
 * Chooses which holders of a key an answer describes. The table stores an answer until the client
 * acknowledges the answer. This file bounds the size of the answer, because a client that never
 * acknowledges must not make the broker keep megabytes. The bound is equal at every broker.
 */
import type { KeyState, Lock, StoredHolder } from './records.js'

/** Most holders that one answer describes. */
const maxHolders = 16
/** Most bytes of JSON for the holders of one answer. */
const maxAnswerBytes = 16 * 1024
/**
 * Most bytes of holders in all stored answers of a session. Beyond these bytes, an answer describes
 * one holder.
 */
export const maxStoredHolderBytes = 256 * 1024
/** Bytes for the punctuation, the field names and the two numbers of a holder as JSON. */
const holderFrameBytes = 100

export interface DescribedHolders {
  readonly holders: readonly StoredHolder[]
  /** An upper bound for the bytes of the holders as JSON. */
  readonly holderBytes: number
}

/**
 * Describes the oldest holders: at most 16, and at most 16 KiB of JSON. If the first holder does
 * not fit, it is described without its metadata, so that an answer always names a holder.
 *
 * @param metadata Whether the answer shows the metadata of the locks.
 * @param storedBytes Bytes of holders in the stored answers of the session that asks; 0 for a
 *   session whose answers are not stored.
 */
export function describeHolders(
  keyState: KeyState,
  metadata: boolean,
  storedBytes: number,
): DescribedHolders {
  const room = Math.min(maxAnswerBytes, maxStoredHolderBytes - storedBytes)
  const holders: StoredHolder[] = []
  let holderBytes = 0
  for (const lock of keyState.holders) {
    const holder = holderOf(lock, metadata)
    const bytes = bytesOf(holder)
    if (holders.length === maxHolders || holderBytes + bytes > room) break
    holders.push(holder)
    holderBytes += bytes
  }
  if (holders.length === 0 && keyState.first !== undefined) {
    const holder = holderOf(keyState.first, false)
    return { holders: [holder], holderBytes: bytesOf(holder) }
  }
  return { holders, holderBytes }
}

function holderOf({ session, metadata, fence, since }: Lock, showMetadata: boolean): StoredHolder {
  const { id, name } = session
  return { session: id, name, metadata: showMetadata ? metadata : undefined, fence, since }
}

function bytesOf({ session, name, metadata }: StoredHolder): number {
  const nameBytes = name === undefined ? 0 : textBytes(JSON.stringify(name))
  const metadataBytes = metadata === undefined ? 0 : textBytes(metadata)
  return holderFrameBytes + session.length + nameBytes + metadataBytes
}

/** Bytes of JSON text in UTF-8: exact for ASCII text, and an upper bound for other text. */
function textBytes(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : 3 * text.length
}
