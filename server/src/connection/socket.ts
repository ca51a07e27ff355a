/**
 * What the broker needs of a WebSocket. The adapter for the package `ws` implements this interface.
 * Tests implement the interface without a network.
 */

/** A WebSocket, as the broker uses it. */
export interface Socket {
  /** The address of the peer, for the broker's logger and for limits; undefined if unknown. */
  readonly remoteAddress: string | undefined
  /** A token that came with the HTTP upgrade request, if any. */
  readonly token?: string | undefined
  /** False if other parties on the network can read the frames. Default: true. */
  readonly isSecure?: boolean | undefined
  /** The `Origin` header of the upgrade request; undefined if there was none. */
  readonly origin: string | undefined
  /** Bytes given to `send` that the operating system has not accepted yet. */
  readonly bufferedBytes: number
  /** Bytes that have arrived and wait in this process because of a pause. Default: 0. */
  readonly unreadBytes?: number
  send(frame: string): void
  /**
   * Stops reading. The listener gets no further frame before {@link resume}, unless the connection
   * ends first. During a pause `onClose` may be late, because the end of the TCP stream is not
   * read.
   */
  pause(): void
  /** Reads again after {@link pause}, in a later turn of the event loop. */
  resume(): void
  /** Starts a closing handshake. Frames that were sent before are still delivered. */
  close(code: number, reason: string): void
  /** Drops the connection now, without a handshake. */
  terminate(): void
}

/** Receives the events of a WebSocket. No event comes after `onClose`. */
export interface SocketListener {
  /** A whole text message arrived. */
  onFrame(text: string): void
  /** A binary message arrived. */
  onBinary(): void
  /**
   * A control frame or a fragment of a message arrived. Each of them costs the same work, which the
   * listener must charge to the client.
   */
  onControlFrame(): void
  /** The peer sent an invalid message (too long, or not UTF-8), so the socket is closing. */
  onFault(): void
  /** The operating system accepted bytes given to `send`, so `bufferedBytes` has fallen. */
  onDrain(): void
  /** The connection has ended, by the peer or by the broker. Called once. */
  onClose(): void
}
