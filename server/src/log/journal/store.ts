/**
 * What the journal keeps in LMDB: records by their number, and the newest snapshot in chunks.
 *
 * A snapshot is written chunk by chunk in transactions of its own, so that records are not kept
 * waiting for it, and counts only when the pointer names it; what it replaces is removed after
 * that.
 */
import { crc32 } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import type * as Lmdb from 'lmdb'
import type { RootDatabase } from 'lmdb'
import type { SnapshotItem } from '../../core/index.js'
import { nodeEnvironment } from '../../platform/environment.js'
import { damaged, decodeRecord, formatVersion, type JournalRecord, newer } from './record.js'

/** Kinds of keys; the first element of each. */
const record = 0
const chunk = 1
const pointer = 2

const itemsPerChunk = 500
const removedAtOnce = 1_000

/** Which snapshot counts, and where the records go on after it. */
interface Pointer {
  readonly version: number
  /** The last record that is in the snapshot. */
  readonly sequence: number
  /** The checksum of that record. */
  readonly checksum: number
  /** When it was made, by the calendar, in ms. */
  readonly at: number
  readonly chunks: readonly number[]
}

/** Which records a snapshot replaces, and when it was made. */
export type MadeSnapshot = Pick<Pointer, 'sequence' | 'at'>

export interface Snapshot extends MadeSnapshot {
  readonly checksum: number
  readonly items: Iterable<SnapshotItem>
}

/** What LMDB takes and its declarations do not have. */
interface OpenOptions extends Lmdb.RootDatabaseOptionsWithPath {
  /** Of the files that it makes. */
  readonly permissionsMode: number
}

/**
 * Loads LMDB, which is machine code and not there for every platform. Only a broker with a journal
 * needs it, so nothing loads it before.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if it cannot be loaded, with what to do.
 */
export async function loadLmdb(): Promise<typeof Lmdb> {
  try {
    return await import('lmdb')
  } catch (cause) {
    const [why] = String((cause as Error | undefined)?.message ?? cause).split('\n')
    const { platform, arch, version } = process
    throw new HoldfastError(
      'UNAVAILABLE',
      `A journal needs the package lmdb, which cannot be loaded on ${platform}-${arch} with Node ` +
        `${version} (${why}): install lmdb where it has a binary for this platform or a C++ ` +
        'compiler to build one, or start the broker without a journal',
      { cause },
    )
  }
}

export class Store {
  readonly #database: RootDatabase<Buffer, number[]>

  private constructor(database: RootDatabase<Buffer, number[]>) {
    this.#database = database
  }

  /**
   * @param isFlushed Whether what is written is put on the disk before it counts. All who have the
   *   same one open in this process say the same.
   * @throws {HoldfastError} `UNAVAILABLE` if LMDB cannot be loaded.
   */
  static async open(path: string, isFlushed = true): Promise<Store> {
    const { open } = await loadLmdb()
    const options: OpenOptions = {
      path,
      // Without it a directory with a dot in its name is taken for a file.
      noSubdir: false,
      encoding: 'binary',
      eventTurnBatching: false,
      // No write resolves before its flush otherwise, whether or not that is waited for.
      noSync: !isFlushed,
      permissionsMode: 0o600,
    }
    return new Store(open<Buffer, number[]>(options))
  }

