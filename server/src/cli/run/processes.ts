/**
 * Reads the group, the state and the terminal of processes, sends signals to process groups, and
 * waits until a group is empty. A process group is a command with the processes that the command
 * has started. Linux lists processes in /proc. On other systems this file runs the POSIX command
 * ps(1).
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessInfo {
  readonly pid: number
  readonly parentPid: number
  /** The id of the process group of the process. */
  readonly group: number
  /** The letter of ps(1), such as R for running, T and t for stopped, Z and X for dead. */
  readonly state: string
  /**
   * The id of the process group that is in the foreground of the terminal of the process; undefined
   * if the process has no terminal.
   */
  readonly foregroundGroup: number | undefined
}

/** The process with this id; undefined if no such process exists. */
export function processOf(pid: number): ProcessInfo | undefined {
  if (process.platform === 'linux') return fromProc(String(pid))
  return fromPs(['-p', String(pid)])[0]
}

/** All processes that this user may see; empty if the system lists none. */
export function processes(): ProcessInfo[] {
  if (process.platform !== 'linux') return fromPs(['-A'])
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(fromProc)
      .filter((info) => info !== undefined)
  } catch {
    return []
  }
}

/** Whether this process is in the foreground of its terminal. */
export function isInForeground(): boolean {
  const self = processOf(process.pid)
  return self?.foregroundGroup !== undefined && self.foregroundGroup === self.group
}

/** Whether the process is a zombie, or does not exist. */
export function isDead(info: ProcessInfo | undefined): boolean {
  return info === undefined || /^[ZX]/.test(info.state)
}

export function isStopped(info: ProcessInfo | undefined): boolean {
  return info !== undefined && /^[Tt]/.test(info.state)
}

/** Reads one process from /proc; undefined if the process does not exist. */
function fromProc(pid: string): ProcessInfo | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // Read the fields after the last bracket and its space. The name of the program stands in
  // brackets before these fields, and may itself contain spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // The fourth field, the POSIX session, is not needed. The terminal 0 means no terminal,
  // and the group -1 means no group.
  const [state = 'X', parentPid, group, , terminal, foregroundGroup] = fields
  return {
    pid: Number(pid),
    parentPid: Number(parentPid),
    group: Number(group),
    state,
    foregroundGroup:
      terminal === '0' || foregroundGroup === '-1' ? undefined : Number(foregroundGroup),
  }
}

/** Reads processes from the output of ps(1). */
function fromPs(selection: readonly string[]): ProcessInfo[] {
  const columns = ['pid', 'ppid', 'pgid', 'state', 'tpgid'].flatMap((name) => ['-o', `${name}=`])
  const { stdout } = spawnSync('ps', [...selection, ...columns], { encoding: 'utf8' })
  const lines = (stdout ?? '').split('\n').map((line) => line.trim().split(/\s+/))
  return (
    lines
      // The output ends with an empty line. Every other line has the five columns.
      .filter((fields) => fields.length === 5)
      .map(([pid, parentPid, group, state = 'X', foregroundGroup]) => ({
        pid: Number(pid),
        parentPid: Number(parentPid),
        group: Number(group),
        state,
        foregroundGroup: Number(foregroundGroup) > 0 ? Number(foregroundGroup) : undefined,
      }))
  )
}

/** `forbidden`: the group exists, but this user may signal none of its processes. */
export type SignalResult = 'sent' | 'gone' | 'forbidden'

/** The time between the first two checks of a group, in ms: short, as most groups end quickly. */
const firstPauseMs = 5
/** The longest time between two checks of a group, in ms. The time doubles after each check. */
const longestPauseMs = 250
/** How long a group may outlive its command before the user is informed, in ms. */
const msBeforeReport = 200

/** Sends a signal to every process of a group; signal 0 only checks whether the group exists. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): SignalResult {
  try {
    process.kill(-group, signal)
    return 'sent'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ESRCH') return 'gone'
    if (code === 'EPERM') return 'forbidden'
    throw error
  }
}

/**
 * Resolves when no process of the group is alive.
 *
 * @param onWait Called once, with the number of living processes, if a process of the group is
 *   still alive after 200 ms.
 */
export function untilGroupEnds(
  group: number,
  onWait: (livingCount: number) => void,
): Promise<void> {
  const startedAt = performance.now()
  let hasReported = false
  let wasEmpty = false
  return new Promise((resolve) => {
    const check = (pauseMs: number) => {
      const livingCount = countLiving(group)
      // Reading the process list takes time, and a process that starts during the reading can be
      // missing in the list. So the group counts as empty only if two lists in a row have no
      // living process of the group.
      if (livingCount === 'gone' || (livingCount === 0 && wasEmpty)) return resolve()
      wasEmpty = livingCount === 0
      if (!hasReported && livingCount > 0 && performance.now() - startedAt > msBeforeReport) {
        hasReported = true
        onWait(livingCount)
      }
      const nextPauseMs = Math.min(longestPauseMs, pauseMs * 2)
      setTimeout(() => check(nextPauseMs), pauseMs)
    }
    check(firstPauseMs)
  })
}

/**
 * How many processes of the group are alive; `gone` if the group has no processes any more, not
 * even zombies.
 */
function countLiving(group: number): number | 'gone' {
  const signalResult = signalGroup(group, 0)
  if (signalResult === 'gone') return 'gone'
  const allProcesses = processes()
  const livingCount = allProcesses.filter((info) => info.group === group && !isDead(info)).length
  // Some systems hide the processes of other users, or all processes. A group that may be hidden
  // counts as alive.
  const mayBeHidden = signalResult === 'forbidden' || allProcesses.length === 0
  return mayBeHidden ? Math.max(1, livingCount) : livingCount
}
