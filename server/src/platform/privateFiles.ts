/**
 * Reads and writes files that only the user of this process may access. Reads, writes and removals
 * do not follow a link, because another user with access to the folder could direct the link
 * anywhere. Only {@link restrictToOwner} follows links.
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
/** Both flags are missing on Windows. */
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>
/** The mode of a file that only its owner may read and write. */
const ownerOnly = 0o600

/**
 * Returns the text of a file; undefined if the file does not exist. Throws for links, folders and
 * devices.
 */
export function readPrivateFile(path: string): string | undefined {
  let file: number
  try {
    // The flag O_NONBLOCK is necessary, because opening a pipe without a writer would block.
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
 * Replaces a file atomically: writes a temporary file, flushes it and moves it, so that a crash
 * leaves either the old or the new text. The temporary name cannot be guessed.
 */
export function replacePrivateFile(path: string, text: string): void {
  const temporary = `${path}.${nodeEnvironment.newId()}.new`
  const file = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, ownerOnly)
  try {
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  flushFolder(dirname(path))
}

/** Removes temporary files of {@link replacePrivateFile} that a crash has left. */
export function removeLeftovers(path: string): void {
  const name = basename(path)
  for (const fileName of readdirSync(dirname(path))) {
    // An id of `nanoid` has 21 characters. The id is optional, because earlier versions wrote
    // `<name>.new`.
    const isLeftover =
      fileName.startsWith(`${name}.`) && /^([\w-]{21}\.)?new$/.test(fileName.slice(name.length + 1))
    if (!isLeftover) continue
    // If the leftover is a link, this removes the link and not its target.
    unlinkSync(join(dirname(path), fileName))
  }
}

/**
 * Removes all permissions of other users from a file or folder.
 *
 * @returns The error code if the change fails, such as `EPERM` for a file of another user;
 *   undefined on success. On Windows this function does nothing, because files there inherit the
 *   permissions of their folder.
 */
export function restrictToOwner(path: string): string | undefined {
  const { mode } = statSync(path)
  // The bits 0o077 are the permissions of other users, and 0o700 those of the owner.
  if (process.platform === 'win32' || (mode & 0o077) === 0) return undefined
  try {
    chmodSync(path, mode & 0o700)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

/** Flushes a folder, because a power failure can undo a move whose folder is not flushed. */
function flushFolder(path: string): void {
  // Windows cannot open folders.
  if (process.platform === 'win32') return
  const folder = openSync(path, O_RDONLY)
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
