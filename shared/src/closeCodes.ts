/**
 * Why a WebSocket was closed: one table, quoted by PROTOCOL.md and walked by the tests.
 *
 * The form follows HTTP (44xx is the client's doing, 45xx the broker's). `final` tells a client
 * whether to come back on its own: an unknown code from 4400 to 4499 is final, everything else is
 * worth another try.
 */

/** One row of the table. */
export interface CloseCode {
  readonly code: number
  /** Final: reconnecting by itself would only repeat the refusal. */
  readonly final: boolean
  /** Sent as the close reason; a stable word for logs. */
  readonly reason: string
}

export const closeCodes = {
  goodbye: { code: 1000, final: true, reason: 'goodbye' },
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
 * Whether a client should stay away after this close code. A rule and not a look into the table, so
 * that a page need not load the table; a test holds the two to the same answer.
 */
export function isFinalClose(code: number): boolean {
  return code >= 4400 && code <= 4499
    ? code !== closeCodes.noHello.code && code !== closeCodes.expired.code
    : code === closeCodes.goodbye.code || code === closeCodes.tooBig.code
}
