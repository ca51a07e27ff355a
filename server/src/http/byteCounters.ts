/**
 * Counts the bytes received and sent over all connections. Node's sockets count their own bytes, so
 * this class adds up the counts only when a metric or a status is read.
 */
import type { Socket } from 'node:net'

export class ByteCounters {
  readonly #open = new Set<Socket>()
  #received = 0
  #sent = 0

  add(socket: Socket): void {
    this.#open.add(socket)
  }

  /**
   * The caller must call this method when the socket is closed, to keep its bytes in the totals.
   */
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
