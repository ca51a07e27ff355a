/**
 * Reads the CPU time and the memory that a process has used, and the traffic over loopback. The
 * figures come from `/proc`. On a machine without `/proc`, each process reports its own figures.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export interface Usage {
  /** User and system time since the process began, in µs. */
  readonly cpuUs: number
  /** Resident memory now, in bytes. */
  readonly rssBytes: number
}

/** The length of a tick in `/proc/PID/stat`: 10 ms on every Linux that Node supports. */
const tickUs = 10_000

/** Whether this machine has `/proc`. */
export const hasProc: boolean = existsSync('/proc/self/stat')

/** The usage of a process and its children (such as the backends of a database), from `/proc`. */
export function usageFromProc(pid: number): Usage {
  let cpuUs = 0
  let rssBytes = 0
  for (const processId of withDescendants(pid)) {
    try {
      cpuUs += cpuOf(processId)
      rssBytes += residentBytes(processId)
    } catch (error) {
      // A child may end after it was listed.
      if (processId === pid) throw error
    }
  }
  return { cpuUs, rssBytes }
}

/** The CPU time in µs, in whole ticks if the kernel does not report the time of each thread. */
function cpuOf(pid: number): number {
  if (!existsSync(`/proc/${pid}/schedstat`)) return ticksOf(pid) * tickUs
  // The first number in the file of a thread is the CPU time of this thread, in ns.
  let ns = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number.parseInt(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8'), 10)
  }
  return ns / 1_000
}

/**
 * User and system time in ticks: fields 14 and 15 of the file. Field 2, the name in parentheses,
 * may contain spaces, so the code drops the text up to its end. Index 0 is then field 3.
 */
function ticksOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}

/** The usage of this process, which Node reports more exactly than `/proc`. */
export function ownUsage(): Usage {
  return { cpuUs: ownCpuUs(), rssBytes: process.memoryUsage.rss() }
}

/** The CPU time of this process so far, in µs. */
export function ownCpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** The peak of the resident memory of a process, in bytes; undefined without `/proc`. */
export function peakBytes(pid: number): number | undefined {
  if (!existsSync(`/proc/${pid}/status`)) return undefined
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  // VmHWM is the "high water mark" of the resident memory.
  const kilobytes = /^VmHWM:\s+(\d+)/m.exec(text)?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}

/** The resident memory of one process, in bytes. */
function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes ?? 0) * 1024
}

/** The ids of a process and of all its descendants. */
function withDescendants(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`
  if (!existsSync(file)) return [pid]
  const children = readFileSync(file, 'utf8').trim()
  if (children === '') return [pid]
  return [pid, ...children.split(' ').flatMap((child) => withDescendants(Number(child)))]
}

/**
 * The numbers of bytes and packets that all processes have sent over loopback; undefined if the
 * system does not count them.
 */
export function loopbackTraffic(): { packets: number; bytes: number } | undefined {
  if (!existsSync('/proc/net/dev')) return undefined
  const fields = /^\s*lo:\s*(.*)$/m.exec(readFileSync('/proc/net/dev', 'utf8'))?.[1]?.split(/\s+/)
  // The first two fields count received bytes and packets. Loopback receives what it sends.
  return fields && { bytes: Number(fields[0]), packets: Number(fields[1]) }
}
