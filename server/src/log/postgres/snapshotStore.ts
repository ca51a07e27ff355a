/**
 * Stores snapshots in PostgreSQL. `snapshotChunks.ts` joins the small parts of a snapshot into
 * larger chunks. Each chunk is a row. One more row, in the list of snapshots, makes the chunks
 * valid. The store writes this row after all chunks, unless another broker has listed a snapshot of
 * the same or a later position.
 */
import { crc32 } from 'node:zlib'
import type { StoredSnapshot } from '../replicated/engine.js'
import { DamagedChunkError } from '../replicated/logErrors.js'
import { joinParts, splitChunk } from '../replicated/snapshotChunks.js'
import type { Answer } from './connection.js'
import type { Statements } from './statements.js'

/** Makes a call, and repeats it after a temporary error. */
type Call = (text: string) => Promise<Answer>

interface ListedSnapshot {
  readonly id: string
  readonly position: number
  readonly chunkCount: number
}

export class SnapshotStore {
  readonly #call: Call
  readonly #statements: Statements
  /** Makes a new UUID. */
  readonly #newId: () => string

  constructor(call: Call, statements: Statements, newId: () => string) {
    this.#call = call
    this.#statements = statements
    this.#newId = newId
  }

  async newest(): Promise<StoredSnapshot | undefined> {
    const listed = await this.#newestListed()
    if (listed === undefined) return undefined
    return { position: listed.position, parts: this.#parts(listed) }
  }

  async save(position: number, parts: Iterable<string>): Promise<boolean> {
    // -1, which is below every position, stands for no snapshot.
    if (((await this.#newestListed())?.position ?? -1) >= position) return false
    const id = this.#newId()
    let chunkCount = 0
    for (const chunk of joinParts(parts)) {
      await this.#call(this.#statements.writeChunk(id, chunkCount, position, chunk, crc32(chunk)))
      chunkCount++
    }
    const { rows } = await this.#call(this.#statements.addToList(id, position, chunkCount))
    if (rows[0]?.['is_listed'] === true) return true
    await this.#call(this.#statements.deleteChunks(id))
    return false
  }

  /** Removes all snapshots before this position, also incomplete snapshots. */
  async removeBefore(position: number): Promise<void> {
    await this.#call(this.#statements.deleteSnapshotsBefore(position))
  }

  async #newestListed(): Promise<ListedSnapshot | undefined> {
    const { rows } = await this.#call(this.#statements.newestSnapshot())
    const [row] = rows
    if (row === undefined) return undefined
    const { id, position, chunks } = row
    return { id: id as string, position: Number(position), chunkCount: chunks as number }
  }

  async *#parts({ id, position, chunkCount }: ListedSnapshot): AsyncGenerator<string> {
    for (let i = 0; i < chunkCount; i++) {
      const { rows } = await this.#call(this.#statements.readChunk(id, i))
      const [row] = rows
      const chunk = row?.['chunk'] as Buffer | undefined
      if (chunk === undefined || crc32(chunk) !== Number(row!['checksum']))
        throw new DamagedChunkError(position, `chunk ${i} of ${id}`)
      yield* splitChunk(chunk)
    }
  }
}