  /** Resolves when the record is written, and on the disk if it is to be. */
  async append(sequence: number, bytes: Buffer): Promise<void> {
    await written(this.#database.put([record, sequence], bytes))
    await this.#database.flushed
  }

  /**
   * The records are a chain, so one that is missing between others is found; this finds those that
   * are missing at the end.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if there are fewer entries than were written, or others.
   */
  checkEntries(): void {
    let count = 0
    for (const key of this.#database.getKeys()) {
      if (!isOurs(key)) throw damaged('it has an entry that nobody wrote')
      count++
    }
    const { entryCount } = this.#database.getStats() as { readonly entryCount: number }
    if (count !== entryCount) throw damaged(`it has ${count} entries instead of ${entryCount}`)
  }

  /**
   * The processes, this one too, that have read here and go on. LMDB sees them wherever they are on
   * the same kernel, and no longer once they have ended; it knows each by its number in its own
   * container.
   */
  readers(): number[] {
    return [...this.#database.readerList().matchAll(/^ *(\d+) /gm)].map(([, pid]) => Number(pid))
  }

  /**
   * Has LMDB look at every entry that there is, whatever it says, and write: an entry where the
   * next record will be, which is gone again in the same commit.
   */
  readAllAndTestWrite(): void {
    for (const { value } of this.#database.getRange()) value.length
    const key = [record, Number.MAX_SAFE_INTEGER]
    this.#database.transactionSync(() => {
      void this.#database.put(key, Buffer.alloc(1))
      void this.#database.remove(key)
    })
  }

  /** The newest snapshot; undefined if there is none. */
  snapshot(): Snapshot | undefined {
    const head = this.#pointer()
    if (head === undefined) return undefined
    const { sequence, checksum, at } = head
    return { sequence, checksum, at, items: this.#items(head) }
  }

  /** The records after this one, in order, each verified as it comes. */
  *recordsAfter(sequence: number, checksum: number): Generator<JournalRecord> {
    let last = { sequence, checksum }
    for (const { value } of this.#database.getRange({
      start: [record, sequence + 1],
      end: [record + 1],
    })) {
      const next = decodeRecord(value, last.sequence + 1, last.checksum)
      yield next
      last = next
    }
  }

  /** Makes these items the snapshot, and removes what it replaces. */
  async saveSnapshot({ sequence, checksum, at, items }: Snapshot): Promise<void> {
    const former = this.#pointer()
    const chunks: number[] = []
    for (const part of parts(items)) {
      const bytes = Buffer.from(JSON.stringify(part))
      await written(this.#database.put([chunk, sequence, chunks.length], bytes))
      chunks.push(crc32(bytes))
    }
    const head: Pointer = { version: formatVersion, sequence, checksum, at, chunks }
    await written(this.#database.put([pointer], Buffer.from(JSON.stringify(head))))
    await this.#database.flushed
    await this.#removeUpTo([record], [record, sequence + 1])
    if (former !== undefined) await this.#removeUpTo([chunk], [chunk, sequence])
  }

  async close(): Promise<void> {
    await this.#database.close()
  }

  #pointer(): Pointer | undefined {
    const bytes = this.#database.get([pointer])
    if (bytes === undefined) return undefined
    const head = JSON.parse(bytes.toString()) as Pointer
    if (head.version > formatVersion) throw newer(head.version)
    return head
  }

  *#items({ sequence, chunks }: Pointer): Generator<SnapshotItem> {
    for (const [i, checksum] of chunks.entries()) {
      const bytes = this.#database.get([chunk, sequence, i])
      if (bytes === undefined || crc32(bytes) !== checksum) {
        throw damaged(`part ${i} of the snapshot does not match its checksum`)
      }
      yield* JSON.parse(bytes.toString()) as SnapshotItem[]
    }
  }

  /** In steps, because every write keeps the others waiting. */
  async #removeUpTo(start: number[], end: number[]): Promise<void> {
    for (;;) {
      const keys = [...this.#database.getKeys({ start, end, limit: removedAtOnce })]
      if (keys.length === 0) return
      await Promise.all(keys.map((key) => written(this.#database.remove(key))))
    }
  }
}

function isOurs(key: unknown): boolean {
  // LMDB's keys of one element come back without their array.
  const parts = [key].flat()
  if (!parts.every(Number.isSafeInteger)) return false
  return parts.length === { [record]: 2, [chunk]: 3, [pointer]: 1 }[parts[0] as number]
}

/**
 * LMDB says that a write has failed, and then why, by a promise of its own; if nobody took that, it
 * would end the process.
 */
async function written(write: Promise<boolean>): Promise<void> {
  try {
    await write
  } catch (error) {
    const { commitError } = error as { readonly commitError?: Promise<never> }
    const why = commitError?.catch((reason: unknown) => reason)
    throw (await Promise.race([why, new Promise<void>(nodeEnvironment.endOfTurn)])) ?? error
  }
}

function* parts(items: Iterable<SnapshotItem>): Generator<SnapshotItem[]> {
  let part: SnapshotItem[] = []
  for (const item of items) {
    if (part.push(item) === itemsPerChunk) {
      yield part
      part = []
    }
  }
  if (part.length > 0) yield part
}
