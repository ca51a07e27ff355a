/**
 * What the journal keeps in LMDB: records by their number, and the newest snapshot in chunks.
 *
 * A snapshot is written chunk by chunk in transactions of its own, so that records are not kept
 * waiting for it, and counts only when the pointer names it; what it replaces is removed after
 * that.
 */
import { crc32 } from 'node:zlib'
import { open, type RootDatabase } from 'lmdb'
import type { SnapshotItem } from '../../core/index.js'
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
  readonly chunks: readonly number[]
}

export interface Snapshot {
  readonly sequence: number
  readonly checksum: number
  readonly items: Iterable<SnapshotItem>
}

export class Store {
  readonly #database: RootDatabase<Buffer, number[]>

  constructor(path: string) {
    // Without `noSubdir` a directory with a dot in its name is taken for a file.
    const noSubdir = false
    this.#database = open<Buffer, number[]>({
      path,
      noSubdir,
      encoding: 'binary',
      eventTurnBatching: false,
    })
  }

  /** Resolves when the record is written; and on the disk, if `flush` asks for it. */
  async append(sequence: number, bytes: Buffer, flush: boolean): Promise<void> {
    await this.#database.put([record, sequence], bytes)
    if (flush) await this.#database.flushed
  }

  /** The newest snapshot; undefined if there is none. */
  snapshot(): Snapshot | undefined {
    const head = this.#pointer()
    if (head === undefined) return undefined
    const { sequence, checksum } = head
    return { sequence, checksum, items: this.#items(head) }
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
  async saveSnapshot({ sequence, checksum, items }: Snapshot): Promise<void> {
    const former = this.#pointer()
    const chunks: number[] = []
    for (const part of parts(items)) {
      const bytes = Buffer.from(JSON.stringify(part))
      await this.#database.put([chunk, sequence, chunks.length], bytes)
      chunks.push(crc32(bytes))
    }
    const head: Pointer = { version: formatVersion, sequence, checksum, chunks }
    await this.#database.put([pointer], Buffer.from(JSON.stringify(head)))
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
      await Promise.all(keys.map((key) => this.#database.remove(key)))
    }
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
