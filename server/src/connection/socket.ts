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
  send(frame: string): void
  /**
   * Stops reading from the network. Frames that were read before it may still arrive. While it
   * lasts, `onClose` may be late, since the end of the stream is not read either.
   */
  pause(): void
  /** Reads on after {@link pause}. */
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
  /** The peer sent what is no WebSocket message (too long, not UTF-8); the socket is closing. */
  onFault(): void
  /** Bytes given to `send` were taken; tells whoever waits for `bufferedBytes` to fall. */
  onDrain(): void
  /** The connection is gone, by whoever's doing. Called once. */
  onClose(): void
}
