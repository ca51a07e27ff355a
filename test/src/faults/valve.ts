/**
 * A valve in one direction of a connection through a proxy. While the valve is shut, no bytes pass
 * in this direction, and neither client nor broker is notified. When the test opens the valve, the
 * kept bytes pass, as in a network in which senders retransmit lost packets.
 */
import type { Filter, ProxiedConnection } from './proxy.js'

export class Valve {
  #isShut = false
  readonly #keptChunks: { readonly bytes: Buffer; readonly connection: ProxiedConnection }[] = []

  readonly filter: Filter = (bytes, connection) => {
    if (this.#isShut) this.#keptChunks.push({ bytes, connection })
    else connection.pass(bytes)
  }

  /** Keeps all bytes from now on, and passes none. */
  shut(): void {
    this.#isShut = true
  }

  /** Passes the kept bytes, and passes all later bytes without delay. */
  open(): void {
    this.#isShut = false
    for (const { bytes, connection } of this.#keptChunks.splice(0)) connection.pass(bytes)
  }
}
