/**
 * A WebSocket as the broker needs it: the smallest interface that the one file which knows `ws`
 * implements, and that a simulated network implements as well.
 */

/** What the broker may do to a connection. */
export interface Socket {
  /** The peer's address, for logs and limits; undefined if there is none. */
  readonly remoteAddress: string | undefined
  /** A token that came with the upgrade, if any. */
  readonly token?: string | undefined
  /** False if others on the network can read what it carries. */
  readonly isSecure?: boolean | undefined
  /** The `Origin` header of the upgrade; undefined if there was none. */
  readonly origin: string | undefined
  /** Bytes given to `send` that the operating system has not taken yet. */
  readonly bufferedBytes: number
  /** Bytes that have arrived and wait in this process, because of a pause; 0 by default. */
  readonly unreadBytes?: number
  send(frame: string): void
  /**
   * Stops reading: no further frame arrives, even if the network has delivered it already, until
   * {@link resume} or the end of the connection. During a pause `onClose` may be late, because the
   * end of the stream is not read either.
   */
  pause(): void
  /** Reads on after {@link pause}, in a later turn. */
  resume(): void
  /** Starts a closing handshake; what was sent before it is still delivered. */
  close(code: number, reason: string): void
  /** Drops the connection now, without a handshake. */
  terminate(): void
}

/** What a connection tells the broker. Nothing comes after `onClose`. */
export interface SocketListener {
  /** A text frame. */
  onFrame(text: string): void
  /** A frame that is not text. */
  onBinary(): void
  /** A ping, a pong or a fragment of a message arrived: reading it was work too. */
  onControlFrame(): void
  /** The peer sent what is no WebSocket message (too long, not UTF-8); the socket is closing. */
  onFault(): void
  /** Bytes given to `send` were taken; tells whoever waits for `bufferedBytes` to fall. */
  onDrain(): void
  /** The connection is gone, by whoever's doing. Called once. */
  onClose(): void
}
