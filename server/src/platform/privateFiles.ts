/**
 * Files that are for this user alone, and that are where their path says. A link in their place is
 * not followed, because another user who may write to the folder could have it lead anywhere.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { nodeEnvironment } from './environment.js'

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants
/** Windows has neither. */
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>
const ownerOnly = 0o600

/** The text of a file; undefined if there is none. Refuses links, folders and devices. */
export function readPrivate(path: string): string | undefined {
  let file: number
  try {
    // Without waiting, as for a pipe that nobody writes to.
    file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is not a regular file')
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

/**
 * Replaces a file: written beside, flushed, then moved into place, so that a crash leaves the old
 * text or the new one. What is beside has a name that cannot be guessed.
 */
export function replacePrivate(path: string, text: string): void {
  const beside = `${path}.${nodeEnvironment.newId()}.new`
  const file = openSync(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, ownerOnly)
  try {
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
  flushFolder(dirname(path))
}

/** Removes what a crash left beside a file that is replaced by {@link replacePrivate}. */
export function removeLeftovers(path: string): void {
  const name = basename(path)
  for (const other of readdirSync(dirname(path))) {
    if (
      !other.startsWith(`${name}.`) ||
      !/^([\w-]{21}\.)?new$/.test(other.slice(name.length + 1))
    ) {
      continue
    }
    // Removes a link rather than what it leads to.
    unlinkSync(join(dirname(path), other))
  }
}

/**
 * Takes away from other users what they may do with a file or folder.
 *
 * @returns Why that cannot be, such as `EPERM` for what belongs to another user; undefined if it is
 *   done, also on Windows, where a folder has the rights of the one above it.
 */
export function restrictToOwner(path: string): string | undefined {
  const { mode } = statSync(path)
  if (process.platform === 'win32' || (mode & 0o077) === 0) return undefined
  try {
    chmodSync(path, mode & 0o700)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

/** A file that was moved is there after a power failure only when its folder was flushed. */
function flushFolder(path: string): void {
  // Windows opens no folders.
  if (process.platform === 'win32') return
  const folder = openSync(path, O_RDONLY)
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
