/**
 * One record of the journal (the command log on the local disk): the commands of one turn of the
 * event loop, with checksums by which the broker detects damage.
 *
 *   bytes 0-3    checksum (CRC-32) of all following bytes
 *   bytes 4-5    format version
 *   bytes 6-11   sequence number
 *   bytes 12-15  checksum of the previous record
 *   bytes 16-    the commands, JSON in UTF-8
 *
 * The database LMDB is transactional, so a stopped process leaves each record complete or missing.
 * The checksums are for disks that lose or mix up pages.
 */
import { crc32 } from 'node:zlib'
import { HoldfastError } from '@holdfast/shared'
import { type Command, findUnknownType } from '../../core/index.js'

/**
 * The format of records and snapshots, which is not stable before version 1.0 of Holdfast. The
 * number rises when the lock table gets commands or snapshot items that an older broker would not
 * understand. Format 1 had no permits (locks of several holders) and no sets (locks of several
 * keys). Format 2 had no owner epochs (how often a session got another owner broker).
 */
export const formatVersion = 3

/**
 * Offsets of the fields of a record, in bytes. The checksum is at offset 0. `checked` is the offset
 * of the first byte that the checksum covers.
 */
const offset = { checked: 4, version: 4, sequence: 6, previousChecksum: 12, commands: 16 }
const sequenceBytes = 6

export interface JournalRecord {
  readonly sequence: number
  /** Length in bytes. */
  readonly size: number
  readonly checksum: number
  readonly commands: readonly Command[]
}

export interface EncodedRecord {
  readonly bytes: Buffer
  readonly checksum: number
}

/**
 * Encodes commands as a record.
 *
 * @param sequence The number of the record.
 * @param previousChecksum The checksum of the previous record.
 */
export function encodeRecord(
  sequence: number,
  previousChecksum: number,
  commands: readonly Command[],
): EncodedRecord {
  const text = JSON.stringify(commands)
  const bytes = Buffer.allocUnsafe(offset.commands + Buffer.byteLength(text))
  bytes.writeUInt16LE(formatVersion, offset.version)
  bytes.writeUIntLE(sequence, offset.sequence, sequenceBytes)
  bytes.writeUInt32LE(previousChecksum, offset.previousChecksum)
  bytes.write(text, offset.commands)
  const checksum = crc32(bytes.subarray(offset.checked))
  bytes.writeUInt32LE(checksum, 0)
  return { bytes, checksum }
}

/**
 * Decodes and verifies a record.
 *
 * @param sequence The expected number of the record.
 * @param previousChecksum The checksum of the previous record.
 * @throws {HoldfastError} `UNAVAILABLE` if the record is damaged or out of order; `INVALID_OPTION`
 *   if the record has a newer format or commands of a newer version.
 */
export function decodeRecord(
  bytes: Buffer,
  sequence: number,
  previousChecksum: number,
): JournalRecord {
  if (
    bytes.length < offset.commands ||
    crc32(bytes.subarray(offset.checked)) !== bytes.readUInt32LE(0)
  ) {
    throw damagedJournal(`record ${sequence} does not match its checksum`)
  }
  const version = bytes.readUInt16LE(offset.version)
  if (version > formatVersion) throw newerFormat(version)
  if (bytes.readUIntLE(offset.sequence, sequenceBytes) !== sequence)
    throw damagedJournal(`record ${sequence} is missing`)
  if (bytes.readUInt32LE(offset.previousChecksum) !== previousChecksum) {
    throw damagedJournal(`record ${sequence} does not follow the previous record`)
  }
  const commands = JSON.parse(bytes.toString('utf8', offset.commands)) as Command[]
  const unknownType = findUnknownType(commands)
  if (unknownType !== undefined) throw newerCommand(sequence, unknownType)
  return { sequence, size: bytes.length, checksum: bytes.readUInt32LE(0), commands }
}

export function damagedJournal(problem: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `The journal is damaged (${problem}): restore it from a backup, or move it away to start empty`,
  )
}

function newerCommand(sequence: number, type: string): HoldfastError {
  return new HoldfastError(
    'INVALID_OPTION',
    `The journal has a command "${type}" in record ${sequence}, which this version of Holdfast ` +
      'does not know: update Holdfast',
  )
}

export function newerFormat(version: number): HoldfastError {
  return new HoldfastError(
    'INVALID_OPTION',
    `The journal has format ${version}, but this version of Holdfast supports up to ` +
      `${formatVersion}: update Holdfast`,
  )
}
