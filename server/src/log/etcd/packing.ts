/**
 * Entries as etcd keeps them: text, or compressed text where there is much of it. Entries say the
 * same again and again; and what etcd takes for one is mostly for its bytes, each of which goes to
 * the disk of every member and, as base64 in JSON, to every broker.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'

/** Compressed text begins with this byte, which no JSON begins with. */
const mark = 0
/** Characters from which on it is worth it; below, the wait for an entry is all that counts. */
const worthFrom = 2_048

export function packed(entry: string): string | Buffer {
  if (entry.length < worthFrom && entry.charCodeAt(0) !== mark) return entry
  return Buffer.concat([Buffer.of(mark), deflateRawSync(entry, { level: 1 })])
}

export function unpacked(value: Buffer): string {
  return (value[0] === mark ? inflateRawSync(value.subarray(1)) : value).toString()
}
