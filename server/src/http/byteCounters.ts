/**
 * Counts the bytes received and sent over all connections. Node's sockets count their own bytes.
 * This class adds up the counts of the open sockets only when a metric or a status is read.
 */
import type { Socket } from 'node:net'

export class ByteCounters {
  readonly #open = new Set<Socket>()
  #received = 0
  #sent = 0

  add(socket: Socket): void {
    this.#open.add(socket)
  }

  /** Call this when the socket is closed. The totals keep the bytes of the socket. */
  remove(socket: Socket): void {
    this.#open.delete(socket)
    this.#received += socket.bytesRead
    this.#sent += socket.bytesWritten
  }

  get totals(): { readonly received: number; readonly sent: number } {
    let received = this.#received
    let sent = this.#sent
    for (const socket of this.#open) {
      received += socket.bytesRead
      sent += socket.bytesWritten
    }
    return { received, sent }
  }
}
