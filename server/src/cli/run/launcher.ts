/**
 * What `bin/holdfast`, the shell script that starts Node, notes for us in variables: the signals
 * that this process was told to ignore, which Node sets back before any JavaScript runs, and
 * variables that the shell drops. Started in another way, nothing is known of the signals.
 */
import { constants } from 'node:os'
import { noteVariable, nullTerminated } from './bytes.js'

/** Names that a POSIX shell can write. It drops the others, such as `spring.profile`. */
export const plainName = /^[A-Za-z_][A-Za-z0-9_]*$/

const { _HOLDFAST_SIGIGN: ignored = '', _HOLDFAST_ENVIRON: environ = '' } = process.env
// They are true of this process, not of those that it starts.
delete process.env['_HOLDFAST_SIGIGN']
delete process.env['_HOLDFAST_ENVIRON']

for (const bytes of nullTerminated(Buffer.from(environ, 'base64'))) {
  const entry = bytes.toString('utf8')
  const end = entry.indexOf('=')
  if (end > 0 && !plainName.test(entry.slice(0, end))) {
    process.env[entry.slice(0, end)] = entry.slice(end + 1)
    noteVariable(bytes)
  }
}

/** Their numbers; the real-time signals have no names. */
export const ignoredSignals: readonly number[] = numbersFrom(ignored)

/** Those of them that Node has a name for. */
export const ignoredNames: ReadonlySet<string> = new Set(
  Object.entries(constants.signals)
    .filter(([, number]) => ignoredSignals.includes(number))
    .map(([name]) => name),
)

/** These signals without those that this process was told to ignore. */
export function heeded<S extends NodeJS.Signals>(signals: readonly S[]): S[] {
  return signals.filter((signal) => !ignoredNames.has(signal))
}

/** Ignores them again, as far as Node can. */
export function ignoreAgain(): void {
  for (const name of ignoredNames) process.on(name as NodeJS.Signals, () => {})
}

/**
 * From the mask of `SigIgn` in /proc/self/status, or from what `trap` of the shell prints where
 * there is no /proc: lines such as `trap -- '' SIGHUP`.
 */
export function numbersFrom(text: string): number[] {
  if (/^[0-9a-f]+$/i.test(text)) {
    const mask = BigInt(`0x${text}`)
    return Array.from({ length: 64 }, (_, i) => i + 1).filter(
      (number) => ((mask >> BigInt(number - 1)) & 1n) === 1n && !isOutOfReach(number),
    )
  }
  return [...text.matchAll(/^trap -- '' (?:SIG)?(\w+)$/gm)]
    .map(([, name]) => constants.signals[`SIG${name}` as NodeJS.Signals])
    .filter((number) => number !== undefined && !isOutOfReach(number))
}

/** No process can ignore these. */
function isOutOfReach(number: number): boolean {
  return number === constants.signals.SIGKILL || number === constants.signals.SIGSTOP
}
