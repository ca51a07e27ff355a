/**
 * The close codes of the WebSocket, in one table. PROTOCOL.md quotes the table, and a test compares
 * the two.
 *
 * Codes from 4400 to 4499 follow the numbers of HTTP: the client caused the close. `final` tells a
 * client whether it must stay away. A code that is not in the table is final if it is from 4400 to
 * 4499, because a newer broker may have more reasons to refuse a client.
 */

/** One row of the table. */
export interface CloseCode {
  readonly code: number
  /** Whether the client must not reconnect by itself, because the broker would refuse it again. */
  readonly final: boolean
  /**
   * The close reason that the broker sends: a stable text for logs. A WebSocket library that closes
   * by itself (1007, 1009) sends no reason.
   */
  readonly reason: string
}

export const closeCodes = {
  goodbye: { code: 1000, final: true, reason: 'goodbye' },
  notUtf8: { code: 1007, final: true, reason: 'text is not UTF-8' },
  tooBig: { code: 1009, final: true, reason: 'frame too big' },
  internal: { code: 1011, final: false, reason: 'internal error' },
  restart: { code: 1012, final: false, reason: 'broker is going away' },
  overloaded: { code: 1013, final: false, reason: 'broker is overloaded' },
  tooSlow: { code: 4308, final: false, reason: 'client reads too slowly' },
  badMessage: { code: 4400, final: true, reason: 'bad message' },
  unauthorized: { code: 4401, final: true, reason: 'unauthorized' },
  forbidden: { code: 4403, final: true, reason: 'forbidden' },
  subprotocol: { code: 4406, final: true, reason: 'subprotocol holdfast.v1 required' },
  noHello: { code: 4408, final: false, reason: 'no hello in time' },
  replaced: { code: 4409, final: true, reason: 'session attached elsewhere' },
  expired: { code: 4410, final: false, reason: 'session expired' },
  quota: { code: 4429, final: true, reason: 'quota exceeded' },
} as const satisfies Record<string, CloseCode>

/**
 * Whether a client must stay away after a connection was closed with this code. The function reads
 * single rows and does not search the table, so that a bundler can drop the table. A test compares
 * the function with the table.
 */
export function isFinalClose(code: number): boolean {
  return code >= 4400 && code <= 4499
    ? code !== closeCodes.noHello.code && code !== closeCodes.expired.code
    : code === closeCodes.goodbye.code ||
        code === closeCodes.notUtf8.code ||
        code === closeCodes.tooBig.code
}
