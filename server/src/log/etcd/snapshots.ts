/**
 * Snapshots on etcd: chunks below the size of a request, and a pointer that names the ones that
 * count. It is moved only after all chunks are written, and only by who knows what was there.
 */
import { crc32, gunzipSync, gzipSync } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import type { StoredSnapshot } from '../replicated/engine.js'
import type { EtcdClient } from './client.js'
import { allUnder, bytesFrom, isUnchanged, numberFrom, put, removeAll, textFrom } from './wire.js'

/**
 * Characters from which on a chunk is large enough; with one more part it is below the 1.5 MiB that
 * etcd takes, even if each character has three bytes and none can be saved.
 */
const chunkLength = 192 * 1024

/** Which snapshot counts. */
interface Pointer {
  readonly position: number
  /** Where its chunks are: who wrote them adds something of its own to the position. */
  readonly name: string
  /** A checksum for each. */
  readonly chunks: readonly number[]
}

interface Newest {
  readonly pointer: Pointer | undefined
  /** Of the last change of the pointer; 0 if it was never written. */
  readonly revision: number
}

export class Snapshots {
  readonly #client: EtcdClient
  readonly #pointerKey: string
  readonly #chunks: string
  readonly #newName: () => string

  constructor(client: EtcdClient, prefix: string, newName: () => string) {
    this.#client = client
    this.#pointerKey = `${prefix}/snapshot`
    this.#chunks = `${prefix}/chunks/`
    this.#newName = newName
  }

  async newest(): Promise<StoredSnapshot | undefined> {
    const { pointer } = await this.#newest()
    if (pointer === undefined) return undefined
    return { position: pointer.position, parts: this.#parts(pointer) }
  }

  async save(position: number, parts: Iterable<string>): Promise<boolean> {
    const before = await this.#newest()
    if ((before.pointer?.position ?? -1) >= position) return false
    const name = `${sortable(position)}-${this.#newName()}`
    const chunks: number[] = []
    for (const chunk of chunksOf(parts)) {
      await this.#client.put(this.#keyOf(name, chunks.length), chunk)
      chunks.push(crc32(chunk))
    }
    const pointer: Pointer = { position, name, chunks }
    if (await this.#point(pointer, before)) return true
    await this.#client.txn({ compare: [], success: [removeAll(`${this.#chunks}${name}/`)] })
    return false
  }

  /** Removes all before the one of this position, finished or not. */
  async forgetBefore(position: number): Promise<void> {
    const { key } = allUnder(this.#chunks)
    const { key: range_end } = allUnder(`${this.#chunks}${sortable(position)}`)
    await this.#client.txn({
      compare: [],
      success: [{ request_delete_range: { key, range_end } }],
    })
  }

  /** Whether the pointer is now this, because nobody else moved it. */
  async #point(pointer: Pointer, before: Newest): Promise<boolean> {
    const { position, name } = pointer
    const value = JSON.stringify(pointer)
    for (let { revision } = before; ; ) {
      const { succeeded } = await this.#client.txn({
        compare: [isUnchanged(this.#pointerKey, revision)],
        success: [put(this.#pointerKey, value)],
      })
      if (succeeded) return true
      const now = await this.#newest()
      // It was us, and the answer was lost.
      if (now.pointer?.name === name) return true
      if ((now.pointer?.position ?? -1) >= position) return false
      revision = now.revision
    }
  }

  async #newest(): Promise<Newest> {
    const found = await this.#client.readInOrder(this.#pointerKey)
    if (found === undefined) return { pointer: undefined, revision: 0 }
    const pointer = JSON.parse(textFrom(found.value)) as Pointer
    return { pointer, revision: numberFrom(found.mod_revision) }
  }

  async *#parts({ name, chunks }: Pointer): AsyncGenerator<string> {
    for (const [i, checksum] of chunks.entries()) {
      const key = this.#keyOf(name, i)
      const value = await this.#client.readInOrder(key)
      const chunk = bytesFrom(value?.value)
      if (value === undefined || crc32(chunk) !== checksum) throw gone(key)
      yield* JSON.parse(gunzipSync(chunk).toString()) as string[]
    }
  }

  #keyOf(name: string, index: number): string {
    return `${this.#chunks}${name}/${sortable(index)}`
  }
}

/** Several parts in each, since every chunk is a change that all members write down. */
function* chunksOf(parts: Iterable<string>): Generator<Buffer> {
  let waiting: string[] = []
  let length = 0
  const chunk = (): Buffer => gzipSync(JSON.stringify(waiting), { level: 1 })
  for (const part of parts) {
    waiting.push(part)
    length += part.length
    if (length < chunkLength) continue
    yield chunk()
    waiting = []
    length = 0
  }
  if (waiting.length > 0) yield chunk()
}

/** Numbers as text that sorts as they do. */
function sortable(number: number): string {
  return String(number).padStart(16, '0')
}

function gone(key: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `A part of the snapshot on etcd is missing or damaged (${key}); a newer one may be there.`,
  )
}
