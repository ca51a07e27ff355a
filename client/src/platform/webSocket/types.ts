/** The members of a WebSocket that the client uses, and the options of the platform's WebSocket. */

/** How the platform's WebSocket connects. Only Node has these options. */
export interface PlatformOptions {
  /** Certificates of authorities in PEM form, which replace the authorities that Node trusts. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined
  /** URL of an HTTP proxy; false for no proxy, whatever the environment variables say. */
  readonly proxy?: string | false | undefined
}

/**
 * The type of an event handler. The type comes from a method, because TypeScript compares the
 * parameters of methods less strictly than the parameters of functions. So TypeScript also accepts
 * a class whose handlers take an event with more members than `E`, such as the class of a browser.
 */
type Handler<E> = { on(event: E): void }['on'] | null

/**
 * The members of a `WebSocket` that the client uses. Browsers, Node and `ws` have all members that
 * are not optional.
 */
export interface WebSocketLike {
  readonly protocol: string
  onopen: Handler<unknown>
  onmessage: Handler<{ readonly data: unknown }>
  onclose: Handler<{ readonly code: number; readonly reason: string }>
  onerror: Handler<unknown>
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Drops the connection without a closing handshake. Only some classes have this method. */
  terminate?(): void
  /** Lets the process end although the connection is open. Only some classes have this method. */
  unref?(): void
  /** Undoes `unref`. */
  ref?(): void
  /** URL of the proxy through which this WebSocket connects, without user name and password. */
  readonly via?: string | undefined
}

export interface WebSocketConstructor {
  new (url: string, protocols?: string | string[]): WebSocketLike
}
