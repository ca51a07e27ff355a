/**
 * Delays the refusal of upgrades that exceed a limit. An upgrade is the HTTP request with which a
 * WebSocket begins. A client that is refused without delay can try again without delay.
 * Answering many such clients would take the time that the broker needs for its sessions.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '@holdfast/shared'
import type { RefusedUpgrade } from './upgradePolicy.js'
import { refuse } from './upgradeRouting.js'

/** How long a refusal is delayed, in ms. */
const delayMs = 500
/** How many refusals may be delayed at a time. Further sockets are closed without an answer. */
const maxDelayed = 1_000

export class Tarpit {
  readonly #clock: Clock
  /** The sockets whose refusal is delayed. */
  readonly #delayed = new Map<Duplex, Timer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Refuses the upgrade after the delay. @param raw The TCP or TLS socket of the request */
  refuseLater(raw: Duplex, refusal: RefusedUpgrade): void {
    if (this.#delayed.size >= maxDelayed) {
      raw.destroy()
      return
    }
    const answer = (): void => {
      this.#delayed.delete(raw)
      refuse(raw, refusal)
    }
    this.#delayed.set(raw, this.#clock.setTimer(answer, delayMs))
    raw.on('error', () => raw.destroy())
    raw.on('close', () => this.#remove(raw))
  }

  /** Destroys all delayed sockets. */
  close(): void {
    for (const raw of this.#delayed.keys()) {
      this.#remove(raw)
      raw.destroy()
    }
  }

  #remove(raw: Duplex): void {
    const timer = this.#delayed.get(raw)
    if (timer !== undefined) this.#clock.clearTimer(timer)
    this.#delayed.delete(raw)
  }
}
