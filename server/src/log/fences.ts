/**
 * Chooses the first fence of a broker. A fence is the number of a grant. Fences must rise across
 * restarts of the broker, so that a protected resource can reject the holder of an older lock.
 *
 * Without a fence file, fences begin at the wall clock in ms times 1,024. These fences are higher
 * than all fences of an earlier broker, with two exceptions. The earlier broker granted more than a
 * million locks a second, or the clock was set back by more than the downtime.
 *
 * With a fence file, the broker reserves fences in blocks of 2^20. Before the broker uses a block,
 * it writes the end of the block to the file. So the fences rise even if the clock is wrong.
 */
import { mkdirSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import { type LockTable, maxFenceFloor } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { claim, claimAcrossContainers, type OwnershipHandle } from '../platform/ownership.js'
import { readPrivateFile, removeLeftovers, replacePrivateFile } from '../platform/privateFiles.js'

/** The fields of the lock table from which the broker calculates the next fences. */
type FenceUsage = Pick<LockTable, 'fence' | 'waitingCount'>

/** How many fences are reserved at a time. */
const blockSize = 2 ** 20
/** How many fences there are for each ms of the wall clock, if fences begin at the clock. */
const fencesPerMs = 1_024

/** The problem of a fence above `maxFenceFloor`, the fence at the beginning of the year 2100. */
const tooHighProblem =
  'has fences after the year 2099, probably from a broker with a wrong clock: use another path, ' +
  'and reset the fences of the protected resources'

export interface Fences {
  /** The first fence is higher than this number. */
  readonly floor: number
  /**
   * Reserves all fences up to `upTo`. The broker must call this method before it uses the fences.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if the fences cannot be reserved.
   */
  reserve(upTo: number): void
}

/**
 * Fences that begin at the wall clock. `reserve` writes nothing.
 *
 * @param wallMs The wall clock, in ms since 1970.
 * @throws {HoldfastError} `UNAVAILABLE` if the clock is after the year 2099.
 */
export function clockFences(wallMs: number): Fences {
  return { floor: startFromClock(wallMs), reserve: refuseUnsafeFence }
}

/**
 * The floor of fences that begin at this clock. A broker whose clock is after the year 2099 does
 * not start, because its fences could never be lowered again.
 */
function startFromClock(wallMs: number): number {
  const fence = Math.floor(wallMs) * fencesPerMs
  if (fence < maxFenceFloor) return fence
  throw new HoldfastError(
    'UNAVAILABLE',
    `The clock of this machine is at ${wallMs} ms since 1970, which is after the year 2099, and ` +
      'fences begin at the clock: set the clock, then start the broker again',
  )
}

/**
 * Refuses fences above 2^53 - 1, because such numbers are not exact and two fences could be equal.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if `upTo` is above 2^53 - 1.
 */
function refuseUnsafeFence(upTo: number): void {
  if (upTo <= Number.MAX_SAFE_INTEGER) return
  throw new HoldfastError(
    'UNAVAILABLE',
    `The fences are used up (the highest possible fence is ${Number.MAX_SAFE_INTEGER}): start ` +
      'with an empty log and another fence file, and reset the fences of the protected resources',
  )
}

/**
 * Claims a fence file for one broker, because two brokers with one file would grant equal fences.
 * The claim lasts until the returned handle is closed or the process ends. The file need not exist.
 * Creates the folder if necessary. The claim keeps out every other broker on the same kernel: in
 * this process, in other processes, in other workers of a cluster, and in other containers.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another broker has claimed the file, or the folder
 *   cannot be used.
 */
export function ownFenceFile(path: string): OwnershipHandle {
  const folder = dirname(resolve(path))
  const name = basename(path)
  const handles: OwnershipHandle[] = []
  const close = (): void => {
    for (const handle of handles.splice(0)) handle.close()
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { dev, ino } = statSync(folder)
    // `claim` uses the id as the name of a socket. Such a name must be short, so the id has only a
    // hash of the file name.
    const id = `holdfast-fences-${dev}-${ino}-${nodeEnvironment.hash(name)}`
    const claims = [
      () => claim(id, join(folder, `${name}.lock`)),
      () => claimAcrossContainers(folder, name),
    ]
    for (const makeClaim of claims) {
      const handle = makeClaim()
      if (handle === undefined) throw inUseError(path)
      handles.push(handle)
    }
    return { close }
  } catch (cause) {
    close()
    throw cause instanceof HoldfastError ? cause : unusableError(path, 'cannot be created', cause)
  }
}

/**
 * Makes fences whose reservations are written to a file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the clock or the fences in the file are after the year
 *   2099. Also if the file cannot be read or written, or is no fence file.
 */
export function fileFences(path: string, wallMs: number): Fences {
  // The earlier broker may have used all reserved fences, so the new fences begin after the
  // reserved fences.
  const floor = Math.max(readReserved(path), startFromClock(wallMs))
  // The lock table ignores a floor above `maxFenceFloor`, and would grant lower fences than before.
  if (floor > maxFenceFloor) throw unusableError(path, tooHighProblem, undefined)
  // An earlier broker may have crashed while it replaced the file, and left a temporary file.
  convertWriteError(path, () => removeLeftovers(path))
  let reserved = floor
  const reserve = (upTo: number): void => {
    if (upTo <= reserved) return
    const blockEnd = upTo + blockSize
    refuseUnsafeFence(blockEnd)
    // The claim of the file cannot keep out a broker on another machine. A higher number in the
    // file shows that such a broker uses the file.
    if (readReserved(path) > reserved) throw inUseError(path)
    writeReserved(path, blockEnd)
    reserved = blockEnd
  }
  // Write the first block now, so that the broker does not start with a file that it cannot write.
  reserve(floor + 1)
  return { floor, reserve }
}

/**
 * Validates a fence file without changing it. Another broker may be using the file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the file cannot be read, or is not a fence file.
 */
export function checkFenceFile(path: string): void {
  readReserved(path)
}

/** The highest fence that the next command can use: it may grant all waiters and a new request. */
export function highestNextFence({ fence, waitingCount }: FenceUsage): number {
  return fence + waitingCount + 1
}

/** The highest fence that the file reserves; 0 if the file does not exist. */
function readReserved(path: string): number {
  let text: string | undefined
  try {
    text = readPrivateFile(path)
  } catch (cause) {
    // `readPrivateFile` does not follow a link, and throws this error instead.
    const isLink = (cause as NodeJS.ErrnoException).code === 'ELOOP'
    const problem = isLink ? 'is a link: use the path of the file itself' : 'cannot be read'
    throw unusableError(path, problem, cause)
  }
  if (text === undefined) return 0
  const reserved = /^holdfast fences (\d{1,16})\n$/.exec(text)?.[1]
  if (reserved === undefined || !Number.isSafeInteger(Number(reserved))) {
    throw unusableError(path, 'is not a fence file: use another path', undefined)
  }
  return Number(reserved)
}

function writeReserved(path: string, reserved: number): void {
  convertWriteError(path, () => {
    replacePrivateFile(path, `holdfast fences ${reserved}\n`)
  })
}

/** Calls `write`, and converts an error of the file system into a HoldfastError. */
function convertWriteError(path: string, write: () => void): void {
  try {
    write()
  } catch (cause) {
    throw unusableError(path, 'cannot be written', cause)
  }
}

function inUseError(path: string): HoldfastError {
  return unusableError(path, 'is in use by another broker: use another path', undefined)
}

function unusableError(path: string, problem: string, cause: unknown): HoldfastError {
  return new HoldfastError('UNAVAILABLE', `The fence file ${path} ${problem}`, { cause })
}
