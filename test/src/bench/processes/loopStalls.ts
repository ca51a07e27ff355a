/**
 * Reads how long the event loop of a server stalled. The server records each stall in a file, so
 * that the record exists even if the server never responds again.
 */
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * The time between two checks of the loop, in ms. If a check is late by more than this time, the
 * loop has stalled.
 */
export const checkMs = 5

/**
 * The path of the file in which a server process records its stalls. Each line has the end of a
 * stall, in ms since 1970, and the length of the stall, in ms.
 */
export function stallFile(pid: number): string {
  return join(tmpdir(), `holdfast-loop-${pid}`)
}

/**
 * The longest stall that ended after `since`, in ms; 0 if no stall ended after `since`.
 *
 * @param since In ms since 1970.
 */
export function longestStall(pid: number, since: number): number {
  const lines = readFileSync(stallFile(pid), 'utf8').split('\n')
  let longest = 0
  for (const line of lines) {
    // The text after the last line break is empty, and counts as a stall of 0 ms in 1970.
    const [end = 0, ms = 0] = line.split(' ').map(Number)
    if (end >= since) longest = Math.max(longest, ms)
  }
  return longest
}

/** Removes the stall file of a process. */
export function removeStallFile(pid: number): void {
  rmSync(stallFile(pid), { force: true })
}
