/**
 * A valve in one direction of a connection through a proxy. While the valve is shut, no bytes pass
 * in this direction, and no end of the connection is notified. The valve keeps the bytes until the
 * test opens it, like a network in which senders retransmit.
 */
import type { Filter, ProxiedConnection } from './proxy.js'

export class Valve {
  #isShut = false
  readonly #kept: { readonly bytes: Buffer; readonly connection: ProxiedConnection }[] = []

  readonly filter: Filter = (bytes, connection) => {
    if (this.#isShut) this.#kept.push({ bytes, connection })
    else connection.pass(bytes)
  }

  /** Keeps all bytes from now on, and passes none. */
  shut(): void {
    this.#isShut = true
  }

  /** Passes the kept bytes, and all later bytes at once. */
  open(): void {
    this.#isShut = false
    for (const { bytes, connection } of this.#kept.splice(0)) connection.pass(bytes)
  }
}
