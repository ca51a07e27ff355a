/**
 * Joins the parts of a snapshot to compressed chunks, and takes chunks apart again. An engine (etcd
 * or PostgreSQL) stores the chunks. Several parts share a chunk, so that the engine has fewer
 * writes. Each write of a chunk reaches every machine of the engine.
 */
import { gunzipSync, gzipSync } from 'node:zlib'

/**
 * A chunk is complete when it has at least this many characters. The last part can make the chunk
 * longer, but never longer than the 1.5 MiB that etcd accepts. This holds even if every character
 * takes three bytes and the compression saves nothing.
 */
const minChunkLength = 192 * 1024

/** Joins parts to chunks. Reads the parts one after the other. */
export function* joinParts(parts: Iterable<string>): Generator<Buffer> {
  let chunkParts: string[] = []
  let length = 0
  // Level 1 is the fastest compression.
  const makeChunk = (): Buffer => gzipSync(JSON.stringify(chunkParts), { level: 1 })
  for (const part of parts) {
    chunkParts.push(part)
    length += part.length
    if (length < minChunkLength) continue
    yield makeChunk()
    chunkParts = []
    length = 0
  }
  if (chunkParts.length > 0) yield makeChunk()
}

/** The parts of a chunk. */
export function splitChunk(chunk: Buffer): readonly string[] {
  return JSON.parse(gunzipSync(chunk).toString()) as string[]
}
