/**
 * Snapshots on etcd: chunks below the size of a request, and a pointer that names the ones that
 * count. It is moved only after all chunks are written, and only by who knows what was there.
 */
import { crc32, gunzipSync, gzipSync } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import type { StoredSnapshot } from '../replicated/engine.js'
import type { EtcdClient } from './client.js'
import { allUnder, bytesFrom, isUnchanged, numberFrom, put, removeAll, textFrom } from './wire.js'

/** Of a chunk before it is compressed. etcd takes requests up to 1.5 MiB. */
const chunkBytes = 1024 * 1024

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
    for (const chunk of compressed(parts)) {
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
    const text = new TextDecoder()
    let begun = ''
    for (const [i, checksum] of chunks.entries()) {
      const key = this.#keyOf(name, i)
      const value = await this.#client.readInOrder(key)
      const chunk = bytesFrom(value?.value)
      if (value === undefined || crc32(chunk) !== checksum) throw gone(key)
      const lines = (begun + text.decode(gunzipSync(chunk), { stream: true })).split('\n')
      begun = lines.pop()!
      yield* lines
    }
  }

  #keyOf(name: string, index: number): string {
    return `${this.#chunks}${name}/${sortable(index)}`
  }
}

/** Parts become lines, and lines become chunks of one size, so that no part is too large. */
function* compressed(parts: Iterable<string>): Generator<Buffer> {
  let waiting: Buffer[] = []
  let size = 0
  for (const part of parts) {
    if (part.includes('\n')) throw new TypeError('a part is one line')
    const line = Buffer.from(`${part}\n`)
    waiting.push(line)
    size += line.length
    if (size < chunkBytes) continue
    const whole = Buffer.concat(waiting)
    let from = 0
    for (; size - from >= chunkBytes; from += chunkBytes) {
      yield gzipSync(whole.subarray(from, from + chunkBytes), { level: 1 })
    }
    waiting = [whole.subarray(from)]
    size -= from
  }
  if (size > 0) yield gzipSync(Buffer.concat(waiting), { level: 1 })
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
