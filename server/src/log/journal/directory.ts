/**
 * The directory of a journal: is it one, is it whole, and is it ours alone?
 */
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import { claim, type Owner } from '../../platform/ownership.js'
import { restrictToOwner } from '../../platform/privateFiles.js'
import { damaged } from './record.js'

export const dataFile = 'data.mdb'
const ownerFile = 'owner'
const ourFiles: readonly string[] = [dataFile, 'lock.mdb', ownerFile]

/**
 * Where LMDB keeps what we look at, in a meta page; there are two of them, the newer one counts.
 */
const meta = { bytes: 168, magicAt: 24, pageSizeAt: 48, lastPageAt: 144, transactionAt: 152 }
const magic = 0xbeefc0de
/** What a new journal needs at least, in bytes. */
const leastRoom = 64 * 1024

/**
 * Makes the directory if need be, and refuses what is not a journal.
 *
 * @returns Whether there is one already.
 * @throws {HoldfastError} `INVALID_OPTION` for something else than a journal, `UNAVAILABLE` for a
 *   damaged one, and where there is no room for a new one.
 */
export function prepareDirectory(path: string): boolean {
  let names: string[]
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    names = readdirSync(path)
  } catch (cause) {
    throw unusable(path, 'cannot be used as a directory', cause)
  }
  const files = names.filter((name) => ourFiles.includes(name)).map((name) => join(path, name))
  if (!files.every((file) => lstatSync(file).isFile())) {
    throw unusable(path, 'has a link or something else in the place of its files')
  }
  if (names.includes(dataFile)) {
    for (const one of [path, ...files]) closeToOthers(one)
    checkSize(join(path, dataFile))
    return true
  }
  if (names.some((name) => name !== ownerFile)) {
    throw unusable(path, 'has other things in it and is not a journal')
  }
  checkRoom(path)
  for (const one of [path, ...files]) closeToOthers(one)
  return false
}

/** What is in a journal are names and metadata of locks, and hashes of secrets. */
function closeToOthers(path: string): void {
  const fault = restrictToOwner(path)
  if (fault === undefined) return
  process.emitWarning(
    `The journal's ${path} is open to other users, and cannot be closed to them (${fault}): ` +
      'use a directory below one of your own, which is made for this user alone',
    { code: 'HOLDFAST_JOURNAL_OPEN' },
  )
}

/**
 * LMDB writes its first pages to memory that stands for the file, which kills the process if the
 * disk is full, and leaves something that is no journal.
 */
function checkRoom(path: string): void {
  const { blocks, bavail, bsize } = statfsSync(path)
  const free = bavail * bsize
  if (blocks === 0 || free >= leastRoom) return
  const why = `has no room for a journal: ${free} bytes are free there`
  throw unusable(path, why, undefined, 'UNAVAILABLE')
}

/**
 * LMDB maps its file into memory and trusts its length: reading beyond the end of one that was cut
 * short would kill the process. So the length is checked first.
 */
function checkSize(path: string): void {
  const { size } = statSync(path)
  const file = openSync(path, 'r')
  const head = Buffer.alloc(meta.bytes)
  let newest: { transaction: bigint; bytes: bigint } | undefined
  try {
    let pageSize = 0
    for (const page of [0, 1]) {
      if (readSync(file, head, 0, meta.bytes, page * pageSize) < meta.bytes) break
      if (head.readUInt32LE(meta.magicAt) !== magic) {
        throw damaged(`${path} is not a database`)
      }
      pageSize = head.readUInt32LE(meta.pageSizeAt)
      const transaction = head.readBigUInt64LE(meta.transactionAt)
      const bytes = (head.readBigUInt64LE(meta.lastPageAt) + 1n) * BigInt(pageSize)
      if (newest === undefined || transaction > newest.transaction) newest = { transaction, bytes }
    }
  } finally {
    closeSync(file)
  }
  if (newest === undefined || BigInt(size) < newest.bytes) throw damaged(`${path} was cut short`)
}

/**
 * Makes the directory this process's own until the returned owner is closed or the process ends,
 * however it ends. Processes in other containers are found by `probe`.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another process has it.
 */
export function lockDirectory(path: string): Owner {
  let owner: Owner | undefined
  try {
    const { dev, ino } = statSync(path)
    owner = claim(`holdfast-journal-${dev}-${ino}`, join(path, ownerFile))
  } catch (cause) {
    throw unusable(path, 'cannot be locked', cause, 'UNAVAILABLE')
  }
  if (owner === undefined) throw inUse(path)
  return owner
}

export function inUse(path: string): HoldfastError {
  return unusable(path, 'is in use by another process', undefined, 'UNAVAILABLE')
}

function unusable(
  path: string,
  why: string,
  cause?: unknown,
  code: 'INVALID_OPTION' | 'UNAVAILABLE' = 'INVALID_OPTION',
): HoldfastError {
  return new HoldfastError(code, `The journal directory ${path} ${why}.`, { cause })
}
