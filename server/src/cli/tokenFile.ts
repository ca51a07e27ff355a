/**
 * Adds a line to the file of tokens. The file is replaced as a whole, so a broker that reads it
 * meanwhile, or a crash in the middle, finds the old lines or the new ones and never half a line.
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

/** How long to wait for another process that adds to the same file, in ms. */
const waitMs = 5_000
const stepMs = 20

/** The new content of a file, written beside it and not yet in its place. */
export interface PreparedFile {
  /** Puts the new content in the place of the old. */
  commit(): void
  /** Leaves the file as it was. */
  discard(): void
}

/**
 * Writes the file with one more line into `<file>.new`, which also keeps other processes from
 * adding to the file meanwhile; {@link PreparedFile.commit} renames it. A new file has mode 0600.
 * An existing one keeps its owner, and gets 0600 unless only its group may read it as well (0640).
 *
 * @throws {Exit} 78 if the file is a symbolic link or no plain file, or cannot be read or written.
 */
export async function prepareWith(file: string, line: string): Promise<PreparedFile> {
  const beside = `${file}.new`
  const fd = await openNew(file, beside)
  try {
    const former = readOld(file)
    // Without an end of the last line, its token would have all keys of the new one as well.
    const start = former === undefined || /(^|\n)$/.test(former.text) ? '' : '\n'
    if (former !== undefined) keepOwner(fd, former.stat)
    writeFileSync(fd, `${former?.text ?? ''}${start}${line}`)
    fsyncSync(fd)
  } catch (error) {
    closeSync(fd)
    rmSync(beside, { force: true })
    throw asExit(file, error)
  }
  closeSync(fd)
  return {
    commit: () => {
      try {
        renameSync(beside, file)
        syncFolder(dirname(file))
      } catch (error) {
        rmSync(beside, { force: true })
        throw asExit(file, error)
      }
    },
    discard: () => rmSync(beside, { force: true }),
  }
}

/** Creates the file beside; never opens what is there already, so no link is followed. */
async function openNew(file: string, beside: string): Promise<number> {
  for (let waited = 0; ; waited += stepMs) {
    try {
      return openSync(beside, 'wx', 0o600)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw asExit(file, error)
      if (waited < waitMs) await new Promise((resolve) => setTimeout(resolve, stepMs))
      else {
        throw new Exit(
          exitCodes.config,
          `The file ${beside} exists: another process adds to ${file}, or one died while it did. ` +
            'If none runs, remove it',
        )
      }
    }
  }
}

function readOld(file: string): { readonly text: string; readonly stat: Stats } | undefined {
  let fd: number
  try {
    // Non-blocking, or a named pipe would hold us here for ever.
    fd = openSync(file, constants.O_RDONLY | noFollow | nonBlocking)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new Exit(exitCodes.config, `${file} is not a plain file`)
    return { text: readFileSync(fd, 'utf8'), stat }
  } finally {
    closeSync(fd)
  }
}

/** Windows has neither of these flags. */
const { O_NOFOLLOW: noFollow = 0, O_NONBLOCK: nonBlocking = 0 } = constants as Partial<
  typeof constants
>

function keepOwner(fd: number, { uid, gid, mode }: Stats): void {
  const own = fstatSync(fd)
  if (own.uid !== uid || own.gid !== gid) fchownSync(fd, uid, gid)
  fchmodSync(fd, (mode & 0o777) === 0o640 ? 0o640 : 0o600)
}

/** So that a power failure does not bring the old file back after the token was given out. */
function syncFolder(folder: string): void {
  // Windows has no such call.
  if (process.platform === 'win32') return
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function asExit(file: string, error: unknown): Exit {
  if (error instanceof Exit) return error
  const { code = 'unknown' } = error as NodeJS.ErrnoException
  if (code === 'ELOOP') {
    return new Exit(
      exitCodes.config,
      `The file ${file} is a link; give the path of the file itself`,
    )
  }
  return new Exit(exitCodes.config, `The file ${file} cannot be written (${code})`)
}
