/**
 * Describes the holders of a key in the answers `LOCK_HELD` and `LOCK_TIMEOUT`. The table stores
 * such an answer until the client acknowledges the answer. This file bounds the size of the answer,
 * because a client that never acknowledges must not make the broker keep megabytes. The bound is
 * equal at every broker, because the tables of all brokers must store equal answers.
 *
 * While the holders of a key do not change, requests with equal answers share one answer object.
 * Without sharing, a hundred thousand stored answers take much memory, and much time of the garbage
 * collector.
 */
import type { StoredHolder } from './plainRecords.js'
import type { Answer, KeyState, Lock } from './records.js'

/** The largest number of holders that one answer describes. */
const maxHolders = 16
/** The largest number of bytes of JSON for the holders of one answer. */
const maxAnswerBytes = 16 * 1024
/**
 * A limit for the bytes of holders in all stored answers of a session. Near the limit, answers
 * describe fewer holders. Beyond the limit, each further answer still describes one holder, without
 * its metadata.
 */
export const maxStoredHolderBytes = 256 * 1024
/** Bytes for the punctuation, the field names and the numbers of a holder as JSON. */
const fixedHolderBytes = 130
/** The largest number of keys for which shared answers of one error code are kept. */
const maxSharedKeys = 64

type FailedAnswer = Extract<Answer, { readonly kind: 'failed' }>
type HoldersCode = 'LOCK_HELD' | 'LOCK_TIMEOUT'

/** The answers that describe the holders of one key, until these holders change. */
interface SharedAnswers {
  /**
   * The fences of the oldest and the newest holder, and `count`, the number of holders. The three
   * numbers show whether the holders have changed. A grant changes `lastFence`, and a release
   * changes `count`. An upgrade gives a new fence to the only lock of the key.
   */
  readonly firstFence: number
  readonly lastFence: number
  readonly count: number
  /** Describes as many holders as one answer may describe. */
  readonly full: FailedAnswer
  /** Describes one holder without its metadata. */
  readonly reduced: FailedAnswer
  /** Bytes of the oldest holder, with its metadata if the answers show metadata. */
  readonly firstBytes: number
}

/** Makes the answers that describe the holders of a key, for one error code. */
export class HolderAnswers {
  readonly #code: HoldersCode
  readonly #showsMetadata: boolean
  readonly #sharedAnswers = new Map<KeyState, SharedAnswers>()

  /** @param showsMetadata Whether the answers show the metadata of the locks. */
  constructor(code: HoldersCode, showsMetadata: boolean) {
    this.#code = code
    this.#showsMetadata = showsMetadata
  }

  /**
   * The answer that describes the oldest holders of a key: at most 16, and at most 16 KiB of JSON.
   * For a held key the answer always names a holder. If the oldest holder does not fit, the answer
   * describes this holder without its metadata.
   *
   * @param storedBytes Bytes of holders in the stored answers of the requesting session; 0 for a
   *   session whose answers are not stored. See {@link maxStoredHolderBytes}.
   */
  answerFor(keyState: KeyState, storedBytes: number): FailedAnswer {
    const { first: firstHolder } = keyState
    // Even at a key without a holder, a request can fail: in the quiet start after a restart, or
    // behind a set (a request for several keys) that waits for another of its keys.
    if (firstHolder === undefined) return this.#failedAnswer([], 0)
    const { full, reduced, firstBytes } = this.#sharedAnswersFor(keyState, firstHolder)
    const availableBytes = maxStoredHolderBytes - storedBytes
    if ((full.holderBytes ?? 0) <= availableBytes) return full
    return firstBytes > availableBytes ? reduced : this.#describe(keyState.holders, availableBytes)
  }

  /**
   * Like {@link answerFor}, for a request for a set (several keys, granted in one step). Describes
   * the holders of the blocked keys, key by key, each with its key.
   *
   * @param keyStates The keys that block the set.
   */
  answerForSet(keyStates: readonly KeyState[], storedBytes: number): FailedAnswer {
    const availableBytes = Math.min(maxAnswerBytes, maxStoredHolderBytes - storedBytes)
    const locks = keyStates.flatMap(({ holders }) => oldestOf(holders))
    const answer = this.#describe(locks, availableBytes, /* showsKey */ true)
    const [firstLock] = locks
    if (firstLock === undefined || answer.holders!.length > 0) return answer
    // The first holder does not fit, so the answer describes this holder without its metadata.
    const holder = holderOf(firstLock, /* showsMetadata */ false, /* showsKey */ true)
    return this.#failedAnswer([holder], bytesOf(holder))
  }

