/**
 * A direction of a connection that can fall silent without anybody being told: what is sent is kept
 * back, as a network keeps retransmitting what does not arrive, until the valve is open again.
 */
import type { Filter, Passage } from './proxy.js'

export class Valve {
  #isShut = false
  readonly #kept: { readonly bytes: Buffer; readonly passage: Passage }[] = []

  readonly filter: Filter = (bytes, passage) => {
    if (this.#isShut) this.#kept.push({ bytes, passage })
    else passage.pass(bytes)
  }

  shut(): void {
    this.#isShut = true
  }

  open(): void {
    this.#isShut = false
    for (const { bytes, passage } of this.#kept.splice(0)) passage.pass(bytes)
  }
}
