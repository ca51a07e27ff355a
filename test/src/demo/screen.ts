/**
 * The output of the demo: one line for each event, in columns, with a color for each name.
 */
import colors from 'picocolors'

/**
 * What a worker does or what happens to it. A worker `takes` a lock that is granted immediately,
 * and `gets` a lock for which it `waits`.
 */
export type Action = 'asks' | 'takes' | 'waits' | 'gets' | 'unlocks' | 'is killed' | 'loses'

/** The widths of the columns, in characters. */
const widths = { seconds: 7, name: 6, action: 9, key: 9 }

const nameColors = [colors.cyan, colors.yellow, colors.magenta, colors.green, colors.blue]

const actionColors: Record<Action, (text: string) => string> = {
  asks: colors.dim,
  takes: colors.green,
  waits: colors.dim,
  gets: (text) => colors.bold(colors.green(text)),
  unlocks: (text) => text,
  'is killed': (text) => colors.bold(colors.red(text)),
  loses: colors.red,
}

export class Screen {
  /** When {@link start} was called. The value before this call is not used. */
  #startedAt = performance.now()
  readonly #colorOf = new Map<string, (text: string) => string>()
  readonly #write: (line: string) => void

  constructor(names: readonly string[], write: (line: string) => void) {
    this.#write = write
    for (const [i, name] of names.entries()) {
      this.#colorOf.set(name, nameColors[i % nameColors.length]!)
    }
  }

  /** Starts the clock. The line of an event shows the time since this call. */
  start(): void {
    this.#startedAt = performance.now()
  }

  /** Prints a line of text. */
  printLine(text = ''): void {
    this.#write(text)
  }

  /** Prints the line of an event. */
  show(name: string, action: Action, key: string, detail = ''): void {
    const elapsed = (performance.now() - this.#startedAt) / 1_000
    const seconds = colors.dim(elapsed.toFixed(3).padStart(widths.seconds))
    const worker = this.name(name, widths.name)
    const event = actionColors[action](action.padEnd(widths.action))
    this.#write(`${seconds}  ${worker} ${event} ${key.padEnd(widths.key)} ${detail}`.trimEnd())
  }

  /** A name in its color, or in bold if the name has no color, filled with spaces to a width. */
  name(name: string, width = 0): string {
    return (this.#colorOf.get(name) ?? colors.bold)(name.padEnd(width))
  }

  /**
   * A fence, which is the number of a grant. A fence has many digits, because the broker takes the
   * first fence from its clock. Only the last four digits change during the demo. They are bold.
   */
  fence(fence: number): string {
    const digits = String(fence)
    return `fence ${colors.dim(digits.slice(0, -4))}${colors.bold(digits.slice(-4))}`
  }
}
