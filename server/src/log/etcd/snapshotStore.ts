/**
 * Stores snapshots on etcd. A snapshot consists of many small parts. `snapshotChunks.ts` joins the
 * parts to chunks that fit into a request. A pointer names the valid snapshot. The store moves the
 * pointer after all chunks are written, unless another broker has meanwhile saved a snapshot of
 * the same or a later position in the log.
 */
import { crc32 } from 'node:zlib'
import type { StoredSnapshot } from '../replicated/engine.js'
import { DamagedChunkError } from '../replicated/logErrors.js'
import { joinParts, splitChunk } from '../replicated/snapshotChunks.js'
import type { EtcdClient } from './client.js'
import { allUnder, bytesFrom, isUnchanged, numberFrom, put, removeAll, textFrom } from './wire.js'

/** The value of the pointer key, which names the valid snapshot. */
interface Pointer {
  readonly position: number
  /** The part of the chunk keys that differs between snapshots: the position and a unique id. */
  readonly name: string
  /** The checksum of each chunk. */
  readonly chunks: readonly number[]
}

interface StoredPointer {
  readonly pointer: Pointer | undefined
  /** The revision of the pointer's last change; 0 if the pointer was never written. */
  readonly revision: number
}

export class SnapshotStore {
  readonly #client: EtcdClient
  readonly #pointerKey: string
  readonly #chunkPrefix: string
  readonly #newId: () => string

  constructor(client: EtcdClient, prefix: string, newId: () => string) {
    this.#client = client
    this.#pointerKey = `${prefix}/snapshot`
    this.#chunkPrefix = `${prefix}/chunks/`
    this.#newId = newId
  }

  async newest(): Promise<StoredSnapshot | undefined> {
    const { pointer } = await this.#readPointer()
    if (pointer === undefined) return undefined
    return { position: pointer.position, parts: this.#parts(pointer) }
  }

  async save(position: number, parts: Iterable<string>): Promise<boolean> {
    const pointerBefore = await this.#readPointer()
    // -1 stands for no snapshot, because it is below every position.
    if ((pointerBefore.pointer?.position ?? -1) >= position) return false
    const name = `${sortable(position)}-${this.#newId()}`
    const checksums: number[] = []
    for (const chunk of joinParts(parts)) {
      await this.#client.put(this.#keyOf(name, checksums.length), chunk)
      checksums.push(crc32(chunk))
    }
    const pointer: Pointer = { position, name, chunks: checksums }
    if (await this.#movePointer(pointer, pointerBefore)) return true
    // Another broker has saved its snapshot meanwhile, so these chunks are not needed.
    await this.#client.txn({ compare: [], success: [removeAll(`${this.#chunkPrefix}${name}/`)] })
    return false
  }

  /** Removes all snapshots before this position, including incomplete snapshots. */
  async removeBefore(position: number): Promise<void> {
    const { key } = allUnder(this.#chunkPrefix)
    // The range ends before the chunks of snapshots at this position.
    const { key: range_end } = allUnder(`${this.#chunkPrefix}${sortable(position)}`)
    await this.#client.txn({
      compare: [],
      success: [{ request_delete_range: { key, range_end } }],
    })
  }

  /**
   * Moves the pointer, unless another broker has saved a snapshot of this or a later position.
   * Returns whether the pointer moved.
   */
  async #movePointer(pointer: Pointer, pointerBefore: StoredPointer): Promise<boolean> {
    const { position, name } = pointer
    const value = JSON.stringify(pointer)
    for (let { revision } = pointerBefore; ; ) {
      const { succeeded } = await this.#client.txn({
        compare: [isUnchanged(this.#pointerKey, revision)],
        success: [put(this.#pointerKey, value)],
      })
      if (succeeded) return true
      const current = await this.#readPointer()
      // If the pointer has this name, this broker moved it, and the answer of etcd was lost.
      if (current.pointer?.name === name) return true
      if ((current.pointer?.position ?? -1) >= position) return false
      revision = current.revision
    }
  }

  async #readPointer(): Promise<StoredPointer> {
    const keyValue = await this.#client.readLinearizable(this.#pointerKey)
    if (keyValue === undefined) return { pointer: undefined, revision: 0 }
    const pointer = JSON.parse(textFrom(keyValue.value)) as Pointer
    return { pointer, revision: numberFrom(keyValue.mod_revision) }
  }

  async *#parts({ position, name, chunks: checksums }: Pointer): AsyncGenerator<string> {
    for (const [i, checksum] of checksums.entries()) {
      const key = this.#keyOf(name, i)
      const value = await this.#client.readLinearizable(key)
      const chunk = bytesFrom(value?.value)
      if (value === undefined || crc32(chunk) !== checksum)
        throw new DamagedChunkError(position, `the key ${key}`)
      yield* splitChunk(chunk)
    }
  }

  #keyOf(name: string, index: number): string {
    return `${this.#chunkPrefix}${name}/${sortable(index)}`
  }
}

/**
 * A position or an index as text, so that the order of the texts is the order of the numbers. A
 * safe integer has at most 16 digits.
 */
function sortable(value: number): string {
  return String(value).padStart(16, '0')
}
