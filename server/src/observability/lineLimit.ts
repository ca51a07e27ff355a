/**
 * Bounds the lines that clients can cause in a log, because a client could fill the disk. The limit
 * allows 100 lines a second of each kind, and counts the lines that are left out. Each kind is
 * counted by itself, so that no flood of one kind hides lines of another.
 */
import type { Clock } from '@holdfast/shared'

/** How many lines of a kind are written in a second; further lines are only counted. */
const maxLinesPerSecond = 100

/** How many lines of a kind were written and left out in the present second. */
interface LineCounts {
  written: number
  leftOut: number
}

export class LineLimit<Kind extends string> {
  readonly #clock: Clock
  readonly #onLeftOut: (kind: Kind, count: number) => void
  /** When the present second began, in ms of the monotonic clock. */
  #secondBeganAt = Number.NEGATIVE_INFINITY
  /** The counts of the present second, for the kinds that had lines in it. */
  readonly #counts = new Map<Kind, LineCounts>()

  /**
   * @param onLeftOut Writes how many lines of a kind were left out in a second. Called before the
   *   first line of a later second, and by {@link endSecond}.
   */
  constructor(clock: Clock, onLeftOut: (kind: Kind, count: number) => void) {
    this.#clock = clock
    this.#onLeftOut = onLeftOut
  }

  /** Counts a line of this kind. Returns whether the line may be written. */
  allows(kind: Kind): boolean {
    this.endPassedSecond()
    let counts = this.#counts.get(kind)
    if (counts === undefined) {
      counts = { written: 0, leftOut: 0 }
      this.#counts.set(kind, counts)
    }
    if (counts.written >= maxLinesPerSecond) {
      counts.leftOut++
      return false
    }
    counts.written++
    return true
  }

  /**
   * Begins a new second if 1,000 ms have passed since the last one began. Call before a line of a
   * kind without a limit is written, so that the report of the passed second comes before the line.
   */
  endPassedSecond(): void {
    const now = this.#clock.monotonic()
    if (now - this.#secondBeganAt < 1_000) return
    this.#secondBeganAt = now
    this.endSecond()
  }

  /** Reports how many lines of each kind were left out, and clears the counts. */
  endSecond(): void {
    for (const [kind, { leftOut }] of this.#counts) {
      if (leftOut > 0) this.#onLeftOut(kind, leftOut)
    }
    this.#counts.clear()
  }
}
