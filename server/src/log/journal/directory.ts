/**
 * Prepares the directory of a journal: checks that it holds a complete journal or nothing, keeps
 * other users out, and locks it for this process.
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
import { claim, type OwnershipHandle } from '../../platform/ownership.js'
import { restrictToOwner } from '../../platform/privateFiles.js'
import { damagedJournal } from './record.js'

export const dataFile = 'data.mdb'
const ownerFile = 'owner'
const ourFiles: readonly string[] = [dataFile, 'lock.mdb', ownerFile]

/**
 * Where LMDB stores the fields that are checked here, within a meta page. There are two meta pages,
 * and the one with the higher transaction is valid.
 */
const meta = { bytes: 168, magicAt: 24, pageSizeAt: 48, lastPageAt: 144, transactionAt: 152 }
const magic = 0xbeefc0de
/** Free bytes that a new journal needs at least. */
const minFreeBytes = 64 * 1024

/**
 * Creates the directory if necessary, and refuses a directory that is not a journal.
 *
 * @returns Whether the directory holds a journal already.
 * @throws {HoldfastError} `INVALID_OPTION` for a directory with other contents; `UNAVAILABLE` for a
 *   damaged journal, and if the disk has no space for a new one.
 */
export function prepareDirectory(path: string): boolean {
  let names: string[]
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    names = readdirSync(path)
  } catch (cause) {
    throw unusableError(path, 'cannot be used as a directory', cause)
  }
  const files = names.filter((name) => ourFiles.includes(name)).map((name) => join(path, name))
  if (!files.every((file) => lstatSync(file).isFile())) {
    throw unusableError(
      path,
      'has something else than regular files as its data: remove it or use another directory',
    )
  }
  if (names.includes(dataFile)) {
    for (const owned of [path, ...files]) restrictAccess(owned)
    checkSize(join(path, dataFile))
    return true
  }
  if (names.some((name) => name !== ownerFile)) {
    throw unusableError(path, 'has other contents than a journal: choose an empty or new directory')
  }
  checkFreeSpace(path)
  for (const owned of [path, ...files]) restrictAccess(owned)
  return false
}

/** Keeps other users out: a journal has names and metadata of locks, and hashes of secrets. */
function restrictAccess(path: string): void {
  const reason = restrictToOwner(path)
  if (reason === undefined) return
  process.emitWarning(
    `Other users can access ${path} of the journal, and its permissions cannot be changed ` +
      `(${reason}): use a directory inside a private one, and let Holdfast create it`,
    { code: 'HOLDFAST_JOURNAL_OPEN' },
  )
}

/**
 * Checks the free space, because LMDB writes the first pages of a file through mapped memory. On a
 * full disk that would kill the process and leave a damaged journal.
 */
function checkFreeSpace(path: string): void {
  const { blocks, bavail, bsize } = statfsSync(path)
  const free = bavail * bsize
  if (blocks === 0 || free >= minFreeBytes) return
  const why = `has no space for a journal (${free} bytes are free): free ${minFreeBytes} bytes`
  throw unusableError(path, why, undefined, 'UNAVAILABLE')
}

/**
 * Checks the length of the data file. LMDB maps the file into memory, and reading beyond the end of
 * a truncated file would kill the process.
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
        throw damagedJournal(`${path} is not a database`)
      }
      pageSize = head.readUInt32LE(meta.pageSizeAt)
      const transaction = head.readBigUInt64LE(meta.transactionAt)
      const bytes = (head.readBigUInt64LE(meta.lastPageAt) + 1n) * BigInt(pageSize)
      if (newest === undefined || transaction > newest.transaction) newest = { transaction, bytes }
    }
  } finally {
    closeSync(file)
  }
  if (newest === undefined || BigInt(size) < newest.bytes)
    throw damagedJournal(`${path} is truncated`)
}

/**
 * Locks the directory until the returned handle is closed or the process ends. The integrity check
 * finds processes in other containers, which this lock does not keep out.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another process has locked the directory.
 */
export function lockDirectory(path: string): OwnershipHandle {
  let owner: OwnershipHandle | undefined
  try {
    const { dev, ino } = statSync(path)
    owner = claim(`holdfast-journal-${dev}-${ino}`, join(path, ownerFile))
  } catch (cause) {
    throw unusableError(path, 'cannot be locked', cause, 'UNAVAILABLE')
  }
  if (owner === undefined) throw inUseError(path)
  return owner
}

export function inUseError(path: string): HoldfastError {
  return unusableError(
    path,
    'is in use by another process: stop that process or choose another directory',
    undefined,
    'UNAVAILABLE',
  )
}

function unusableError(
  path: string,
  why: string,
  cause?: unknown,
  code: 'INVALID_OPTION' | 'UNAVAILABLE' = 'INVALID_OPTION',
): HoldfastError {
  return new HoldfastError(code, `The journal directory ${path} ${why}`, { cause })
}
