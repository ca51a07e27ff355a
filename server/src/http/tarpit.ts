/**
 * Where upgrades wait that are refused because they come too often. Whoever is told so at once asks
 * again at once, and a broker that does nothing but refuse has no time for those it serves; whoever
 * is told a moment later comes that much less often.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '@holdfast/shared'
import type { RefusedUpgrade } from './upgradePolicy.js'
import { refuse } from './upgradeRouting.js'

/** How long a refusal takes, in ms. */
const delayMs = 500
/** Who comes when as many wait is cut without a word. */
const mostWaiting = 1_000

export class Tarpit {
  readonly #clock: Clock
  readonly #waiting = new Map<Duplex, Timer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Refuses the upgrade, later. */
  keep(raw: Duplex, refusal: RefusedUpgrade): void {
    if (this.#waiting.size >= mostWaiting) {
      raw.destroy()
      return
    }
    const answer = (): void => {
      this.#waiting.delete(raw)
      refuse(raw, refusal)
    }
    this.#waiting.set(raw, this.#clock.setTimer(answer, delayMs))
    raw.on('error', () => raw.destroy())
    raw.on('close', () => this.#forget(raw))
  }

  /** Sends everybody away, so that no socket is left open. */
  close(): void {
    for (const raw of this.#waiting.keys()) {
      this.#forget(raw)
      raw.destroy()
    }
  }

  #forget(raw: Duplex): void {
    const timer = this.#waiting.get(raw)
    if (timer !== undefined) this.#clock.clearTimer(timer)
    this.#waiting.delete(raw)
  }
}
