/**
 * How long the event loop of a server stalled, as recorded by the server in a file. The file exists
 * even if the server never responds again.
 */
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** How often the loop is checked, in ms; a delay of up to twice this time is not a stall. */
export const checkMs = 5

/** The file of the process with this id. Each line has the end of a stall and its length. */
export function stallFile(pid: number): string {
  return join(tmpdir(), `holdfast-loop-${pid}`)
}

/**
 * The longest stall that ended after `since`, in ms; 0 if there was none.
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

/** Removes the file of a process. */
export function removeStallFile(pid: number): void {
  rmSync(stallFile(pid), { force: true })
}
