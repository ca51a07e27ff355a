/**
 * Reads two environment variables that `bin/holdfast`, the shell script that starts Node, sets for
 * this process:
 * - `_HOLDFAST_SIGIGN` lists the signals that were ignored when the script started. JavaScript
 *   cannot find out, because Node stops ignoring these signals before any JavaScript runs.
 * - `_HOLDFAST_ENVIRON` has, in base64, the variables whose names a shell cannot use, because some
 *   shells do not pass such variables on.
 *
 * If Node was started without this script, the ignored signals are not known.
 */
import { constants } from 'node:os'
import { addRawVariable, splitAtNullBytes } from './bytes.js'

/**
 * Matches the names of variables that a POSIX shell keeps. The shell drops variables with other
 * names, such as `spring.profile`.
 */
export const shellVariableName = /^[A-Za-z_][A-Za-z0-9_]*$/

const { _HOLDFAST_SIGIGN: ignoredList = '', _HOLDFAST_ENVIRON: environmentBase64 = '' } =
  process.env
// Remove both variables, because they describe this process and not the processes that this process
// starts.
delete process.env['_HOLDFAST_SIGIGN']
delete process.env['_HOLDFAST_ENVIRON']

for (const bytes of splitAtNullBytes(Buffer.from(environmentBase64, 'base64'))) {
  const assignment = bytes.toString('utf8')
  const equalsAt = assignment.indexOf('=')
  if (equalsAt > 0 && !shellVariableName.test(assignment.slice(0, equalsAt))) {
    process.env[assignment.slice(0, equalsAt)] = assignment.slice(equalsAt + 1)
    // `process.env` cannot hold bytes that are not UTF-8. This call keeps such bytes for the
    // command that this process starts.
    addRawVariable(bytes)
  }
}

/** The ignored signals as numbers, because real-time signals have no names. */
export const ignoredSignals: readonly number[] = parseIgnoredSignals(ignoredList)

/** The names of the ignored signals; real-time signals have none. */
export const ignoredSignalNames: ReadonlySet<string> = new Set(
  Object.entries(constants.signals)
    .filter(([, signal]) => ignoredSignals.includes(signal))
    .map(([name]) => name),
)

/** The given signals without the signals that were ignored at the start of this process. */
export function withoutIgnored<S extends NodeJS.Signals>(signals: readonly S[]): S[] {
  return signals.filter((signal) => !ignoredSignalNames.has(signal))
}

/** Ignores `ignoredSignals` again, except the real-time signals, which Node cannot ignore. */
export function restoreIgnoredSignals(): void {
  for (const name of ignoredSignalNames) process.on(name as NodeJS.Signals, () => {})
}

/**
 * Returns the numbers of the ignored signals.
 *
 * @param text The mask `SigIgn` of /proc/self/status, in hexadecimal. On systems without /proc, the
 *   output of the shell's `trap`, with lines such as `trap -- '' SIGHUP`.
 */
export function parseIgnoredSignals(text: string): number[] {
  if (/^[0-9a-f]+$/i.test(text)) {
    // Bit 0 of the mask is signal 1. Linux has 64 signals.
    const mask = BigInt(`0x${text}`)
    return Array.from({ length: 64 }, (_, i) => i + 1).filter(
      (signal) => ((mask >> BigInt(signal - 1)) & 1n) === 1n && canBeIgnored(signal),
    )
  }
  return [...text.matchAll(/^trap -- '' (?:SIG)?(\w+)$/gm)]
    .map(([, name]) => constants.signals[`SIG${name}` as NodeJS.Signals])
    .filter((signal) => signal !== undefined && canBeIgnored(signal))
}

function canBeIgnored(signal: number): boolean {
  return signal !== constants.signals.SIGKILL && signal !== constants.signals.SIGSTOP
}
