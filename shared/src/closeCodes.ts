/**
 * The codes with which a broker or a client of Holdfast closes a WebSocket, in one table. The table
 * of PROTOCOL.md also has the codes that only a WebSocket library or a proxy sends. A test compares
 * the two tables.
 *
 * A code from 4400 to 4499 means that the client caused the close, as an HTTP status from 400 to
 * 499 does. A code is final if the client must not reconnect. An unknown code from 4400 to 4499 is
 * final, because a newer broker may have more reasons to refuse a client. Every other unknown code
 * is not final.
 */

/** One row of the table. */
export interface CloseCode {
  readonly code: number
  /**
   * True if the client must not reconnect by itself, for one of three reasons:
   * - the broker would close the next connection for the same reason
   * - the session has another connection already, which a reconnect would close
   * - the client has said goodbye
   */
  readonly final: boolean
  /**
   * A stable text for logs. Usually the text is also the reason in the broker's close frame;
   * PROTOCOL.md names the exceptions.
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
  // A cell is one of several independent brokers or clusters, each with its own part of the keys.
  wrongCell: { code: 4421, final: true, reason: 'wrong cell' },
  quota: { code: 4429, final: true, reason: 'quota exceeded' },
} as const satisfies Record<string, CloseCode>

/**
 * Whether a close code is final, which means that the client must not reconnect. The function body
 * names the five rows that it needs, and does not loop over the table. So a bundler can put the
 * numbers in place of these rows, and then leave the table out of the bundle. A test compares the
 * function with the table.
 */
export function isFinalClose(code: number): boolean {
  // The client may reconnect after `noHello`, and may open a new session after `expired`.
  return code >= 4400 && code <= 4499
    ? code !== closeCodes.noHello.code && code !== closeCodes.expired.code
    : code === closeCodes.goodbye.code ||
        code === closeCodes.notUtf8.code ||
        code === closeCodes.tooBig.code
}
