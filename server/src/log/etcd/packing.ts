/**
 * Encodes entries as values of etcd: short ones as text, long ones compressed. Entries are
 * repetitive. The cost of an entry at etcd is mostly its bytes, because every member writes them to
 * its disk and sends them to every broker, as base64 in JSON.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'

/** The first byte of a compressed value. JSON never begins with this byte. */
const compressedMark = 0
/** Entries from this length on are compressed. For shorter ones the latency matters more. */
const minCompressedLength = 2_048

export function encodeValue(entry: string): string | Buffer {
  if (entry.length < minCompressedLength && entry.charCodeAt(0) !== compressedMark) return entry
  return Buffer.concat([Buffer.of(compressedMark), deflateRawSync(entry, { level: 1 })])
}

export function decodeValue(value: Buffer): string {
  return (value[0] === compressedMark ? inflateRawSync(value.subarray(1)) : value).toString()
}
