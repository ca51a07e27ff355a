/**
 * What the system says of processes: their group, their state, their terminal. Linux has it in
 * /proc; elsewhere ps(1) is asked, in the form that POSIX gives it.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessInfo {
  readonly pid: number
  readonly parent: number
  /** Its process group. */
  readonly group: number
  /** The letter of ps(1): R, S, D, T for stopped, Z and X for dead. */
  readonly state: string
  /** The process group in the foreground of its terminal; undefined without a terminal. */
  readonly foreground: number | undefined
}

/** One process; undefined if there is none of this id. */
export function processOf(pid: number): ProcessInfo | undefined {
  if (process.platform === 'linux') return fromProc(String(pid))
  return fromPs(['-p', String(pid)])[0]
}

/** All processes that this user may see; none if the system does not say. */
export function processes(): ProcessInfo[] {
  if (process.platform !== 'linux') return fromPs(['-A'])
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(fromProc)
      .filter((one) => one !== undefined)
  } catch {
    return []
  }
}

/** Whether this process is in the foreground of its terminal. */
export function isInForeground(): boolean {
  const self = processOf(process.pid)
  return self?.foreground !== undefined && self.foreground === self.group
}

/** A dead process that its parent has not collected yet, or that vanished. */
export function isDead(info: ProcessInfo | undefined): boolean {
  return info === undefined || /^[ZX]/.test(info.state)
}

export function isStopped(info: ProcessInfo | undefined): boolean {
  return info !== undefined && /^[Tt]/.test(info.state)
}

function fromProc(pid: string): ProcessInfo | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The name before may contain spaces and brackets of its own.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = 'X', parent, group, , terminal, foreground] = fields
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    state,
    foreground: terminal === '0' || foreground === '-1' ? undefined : Number(foreground),
  }
}

function fromPs(selection: readonly string[]): ProcessInfo[] {
  const columns = ['pid', 'ppid', 'pgid', 'state', 'tpgid'].flatMap((name) => ['-o', `${name}=`])
  const { stdout } = spawnSync('ps', [...selection, ...columns], { encoding: 'utf8' })
  const lines = (stdout ?? '').split('\n').map((line) => line.trim().split(/\s+/))
  return lines
    .filter((fields) => fields.length === 5)
    .map(([pid, parent, group, state = 'X', foreground]) => ({
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      state,
      foreground: Number(foreground) > 0 ? Number(foreground) : undefined,
    }))
}
