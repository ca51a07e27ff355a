/**
 * A valve in one direction of a connection. A shut valve makes the direction silent, and no end of
 * the connection is notified. The valve keeps the bytes until it opens again, as a network does
 * that keeps retransmitting.
 */
import type { Filter, ProxiedConnection } from './proxy.js'

export class Valve {
  #isShut = false
  readonly #kept: { readonly bytes: Buffer; readonly passage: ProxiedConnection }[] = []

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
