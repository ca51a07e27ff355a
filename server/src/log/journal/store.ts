/**
 * The data of the journal (the command log on the local disk) in the database LMDB. A record has
 * the commands of one turn of the event loop. A snapshot has the whole lock table, and is stored in
 * chunks. An entry is any key of LMDB with its value.
 *
 * The store writes each chunk of a snapshot in its own transaction, so that records need not wait
 * for the whole snapshot. The snapshot becomes valid when the store writes a pointer to the
 * snapshot. Then the store removes the old records and the old snapshot.
 */
import { crc32 } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import type * as Lmdb from 'lmdb'
import type { RootDatabase } from 'lmdb'
import type { SnapshotItem } from '../../core/index.js'
import { nodeEnvironment } from '../../platform/environment.js'
import {
  damagedJournal,
  decodeRecord,
  formatVersion,
  type JournalRecord,
  newerFormat,
} from './record.js'

// Each key in LMDB is an array of numbers. The first number is the kind of the value.
const recordKind = 0
const chunkKind = 1
const pointerKind = 2

/** How many items of a snapshot one chunk has. */
const itemsPerChunk = 500
/** How many keys one step of a removal removes. */
const removeBatchSize = 1_000
/** Entries that one step of a check reads. */
const entriesPerStep = 64

/** The value of the pointer, which makes a snapshot valid. */
interface Pointer {
  readonly version: number
  /** The sequence number of the last record whose commands the snapshot includes. */
  readonly sequence: number
  /** The checksum of that record. */
  readonly checksum: number
  /** When the snapshot was made, in ms since 1970. */
  readonly at: number
  /** The checksum of each chunk. */
  readonly chunks: readonly number[]
}

/** The last record that a new snapshot includes, and the time of the snapshot. */
export type SnapshotInfo = Pick<Pointer, 'sequence' | 'at'>

export interface Snapshot extends SnapshotInfo {
  readonly checksum: number
  readonly items: Iterable<SnapshotItem>
}

/** Options of LMDB that are missing in its type declarations. */
interface OpenOptions extends Lmdb.RootDatabaseOptionsWithPath {
  /** The mode of the files that LMDB creates. */
  readonly permissionsMode: number
}

/**
 * Loads LMDB, a native module that does not exist for every platform. Only a broker with a journal
 * calls this function, so that other brokers run without LMDB.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if LMDB cannot be loaded.
 */
export async function loadLmdb(): Promise<typeof Lmdb> {
  try {
    return await import('lmdb')
  } catch (cause) {
    const [problem] = String((cause as Error | undefined)?.message ?? cause).split('\n')
    const { platform, arch, version } = process
    throw new HoldfastError(
      'UNAVAILABLE',
      `A journal needs the package lmdb, which cannot be loaded on ${platform}-${arch} with Node ` +
        `${version} (${problem}): install lmdb where it has a binary for this platform or a C++ ` +
        'compiler to build one, or start the broker without a journal',
      { cause },
    )
  }
}

export class JournalStore {
  readonly #database: RootDatabase<Buffer, number[]>

  private constructor(database: RootDatabase<Buffer, number[]>) {
    this.#database = database
  }

  /**
   * Opens the store in a directory.
   *
   * @param isFlushed Whether a write completes only when its data is on the disk. This value must
   *   be equal for all stores of one directory in this process.
   * @throws {HoldfastError} `UNAVAILABLE` if LMDB cannot be loaded.
   */
  static async open(path: string, isFlushed = true): Promise<JournalStore> {
    const { open } = await loadLmdb()
    const options: OpenOptions = {
      path,
      // Without this option, LMDB treats a path with a dot in its name as a file.
      noSubdir: false,
      encoding: 'binary',
      // LMDB need not collect the writes of a turn, because the journal writes one record a turn.
      eventTurnBatching: false,
      // If this option is true, a write does not wait until its data is on the disk.
      noSync: !isFlushed,
      permissionsMode: 0o600,
    }
    return new JournalStore(open<Buffer, number[]>(options))
  }

  /** Writes a record. Resolves when the record is written and, if `isFlushed`, is on the disk. */
  async append(sequence: number, bytes: Buffer): Promise<void> {
    await awaitWrite(this.#database.put([recordKind, sequence], bytes))
    await this.#database.flushed
  }

  /**
   * Finds out whether the last records are missing: counts the entries, and compares this
   * count with the count that LMDB has stored. `recordsAfter` finds all other missing records.
   *
   * @returns A generator that checks a few entries in each step.
   * @throws {HoldfastError} `UNAVAILABLE` if the count of entries is wrong, or if an entry is not
   *   from Holdfast. The generator throws the error.
   */
  *checkEntries(): Generator<undefined, void, undefined> {
    let count = 0
    for (const key of this.#database.getKeys()) {
      if (!isHoldfastKey(key)) throw damagedJournal('it has an entry that Holdfast did not write')
      if (++count % entriesPerStep === 0) yield
    }
    const { entryCount } = this.#database.getStats() as { readonly entryCount: number }
    if (count !== entryCount)
      throw damagedJournal(`it has ${count} entries instead of ${entryCount}`)
  }

  /**
   * Process ids of all live processes that have read this store. Processes in other containers on
   * this machine are included, each with the id that it has in its own container.
   */
  readers(): number[] {
    return [...this.#database.readerList().matchAll(/^ *(\d+) /gm)].map(([, pid]) => Number(pid))
  }

  /**
   * Reads every entry, and makes a test write: puts an entry after all records, and removes this
   * entry in the same commit. Call this method in a child process, because a damaged page of LMDB
   * can kill the process that reads the page.
   */
  readAllAndTestWrite(): void {
    for (const { value } of this.#database.getRange()) {
      // The iterator has read all bytes already. This line prevents a warning about an unused name.
      void value.length
    }
    const key = [recordKind, Number.MAX_SAFE_INTEGER]
    this.#database.transactionSync(() => {
      void this.#database.put(key, Buffer.alloc(1))
      void this.#database.remove(key)
    })
  }

