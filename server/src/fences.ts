/**
 * Where a broker's fences begin, and how they keep rising over restarts.
 *
 * With nothing on disk they start at the wall clock times 1,024: above everything an earlier broker
 * gave out, as long as that gave out less than a million a second and the clock was not set back by
 * more than the downtime. With a fence file, blocks of 2^20 are written to disk before the first
 * fence of a block is used, so no clock matters.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { HoldfastError } from '@holdfast/shared'
import type { LockTable } from './core/index.js'

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
 * Fences that are reserved in a file.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the file cannot be read or written, or is not a fence
 *   file.
 */
export function fileFences(path: string, wallMs: number): Fences {
  // Whatever was reserved may have been used; a clock that is ahead of it costs nothing.
  const start = Math.max(readReserved(path), Math.floor(wallMs) * 1024)
  let reserved = start
  const reserve = (upTo: number): void => {
    if (upTo <= reserved) return
    writeReserved(path, upTo + blockSize)
    reserved = upTo + blockSize
  }
  reserve(start + 1)
  return { start, reserve }
}

/** One command can grant to everyone who waits, and to the one who asks. */
export function highestNext({ fence, waitingCount }: Fenced): number {
  return fence + waitingCount + 1
}

function readReserved(path: string): number {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw unusable(path, 'cannot be read', cause)
  }
  const reserved = /^holdfast fences (\d{1,16})\n$/.exec(text)?.[1]
  if (reserved === undefined || !Number.isSafeInteger(Number(reserved))) {
    throw unusable(path, 'is not a fence file; refusing to guess', undefined)
  }
  return Number(reserved)
}

/** Written beside, flushed, then moved into place: a crash leaves the old number or the new one. */
function writeReserved(path: string, reserved: number): void {
  try {
    const beside = `${path}.new`
    const file = openSync(beside, 'w')
    writeSync(file, `holdfast fences ${reserved}\n`)
    fsyncSync(file)
    closeSync(file)
    renameSync(beside, path)
    const folder = openSync(dirname(path), 'r')
    fsyncSync(folder)
    closeSync(folder)
  } catch (cause) {
    throw unusable(path, 'cannot be written', cause)
  }
}

function unusable(path: string, why: string, cause: unknown): HoldfastError {
  return new HoldfastError('UNAVAILABLE', `The fence file ${path} ${why}.`, { cause })
}
