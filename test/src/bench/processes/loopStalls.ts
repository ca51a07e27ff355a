/**
 * How long the event loop of a server stood still, by its own account, which is in a file: so it is
 * also there if the server never comes back to tell.
 */
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** How often the loop is looked at, in ms; what is not longer than twice that is no stall. */
export const lookMs = 5

/** Where the process of this id writes a line for each stall: when it ended, and its length. */
export function stallFile(pid: number): string {
  return join(tmpdir(), `holdfast-loop-${pid}`)
}

/**
 * The longest stall that ended since `since`, in ms; 0 if there was none.
 *
 * @param since In ms since 1970.
 */
export function longestStall(pid: number, since: number): number {
  const lines = readFileSync(stallFile(pid), 'utf8').split('\n')
  let longest = 0
  for (const line of lines) {
    const [at = 0, ms = 0] = line.split(' ').map(Number)
    if (at >= since) longest = Math.max(longest, ms)
  }
  return longest
}

/** Removes the file of a process that is not looked at any more. */
export function forgetStalls(pid: number): void {
  rmSync(stallFile(pid), { force: true })
}
