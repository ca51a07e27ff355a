/**
 * Where a broker's fences begin, and how they keep rising over restarts.
 *
 * With nothing on disk they start at the wall clock times 1,024: above everything an earlier broker
 * gave out, as long as that gave out less than a million a second and the clock was not set back by
 * more than the downtime. With a fence file, blocks of 2^20 are written to disk before the first
 * fence of a block is used, so no clock matters.
 */
import { mkdirSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import type { LockTable } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { claim, claimAcrossContainers, type Owner } from '../platform/ownership.js'
import { readPrivate, removeLeftovers, replacePrivate } from '../platform/privateFiles.js'

/** What a table knows of its fences. */
type Fenced = Pick<LockTable, 'fence' | 'waitingCount'>

/** Fences that are reserved at a time. */
const blockSize = 2 ** 20

export interface Fences {
  /** The first fence is above this. */
  readonly start: number
  /**
   * Makes sure that every fence up to this one may be used.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if they may not.
   */
  reserve(upTo: number): void
}

/** Fences that rise with the wall clock, in ms since 1970. */
export function clockFences(wallMs: number): Fences {
  return { start: Math.floor(wallMs) * 1024, reserve: () => {} }
}

/**
 * Makes a fence file, which may not be there yet, this broker's own until the returned owner is
 * closed or the process ends: two brokers would give out the same fences. Makes its folder if need
 * be. Keeps out other brokers of this process, other processes, workers of a cluster, and other
 * containers on the same kernel.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if another broker has it, or the folder cannot be used.
 */
export function ownFenceFile(path: string): Owner {
  const folder = dirname(resolve(path))
  const name = basename(path)
  const owners: Owner[] = []
  const close = (): void => {
    for (const owner of owners.splice(0)) owner.close()
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { dev, ino } = statSync(folder)
    // However long the name of the file is, this is short enough for a socket.
    const id = `holdfast-fences-${dev}-${ino}-${nodeEnvironment.hash(name)}`
    const claims = [
      () => claim(id, join(folder, `${name}.lock`)),
      () => claimAcrossContainers(folder, name),
    ]
    for (const take of claims) {
      const owner = take()
      if (owner === undefined) throw inUse(path)
      owners.push(owner)
    }
    return { close }
  } catch (cause) {
    close()
    throw cause instanceof HoldfastError ? cause : unusable(path, 'cannot be made', cause)
  }
}

/**
 * Fences that are reserved in a file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the file cannot be read or written, or is not a fence
 *   file.
 */
export function fileFences(path: string, wallMs: number): Fences {
  // Whatever was reserved may have been used; a clock that is ahead of it costs nothing.
  const start = Math.max(readReserved(path), Math.floor(wallMs) * 1024)
  writing(path, () => removeLeftovers(path))
  let reserved = start
  const reserve = (upTo: number): void => {
    if (upTo <= reserved) return
    // What cannot be kept out, such as a broker on another machine, must not share these either.
    if (readReserved(path) > reserved) throw inUse(path)
    writeReserved(path, upTo + blockSize)
    reserved = upTo + blockSize
  }
  reserve(start + 1)
  return { start, reserve }
}

/**
 * Looks at a fence file that another broker may be using, and leaves it as it is.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if it cannot be read, or is not a fence file.
 */
export function checkFenceFile(path: string): void {
  readReserved(path)
}

/** One command can grant to everyone who waits, and to the one who asks. */
export function highestNext({ fence, waitingCount }: Fenced): number {
  return fence + waitingCount + 1
}

function readReserved(path: string): number {
  let text: string | undefined
  try {
    text = readPrivate(path)
  } catch (cause) {
    const isLink = (cause as NodeJS.ErrnoException).code === 'ELOOP'
    const why = isLink ? 'is a link; give the path of the file itself' : 'cannot be read'
    throw unusable(path, why, cause)
  }
  if (text === undefined) return 0
  const reserved = /^holdfast fences (\d{1,16})\n$/.exec(text)?.[1]
  if (reserved === undefined || !Number.isSafeInteger(Number(reserved))) {
    throw unusable(path, 'is not a fence file; refusing to guess', undefined)
  }
  return Number(reserved)
}

function writeReserved(path: string, reserved: number): void {
  writing(path, () => {
    replacePrivate(path, `holdfast fences ${reserved}\n`)
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
  return unusable(path, 'is in use by another broker', undefined)
}

function unusable(path: string, why: string, cause: unknown): HoldfastError {
  return new HoldfastError('UNAVAILABLE', `The fence file ${path} ${why}.`, { cause })
}
