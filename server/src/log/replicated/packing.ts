/**
 * Encodes entries of the shared log as values for an engine (PostgreSQL or etcd): short entries as
 * text, and long entries compressed. Entries compress well, because they are repetitive. The cost
 * of an entry depends mostly on its length. Every machine of the engine writes the entry to its
 * disk and sends it to brokers.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'

/** The first byte of a compressed value. JSON never begins with this byte. */
const compressedMark = 0
/** Shorter entries are not compressed, because compression would save few bytes and cost time. */
const minCompressedLength = 2_048

export function encodeValue(entry: string): string | Buffer {
  // A text that is not JSON might begin with the mark, and must not be taken for compressed.
  if (entry.length < minCompressedLength && entry.charCodeAt(0) !== compressedMark) return entry
  return Buffer.concat([Buffer.of(compressedMark), deflateRawSync(entry, { level: 1 })])
}

export function decodeValue(value: Buffer): string {
  return (value[0] === compressedMark ? inflateRawSync(value.subarray(1)) : value).toString()
}
