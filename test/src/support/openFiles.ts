/** How many sockets a process of this machine can open. */
import { existsSync, readFileSync } from 'node:fs'

/** The usual limit of Linux, for a machine without the file of the limits. */
const usualLimit = 1_024
/** Open files that are left for other uses. */
const otherFiles = 200

/**
 * Returns how many sockets this process can open, with 200 open files left for other uses. A child
 * process, for instance a broker, has the same limit.
 */
export function maxSockets(): number {
  const file = '/proc/self/limits'
  const limits = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? usualLimit) - otherFiles
}
