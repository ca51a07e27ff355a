/**
 * Adds a line to the token file of `holdfast serve --tokens`. The file is replaced as a whole, so
 * that a broker always finds either the old or the new content, even after a crash.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { Exit, exitCodes } from './exitCodes.js'

/** How long to wait for another process that adds a line to the same file, in ms. */
const waitMs = 5_000
/** Time between two attempts to create the temporary file, in ms. */
const retryMs = 20

/** The new content of a file, in a temporary file in the same folder. */
export interface PreparedFile {
  /** Replaces the file by the new content. */
  commit(): void
  /** Removes the new content and leaves the file unchanged. */
  discard(): void
}

/**
 * Writes the content of the file, followed by the line, to `<file>.new`. The method `commit` of the
 * result renames `<file>.new` to `<file>`. While `<file>.new` exists, no other process adds to
 * `<file>`. The new file keeps the owner of an existing `<file>`. Its mode is 0640 if `<file>` has
 * that mode, otherwise 0600.
 *
 * @throws {Exit} 78 if the file is a symbolic link, is not a regular file, or cannot be read or
 *   written. Also 78 if `<file>.new` still exists after 5 s.
 */
export async function prepareWith(file: string, line: string): Promise<PreparedFile> {
  const newFile = `${file}.new`
  const fd = await createNew(file, newFile)
  try {
    const existing = readExisting(file)
    // If the last line has no line feed, add a line feed first. Without the line feed, the added
    // line would become a part of the last line. An empty file needs no line feed.
    const lineEnd = existing === undefined || /(^|\n)$/.test(existing.text) ? '' : '\n'
    if (existing !== undefined) keepOwnerAndMode(fd, existing.stat)
    writeFileSync(fd, `${existing?.text ?? ''}${lineEnd}${line}`)
    fsyncSync(fd)
  } catch (error) {
    closeSync(fd)
    rmSync(newFile, { force: true })
    throw asExit(file, error)
  }
  closeSync(fd)
  return {
    commit: () => {
      try {
        renameSync(newFile, file)
        syncFolder(dirname(file))
      } catch (error) {
        rmSync(newFile, { force: true })
        throw asExit(file, error)
      }
    },
    discard: () => rmSync(newFile, { force: true }),
  }
}

/**
 * Creates `<file>.new`. While `<file>.new` exists, waits for up to 5 s. Never opens an existing
 * `<file>.new`, because it may be a symbolic link.
 */
async function createNew(file: string, newFile: string): Promise<number> {
  for (let waited = 0; ; waited += retryMs) {
    try {
      return openSync(newFile, 'wx', 0o600)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw asExit(file, error)
      if (waited < waitMs) await new Promise((resolve) => setTimeout(resolve, retryMs))
      else {
        throw new Exit(
          exitCodes.config,
          `The file ${newFile} exists, because another "holdfast token" is adding to ${file}, or ` +
            `was killed while it did so: if no "holdfast token" is running, remove ${newFile}`,
        )
      }
    }
  }
}

/** The content of the token file, and its owner and mode; undefined if the file does not exist. */
function readExisting(file: string): { readonly text: string; readonly stat: Stats } | undefined {
  let fd: number
  try {
    // Non-blocking, because opening a named pipe would otherwise wait for its writer.
    fd = openSync(file, constants.O_RDONLY | noFollow | nonBlocking)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile())
      throw new Exit(exitCodes.config, `${file} is not a regular file: give another path`)
    return { text: readFileSync(fd, 'utf8'), stat }
  } finally {
    closeSync(fd)
  }
}

/** The flags are 0 on Windows, which has neither of them. */
const { O_NOFOLLOW: noFollow = 0, O_NONBLOCK: nonBlocking = 0 } = constants as Partial<
  typeof constants
>

/**
 * Gives the new file the owner of the old file, and the mode 0640 if the old file has that mode.
 * With 0640 a broker that runs as another user can read the file as a member of the file's group.
 */
function keepOwnerAndMode(fd: number, { uid, gid, mode }: Stats): void {
  const current = fstatSync(fd)
  if (current.uid !== uid || current.gid !== gid) fchownSync(fd, uid, gid)
  fchmodSync(fd, (mode & 0o777) === 0o640 ? 0o640 : 0o600)
}

/** Makes the rename durable, because a power failure must not restore the old file. */
function syncFolder(folder: string): void {
  // Windows cannot sync a folder.
  if (process.platform === 'win32') return
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Converts an error of the file system into an exit with a message about the token file. */
function asExit(file: string, error: unknown): Exit {
  if (error instanceof Exit) return error
  const { code = 'unknown' } = error as NodeJS.ErrnoException
  if (code === 'ELOOP') {
    return new Exit(
      exitCodes.config,
      `The file ${file} is a symbolic link: give the path of the file itself`,
    )
  }
  return new Exit(exitCodes.config, `The file ${file} cannot be written (${code})`)
}
