/** Reads the state of processes from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/** The state of a process as in ps(1), such as Z for a zombie; undefined for no process. */
export function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The line has the id, the name in parentheses, the state, the id of the parent, and so on. The
    // name may also contain parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2)[0]
  } catch {
    return undefined
  }
}

/**
 * Whether a process runs. A dead process (X) does not run, and neither does a zombie (Z): it has
 * ended, but its parent has not read the exit code.
 */
export function isAlive(pid: number): boolean {
  return !['Z', 'X', undefined].includes(stateOf(pid))
}

/** The ids of the living processes that have this text as an argument. */
export function processesWithArgument(argument: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => argumentsOf(pid).includes(argument) && isAlive(pid))
}

/** The words of the command line of a process; empty if the process has ended. */
function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

/** The id of the parent of a process; undefined if there is no such process. */
export function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The id of the parent is the word after the state.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
