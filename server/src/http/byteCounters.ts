/**
 * How many bytes went over all connections: the sockets count by themselves, so that this costs
 * nothing until somebody asks.
 */
import type { Socket } from 'node:net'

export class ByteCounters {
  readonly #open = new Set<Socket>()
  #received = 0
  #sent = 0

  follow(socket: Socket): void {
    this.#open.add(socket)
  }

  /** It is closed. */
  leave(socket: Socket): void {
    this.#open.delete(socket)
    this.#received += socket.bytesRead
    this.#sent += socket.bytesWritten
  }

  get bytes(): { readonly received: number; readonly sent: number } {
    let received = this.#received
    let sent = this.#sent
    for (const socket of this.#open) {
      received += socket.bytesRead
      sent += socket.bytesWritten
    }
    return { received, sent }
  }
}
