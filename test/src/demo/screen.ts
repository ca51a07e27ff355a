/**
 * The output of the demo: one line for each event, in columns, with a color for each name.
 */
import colors from 'picocolors'

/** The events, as the second column shows them. */
export type Deed = 'asks' | 'takes' | 'waits' | 'is pushed' | 'unlocks' | 'is killed' | 'loses'

const paints = [colors.cyan, colors.yellow, colors.magenta, colors.green, colors.blue]

const deedPaints: Record<Deed, (text: string) => string> = {
  asks: colors.dim,
  takes: colors.green,
  waits: colors.dim,
  'is pushed': (text) => colors.bold(colors.green(text)),
  unlocks: (text) => text,
  'is killed': (text) => colors.bold(colors.red(text)),
  loses: colors.red,
}

export class Screen {
  #startedAt = performance.now()
  readonly #paintOf = new Map<string, (text: string) => string>()
  readonly #write: (line: string) => void

  constructor(names: readonly string[], write: (line: string) => void) {
    this.#write = write
    for (const [i, name] of names.entries()) this.#paintOf.set(name, paints[i % paints.length]!)
  }

  /** Sets the time 0 of the output. */
  start(): void {
    this.#startedAt = performance.now()
  }

  /** Prints a line of text. */
  say(text = ''): void {
    this.#write(text)
  }

  /** Prints an event. */
  show(name: string, deed: Deed, key: string, detail = ''): void {
    const seconds = ((performance.now() - this.#startedAt) / 1_000).toFixed(3).padStart(7)
    const worker = this.name(name, 6)
    const event = deedPaints[deed](deed.padEnd(9))
    this.#write(`${colors.dim(seconds)}  ${worker} ${event} ${key.padEnd(9)} ${detail}`.trimEnd())
  }

  name(name: string, width = 0): string {
    return (this.#paintOf.get(name) ?? colors.bold)(name.padEnd(width))
  }

  /** A fence with its last four digits in bold, because only these change visibly. */
  fence(fence: number): string {
    const digits = String(fence)
    return `fence ${colors.dim(digits.slice(0, -4))}${colors.bold(digits.slice(-4))}`
  }
}
