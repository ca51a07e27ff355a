/**
 * Decides where a broker's fences begin, and keeps them rising across restarts.
 *
 * Without a file, fences begin at the wall clock in ms times 1,024. They are then higher than all
 * fences of an earlier broker, unless it granted more than a million a second or the clock was set
 * back by more than the downtime. With a fence file, the broker writes each block of 2^20 fences to
 * disk before it uses the block, so no clock matters.
 */
import { mkdirSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import { type LockTable, maxFenceFloor } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { claim, claimAcrossContainers, type OwnershipHandle } from '../platform/ownership.js'
import { readPrivateFile, removeLeftovers, replacePrivateFile } from '../platform/privateFiles.js'

/** The part of a table that determines its next fences. */
type FenceUsage = Pick<LockTable, 'fence' | 'waitingCount'>

/** How many fences are reserved at a time. */
const blockSize = 2 ** 20

const tooHigh =
  'has fences after the year 2099, as after a start with a wrong clock: use another path, and ' +
  'reset the fences of the protected resources'

export interface Fences {
  /** The first fence is higher than this. */
  readonly start: number
  /**
   * Reserves all fences up to this one. Must be called before they are used.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if they cannot be reserved.
   */
  reserve(upTo: number): void
}

/**
 * Fences that begin at the wall clock, in ms since 1970. Nothing is reserved.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the clock is after the year 2099.
 */
export function clockFences(wallMs: number): Fences {
  return { start: clockFence(wallMs), reserve: refuseUnsafe }
}

/**
 * The fence at which a broker begins by this clock. A broker with an implausible clock does not
 * start, because its fences could never be lowered again.
 */
function clockFence(wallMs: number): number {
  const fence = Math.floor(wallMs) * 1024
  if (fence < maxFenceFloor) return fence
  throw new HoldfastError(
    'UNAVAILABLE',
    `The clock of this machine is at ${wallMs} ms since 1970, which is after the year 2099, and ` +
      'fences begin at the clock: set the clock, then start the broker again',
  )
}

/**
 * A number above 2^53 - 1 is not exact: two fences could be equal. A broker that has no more exact
 * fences fails like one that cannot reserve fences.
 */
function refuseUnsafe(upTo: number): void {
  if (upTo <= Number.MAX_SAFE_INTEGER) return
  throw new HoldfastError(
    'UNAVAILABLE',
    `The fences are used up (the highest possible fence is ${Number.MAX_SAFE_INTEGER}): start ` +
      'with an empty log and another fence file, and reset the fences of the protected resources',
  )
}

/**
 * Claims a fence file, existing or not, until the returned handle is closed or the process ends,
 * because two brokers with one file would grant equal fences. Creates the folder if necessary.
 * Keeps out other brokers in this process, other processes, workers of a cluster, and other
 * containers on the same kernel.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another broker has claimed the file, or the folder
 *   cannot be used.
 */
export function ownFenceFile(path: string): OwnershipHandle {
  const folder = dirname(resolve(path))
  const name = basename(path)
  const owners: OwnershipHandle[] = []
  const close = (): void => {
    for (const owner of owners.splice(0)) owner.close()
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { dev, ino } = statSync(folder)
    // Hashed, so that even a long file name fits into a socket name.
    const id = `holdfast-fences-${dev}-${ino}-${nodeEnvironment.hash(name)}`
    const claims = [
      () => claim(id, join(folder, `${name}.lock`)),
      () => claimAcrossContainers(folder, name),
    ]
    for (const claimNext of claims) {
      const owner = claimNext()
      if (owner === undefined) throw inUse(path)
      owners.push(owner)
    }
    return { close }
  } catch (cause) {
    close()
    throw cause instanceof HoldfastError ? cause : unusable(path, 'cannot be created', cause)
  }
}

/**
 * Fences that are reserved in a file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the file cannot be read or written, is not a fence file,
 *   or has fences that are higher than a broker may begin with, or if the clock is after the year
 *   2099.
 */
export function fileFences(path: string, wallMs: number): Fences {
  // All reserved fences may have been used. Skipping fences costs nothing.
  const start = Math.max(readReserved(path), clockFence(wallMs))
  // A table would ignore this floor, and its fences would be lower than former ones.
  if (start > maxFenceFloor) throw unusable(path, tooHigh, undefined)
  writing(path, () => removeLeftovers(path))
  let reserved = start
  const reserve = (upTo: number): void => {
    if (upTo <= reserved) return
    refuseUnsafe(upTo + blockSize)
    // A broker that the claim cannot keep out, such as one on another machine, must not share
    // fences either.
    if (readReserved(path) > reserved) throw inUse(path)
    writeReserved(path, upTo + blockSize)
    reserved = upTo + blockSize
  }
  reserve(start + 1)
  return { start, reserve }
}

/**
 * Validates a fence file without changing it. Another broker may be using the file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the file cannot be read, or is not a fence file.
 */
export function checkFenceFile(path: string): void {
  readReserved(path)
}

/** The highest fence that the next command can grant: to all waiters and to the request itself. */
export function highestNext({ fence, waitingCount }: FenceUsage): number {
  return fence + waitingCount + 1
}

function readReserved(path: string): number {
  let text: string | undefined
  try {
    text = readPrivateFile(path)
  } catch (cause) {
    const isLink = (cause as NodeJS.ErrnoException).code === 'ELOOP'
    const why = isLink ? 'is a link: use the path of the file itself' : 'cannot be read'
    throw unusable(path, why, cause)
  }
  if (text === undefined) return 0
  const reserved = /^holdfast fences (\d{1,16})\n$/.exec(text)?.[1]
  if (reserved === undefined || !Number.isSafeInteger(Number(reserved))) {
    throw unusable(path, 'is not a fence file: use another path', undefined)
  }
  return Number(reserved)
}

function writeReserved(path: string, reserved: number): void {
  writing(path, () => {
    replacePrivateFile(path, `holdfast fences ${reserved}\n`)
  })
}

function writing(path: string, act: () => void): void {
  try {
    act()
  } catch (cause) {
    throw unusable(path, 'cannot be written', cause)
  }
}

function inUse(path: string): HoldfastError {
  return unusable(path, 'is in use by another broker: use another path', undefined)
}

function unusable(path: string, why: string, cause: unknown): HoldfastError {
  return new HoldfastError('UNAVAILABLE', `The fence file ${path} ${why}`, { cause })
}
