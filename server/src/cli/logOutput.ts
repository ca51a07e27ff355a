/**
 * Writes the lines of the broker's logger or audit log, to standard error or to a file. Writes in
 * the background, because a slow reader or disk must not delay the broker.
 *
 * While the reader of standard error reads nothing, clients can cause any number of lines. So that
 * these lines do not use up the memory, at most 16 MiB of lines wait. Further lines are dropped.
 */
import { plainJson } from './output.js'

/** The limit of all waiting lines together, in bytes. */
const defaultMaxBytes = 16 * 1024 * 1024

export interface LogOutput {
  /** Writes one line. Escapes its control characters, except the line feed at its end. */
  write(line: string): void
  /** Writes the waiting lines before it returns. Does not throw: `onError` gets every error. */
  flush(): void
}

export interface LogOutputOptions {
  /** The path of a file, or a file descriptor. */
  readonly dest: string | number
  readonly onError: (error: Error) => void
  /** Called with the number of dropped lines, when all waiting lines have been written. */
  readonly onDropped: (lineCount: number) => void
  /** The limit of all waiting lines together. Default 16 MiB. */
  readonly maxBytes?: number | undefined
}

/** Opens the output. Appends to a file that exists already. */
export async function openLogOutput(options: LogOutputOptions): Promise<LogOutput> {
  const { dest, onError, onDropped, maxBytes = defaultMaxBytes } = options
  const { pino } = await import('pino')
  const out = pino.destination({ dest, append: true, sync: false, maxLength: maxBytes })
  let droppedCount = 0
  out.on('error', onError)
  out.on('drop', () => {
    droppedCount++
  })
  out.on('drain', () => {
    if (droppedCount === 0) return
    const lineCount = droppedCount
    droppedCount = 0
    onDropped(lineCount)
  })
  return {
    write: (line) => out.write(escaped(line)),
    flush: () => {
      try {
        out.flushSync()
      } catch {
        // `onError` has been called.
      }
    },
  }
}

/**
 * Escapes the control characters that JSON does not escape, because an operator may read the lines
 * in a terminal. Keeps the line feed at the end of the line.
 */
function escaped(line: string): string {
  return `${plainJson(line.trimEnd())}\n`
}
