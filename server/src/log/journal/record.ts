/**
 * One record of the journal: the commands of one turn, as bytes that can be trusted or refused.
 *
 *   bytes 0-3    checksum (CRC-32) of all that follows
 *   bytes 4-5    format version
 *   bytes 6-11   sequence number
 *   bytes 12-15  checksum of the record before
 *   bytes 16-    the commands, JSON in UTF-8
 *
 * The store underneath is transactional, so a record is there whole or not at all; but disks lose
 * and mix up pages, and a lock table that was guessed is worse than none.
 */
import { crc32 } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import type { Command } from '../../core/index.js'

/** Of records and snapshots. Unstable until 1.0. */
export const formatVersion = 1

const headBytes = 16

export interface JournalRecord {
  readonly sequence: number
  /** Its length in bytes. */
  readonly size: number
  readonly checksum: number
  readonly commands: readonly Command[]
}

export interface EncodedRecord {
  readonly bytes: Buffer
  readonly checksum: number
}

export function encodeRecord(
  sequence: number,
  before: number,
  commands: readonly Command[],
): EncodedRecord {
  const text = JSON.stringify(commands)
  const bytes = Buffer.allocUnsafe(headBytes + Buffer.byteLength(text))
  bytes.writeUInt16LE(formatVersion, 4)
  bytes.writeUIntLE(sequence, 6, 6)
  bytes.writeUInt32LE(before, 12)
  bytes.write(text, headBytes)
  const checksum = crc32(bytes.subarray(4))
  bytes.writeUInt32LE(checksum, 0)
  return { bytes, checksum }
}

/**
 * @param sequence The number that it must have.
 * @param before The checksum of the record before.
 * @throws {HoldfastError} `UNAVAILABLE` if it is damaged, out of order or of a newer version.
 */
export function decodeRecord(bytes: Buffer, sequence: number, before: number): JournalRecord {
  if (bytes.length < headBytes || crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0)) {
    throw damaged(`record ${sequence} does not match its checksum`)
  }
  const version = bytes.readUInt16LE(4)
  if (version > formatVersion) throw newer(version)
  if (bytes.readUIntLE(6, 6) !== sequence) throw damaged(`record ${sequence} is missing`)
  if (bytes.readUInt32LE(12) !== before) {
    throw damaged(`record ${sequence} does not follow the one before it`)
  }
  const commands = JSON.parse(bytes.toString('utf8', headBytes)) as Command[]
  return { sequence, size: bytes.length, checksum: bytes.readUInt32LE(0), commands }
}

export function damaged(what: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `The journal is damaged: ${what}. Restore it from a copy, or move it away to start empty.`,
  )
}

export function newer(version: number): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `The journal has format ${version}, and this version of Holdfast knows up to ${formatVersion}.`,
  )
}