  /** The newest snapshot; undefined if there is none. */
  snapshot(): Snapshot | undefined {
    const pointer = this.#pointer()
    if (pointer === undefined) return undefined
    const { sequence, checksum, at } = pointer
    return { sequence, checksum, at, items: this.#items(pointer) }
  }

  /** Reads and verifies the records after the record with this number and checksum, in order. */
  *recordsAfter(sequence: number, checksum: number): Generator<JournalRecord> {
    let previous = { sequence, checksum }
    for (const { value } of this.#database.getRange({
      start: [recordKind, sequence + 1],
      end: [recordKind + 1],
    })) {
      const record = decodeRecord(value, previous.sequence + 1, previous.checksum)
      yield record
      previous = record
    }
  }

  /** Saves a snapshot, and then removes the old records and the old snapshot. */
  async saveSnapshot({ sequence, checksum, at, items }: Snapshot): Promise<void> {
    const formerPointer = this.#pointer()
    const checksums: number[] = []
    for (const chunkItems of chunksOf(items)) {
      const bytes = Buffer.from(JSON.stringify(chunkItems))
      await awaitWrite(this.#database.put([chunkKind, sequence, checksums.length], bytes))
      checksums.push(crc32(bytes))
    }
    const pointer: Pointer = { version: formatVersion, sequence, checksum, at, chunks: checksums }
    await awaitWrite(this.#database.put([pointerKind], Buffer.from(JSON.stringify(pointer))))
    await this.#database.flushed
    // Each range starts with its kind alone, which sorts before all longer keys of this kind.
    await this.#removeRange([recordKind], [recordKind, sequence + 1])
    if (formerPointer !== undefined) await this.#removeRange([chunkKind], [chunkKind, sequence])
  }

  async close(): Promise<void> {
    await this.#database.close()
  }

  #pointer(): Pointer | undefined {
    const bytes = this.#database.get([pointerKind])
    if (bytes === undefined) return undefined
    const pointer = JSON.parse(bytes.toString()) as Pointer
    if (pointer.version > formatVersion) throw newerFormat(pointer.version)
    return pointer
  }

  *#items({ sequence, chunks }: Pointer): Generator<SnapshotItem> {
    for (const [i, checksum] of chunks.entries()) {
      const bytes = this.#database.get([chunkKind, sequence, i])
      if (bytes === undefined || crc32(bytes) !== checksum) {
        throw damagedJournal(`chunk ${i} of the snapshot does not match its checksum`)
      }
      yield* JSON.parse(bytes.toString()) as SnapshotItem[]
    }
  }

  /**
   * Removes the keys from `start` on that sort before `end`. Works in steps, so that records can be
   * written between the steps.
   */
  async #removeRange(start: number[], end: number[]): Promise<void> {
    for (;;) {
      const keys = [...this.#database.getKeys({ start, end, limit: removeBatchSize })]
      if (keys.length === 0) return
      await Promise.all(keys.map((key) => awaitWrite(this.#database.remove(key))))
    }
  }
}

/** How many elements the keys of each kind have. */
const keyLength: Readonly<Record<number, number>> = {
  [recordKind]: 2,
  [chunkKind]: 3,
  [pointerKind]: 1,
}

/** Whether Holdfast can have written an entry with this key. */
function isHoldfastKey(key: unknown): boolean {
  // LMDB returns a key of one element as this element, without an array.
  const elements = [key].flat()
  if (!elements.every(Number.isSafeInteger)) return false
  const [kind] = elements as [number]
  return elements.length === keyLength[kind]
}

/**
 * Waits for a write. If a write fails, LMDB rejects two promises: the promise of the write, and the
 * promise `commitError` with the reason. This function handles both promises, because an unhandled
 * rejection would end the process.
 */
async function awaitWrite(write: Promise<boolean>): Promise<void> {
  try {
    await write
  } catch (error) {
    const { commitError } = error as { readonly commitError?: Promise<never> }
    const commitReason = commitError?.catch((reason: unknown) => reason)
    // Wait for the reason only until the end of this turn, because LMDB may never reject the second
    // promise.
    const endOfTurn = new Promise<void>(nodeEnvironment.endOfTurn)
    throw (await Promise.race([commitReason, endOfTurn])) ?? error
  }
}

function* chunksOf(items: Iterable<SnapshotItem>): Generator<SnapshotItem[]> {
  let chunkItems: SnapshotItem[] = []
  for (const item of items) {
    if (chunkItems.push(item) === itemsPerChunk) {
      yield chunkItems
      chunkItems = []
    }
  }
  if (chunkItems.length > 0) yield chunkItems
}
