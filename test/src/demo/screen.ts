/**
 * How the demo looks: one line for each thing that happens, in columns, each name in its colour.
 */
import colors from 'picocolors'

/** What happens, in the words of the second column. */
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

  /** Counts time from here. */
  start(): void {
    this.#startedAt = performance.now()
  }

  /** Something for people to read, in the middle of it all. */
  say(text = ''): void {
    this.#write(text)
  }

  /** One thing that happened. */
  show(name: string, deed: Deed, key: string, detail = ''): void {
    const seconds = ((performance.now() - this.#startedAt) / 1_000).toFixed(3).padStart(7)
    const who = this.name(name, 6)
    const what = deedPaints[deed](deed.padEnd(9))
    this.#write(`${colors.dim(seconds)}  ${who} ${what} ${key.padEnd(9)} ${detail}`.trimEnd())
  }

  name(name: string, width = 0): string {
    return (this.#paintOf.get(name) ?? colors.bold)(name.padEnd(width))
  }

  /** A fence: only its end changes while one looks. */
  fence(fence: number): string {
    const digits = String(fence)
    return `fence ${colors.dim(digits.slice(0, -4))}${colors.bold(digits.slice(-4))}`
  }
}