  /**
   * The answer to an upgrade that is not granted, because its key has other locks. Describes these
   * locks, within the bounds of {@link answerFor}.
   */
  answerForUpgrade(lock: Lock, storedBytes: number): FailedAnswer {
    const availableBytes = Math.min(maxAnswerBytes, maxStoredHolderBytes - storedBytes)
    // One holder more than the answer may describe, because `lock` itself may be among them.
    const otherHolders = oldestOf(lock.keyState.holders, maxHolders + 1).filter(
      (other) => other !== lock,
    )
    const answer = this.#describe(otherHolders, availableBytes)
    const [first] = otherHolders
    if (first === undefined || answer.holders!.length > 0) return { ...answer, request: 'upgrade' }
    // The first holder does not fit, so the answer describes this holder without its metadata.
    const holder = holderOf(first, /* showsMetadata */ false)
    return { ...this.#failedAnswer([holder], bytesOf(holder)), request: 'upgrade' }
  }

  /** The shared answers of a key. Makes new answers if the holders of the key have changed. */
  #sharedAnswersFor(keyState: KeyState, firstHolder: Lock): SharedAnswers {
    const firstFence = firstHolder.presentFence
    const lastFence = keyState.last?.presentFence ?? firstFence
    const count = keyState.holders.length
    const sharedAnswers = this.#sharedAnswers.get(keyState)
    if (
      sharedAnswers !== undefined &&
      sharedAnswers.firstFence === firstFence &&
      sharedAnswers.lastFence === lastFence &&
      sharedAnswers.count === count
    ) {
      return sharedAnswers
    }
    const firstBytes = bytesOf(holderOf(firstHolder, this.#showsMetadata))
    const reducedHolder = holderOf(firstHolder, /* showsMetadata */ false)
    const reduced = this.#failedAnswer([reducedHolder], bytesOf(reducedHolder))
    const full =
      firstBytes > maxAnswerBytes ? reduced : this.#describe(keyState.holders, maxAnswerBytes)
    const newAnswers = { firstFence, lastFence, count, full, reduced, firstBytes }
    if (this.#sharedAnswers.size >= maxSharedKeys) this.#sharedAnswers.clear()
    this.#sharedAnswers.set(keyState, newAnswers)
    return newAnswers
  }

  /** Describes as many holders as fit into `availableBytes`. */
  #describe(locks: Iterable<Lock>, availableBytes: number, showsKey = false): FailedAnswer {
    const holders: StoredHolder[] = []
    let holderBytes = 0
    for (const lock of locks) {
      const holder = holderOf(lock, this.#showsMetadata, showsKey)
      const bytes = bytesOf(holder)
      if (holders.length === maxHolders || holderBytes + bytes > availableBytes) break
      holders.push(holder)
      holderBytes += bytes
    }
    // Store a copy without spare room. V8 gives an array room for 17 elements at the first `push`.
    return this.#failedAnswer(holders.slice(), holderBytes)
  }

  #failedAnswer(holders: readonly StoredHolder[], holderBytes: number): FailedAnswer {
    return { kind: 'failed', code: this.#code, holders, holderBytes }
  }
}

/** The oldest holders; by default, as many as one answer may describe. */
function oldestOf(holders: Iterable<Lock>, maxCount = maxHolders): Lock[] {
  const locks: Lock[] = []
  for (const lock of holders) if (locks.push(lock) === maxCount) break
  return locks
}

function holderOf(lock: Lock, showsMetadata: boolean, showsKey = false): StoredHolder {
  const { session, metadata, presentFence: fence, since, extras, key } = lock
  const { id, name } = session
  const holder = { session: id, name, metadata: showsMetadata ? metadata : undefined, fence, since }
  if (!showsKey && extras === undefined) return holder
  const { permits, maxHold } = extras ?? {}
  return { ...holder, key: showsKey ? key : undefined, permits, maxHold }
}

/** An upper bound for the bytes of a holder as JSON. The metadata is JSON text already. */
function bytesOf({ session, name, metadata, key }: StoredHolder): number {
  const nameBytes = name === undefined ? 0 : jsonTextBytes(JSON.stringify(name))
  const metadataBytes = metadata === undefined ? 0 : jsonTextBytes(metadata)
  const keyBytes = key === undefined ? 0 : jsonTextBytes(JSON.stringify(key))
  return fixedHolderBytes + session.length + nameBytes + metadataBytes + keyBytes
}

/**
 * Bytes of JSON text in UTF-8: exact for ASCII text, and an upper bound for other text. A UTF-16
 * unit takes at most three bytes.
 */
function jsonTextBytes(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : 3 * text.length
}
