/**
 * Prepares the directory of a journal, which is a command log on the local disk. Checks that the
 * directory holds a complete journal or nothing. Keeps other users out, and locks the directory for
 * this process. The journal is a database of LMDB, which maps its file into memory.
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
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import { claim, type OwnershipHandle } from '../../platform/ownership.js'
import { restrictToOwner } from '../../platform/privateFiles.js'
import { damagedJournal } from './record.js'

export const dataFile = 'data.mdb'
const ownerFile = 'owner'
const journalFiles: readonly string[] = [dataFile, 'lock.mdb', ownerFile]

/**
 * A database of LMDB begins with two meta pages. The meta page with the higher transaction number
 * is valid. `checkSize` reads `bytes` bytes of each meta page. The other values are the offsets of
 * fields in a meta page, in bytes.
 */
const metaPage = { bytes: 168, magicAt: 24, pageSizeAt: 48, lastPageAt: 144, transactionAt: 152 }
/** The number by which LMDB recognizes its files. */
const lmdbMagic = 0xbeefc0de
/** The names of errors of the system that do not come from damage. */
const systemErrors = [
  ...(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT'] as const),
  ...(['ENOMEM', 'EMFILE', 'ENFILE'] as const),
]
/** A new journal needs at least this many free bytes. */
const minFreeBytes = 64 * 1024

/**
 * Creates the directory if necessary, and refuses a directory with other contents than a journal.
 *
 * @returns Whether the directory holds a journal already.
 * @throws {HoldfastError} `INVALID_OPTION` for a directory with other contents; `UNAVAILABLE` for a
 *   damaged journal, and if the disk has no space for a new journal.
 */
export function prepareDirectory(path: string): boolean {
  let entryNames: string[]
  try {
    makeDirectory(path)
    entryNames = readdirSync(path)
  } catch (cause) {
    throw unusableError(path, `cannot be used as a directory (${reasonOf(cause)})`, cause)
  }
  const files = entryNames
    .filter((name) => journalFiles.includes(name))
    .map((name) => join(path, name))
  const specialFiles = files.filter((file) => !lstatSync(file).isFile())
  if (specialFiles.length > 0) {
    throw unusableError(
      path,
      `has data files that are not regular files (${specialFiles.join(', ')}): ` +
        'remove these files, or use another directory',
    )
  }
  if (entryNames.includes(dataFile)) {
    for (const privatePath of [path, ...files]) restrictAccess(privatePath)
    checkSize(join(path, dataFile))
    return true
  }
  // The owner file may be there already, if an earlier broker stopped before it made the journal.
  if (entryNames.some((name) => name !== ownerFile)) {
    throw unusableError(path, 'has other contents than a journal: choose an empty or new directory')
  }
  checkFreeSpace(path)
  for (const privatePath of [path, ...files]) restrictAccess(privatePath)
  return false
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    // With `recursive`, Node reports ENOENT on a read-only disk too. Otherwise it reports EROFS.
    mkdirSync(path, { mode: 0o700 })
  }
}

/**
 * Keeps other users out, because a journal has names and metadata of locks, and hashes of secrets.
 */
function restrictAccess(path: string): void {
  const reason = restrictToOwner(path)
  if (reason === undefined) return
  process.emitWarning(
    `Other users can access ${path} of the journal, and its permissions cannot be changed ` +
      `(${reason}): choose a new directory within a private directory, and let Holdfast create the new ` +
      'directory',
    // "Open" means open to other users.
    { code: 'HOLDFAST_JOURNAL_OPEN' },
  )
}

/**
 * Checks the free space, because LMDB writes the first pages of a file through mapped memory. On a
 * full disk this write would kill the process and leave a damaged journal.
 */
function checkFreeSpace(path: string): void {
  const { blocks, bavail, bsize } = statfsSync(path)
  const freeBytes = bavail * bsize
  // Some file systems do not tell their size, and report 0 blocks.
  if (blocks === 0 || freeBytes >= minFreeBytes) return
  const problem =
    `has no space for a journal (${freeBytes} bytes are free): ` +
    `make sure that at least ${minFreeBytes} bytes are free`
  throw unusableError(path, problem, undefined, 'UNAVAILABLE')
}

/**
 * Checks the length of the data file. LMDB maps the file into memory. If the file is truncated,
 * LMDB would read beyond the end of the file, and the system would kill the process.
 */
function checkSize(path: string): void {
  const { size } = statSync(path)
  const file = openDataFile(path)
  const metaBytes = Buffer.alloc(metaPage.bytes)
  let newest: { transaction: bigint; bytes: bigint } | undefined
  try {
    // The first meta page is at offset 0. Its page size is the offset of the second meta page.
    let pageSize = 0
    for (const page of [0, 1]) {
      if (readSync(file, metaBytes, 0, metaPage.bytes, page * pageSize) < metaPage.bytes) break
      if (metaBytes.readUInt32LE(metaPage.magicAt) !== lmdbMagic) {
        throw damagedJournal(`${path} is not a database`)
      }
      pageSize = metaBytes.readUInt32LE(metaPage.pageSizeAt)
      const transaction = metaBytes.readBigUInt64LE(metaPage.transactionAt)
      // Add 1 to get the count of pages, because their numbers begin at 0.
      const bytes = (metaBytes.readBigUInt64LE(metaPage.lastPageAt) + 1n) * BigInt(pageSize)
      if (newest === undefined || transaction > newest.transaction) newest = { transaction, bytes }
    }
  } finally {
    closeSync(file)
  }
  if (newest === undefined || BigInt(size) < newest.bytes)
    throw damagedJournal(`${path} is truncated`)
}

/** @throws {HoldfastError} `UNAVAILABLE` if this user may not read the file, for example. */
function openDataFile(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (cause) {
    throw openingError(dirname(path), cause)
  }
}

/**
 * Locks the directory until the returned handle is closed or the process ends. This lock does not
 * keep out processes in other containers. `checkIntegrity`, which runs when a broker opens the
 * journal, notices if such a process uses the journal.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another process has locked the directory.
 */
export function lockDirectory(path: string): OwnershipHandle {
  let owner: OwnershipHandle | undefined
  try {
    const { dev, ino } = statSync(path)
    owner = claim(`holdfast-journal-${dev}-${ino}`, join(path, ownerFile))
  } catch (cause) {
    throw unusableError(path, `cannot be locked (${reasonOf(cause)})`, cause, 'UNAVAILABLE')
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

/** The error for a journal that LMDB cannot open, because of the system or because of damage. */
export function openingError(path: string, cause: unknown): HoldfastError {
  const reason = reasonOf(cause)
  const code = (cause as { code?: unknown } | undefined)?.code
  // For an error of the system, the `code` is a name if Node made the error, and a positive number
  // if LMDB made it. Errors of LMDB itself have negative numbers.
  const isSystemError =
    code !== undefined &&
    systemErrors.some((name) => code === name || code === constants.errno[name])
  if (!isSystemError) return damagedJournal(reason)
  return unusableError(path, `cannot be opened (${reason})`, cause, 'UNAVAILABLE')
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function unusableError(
  path: string,
  problem: string,
  cause?: unknown,
  code: 'INVALID_OPTION' | 'UNAVAILABLE' = 'INVALID_OPTION',
): HoldfastError {
  return new HoldfastError(code, `The journal directory ${path} ${problem}`, { cause })
}
