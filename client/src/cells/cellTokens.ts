/**
 * The token of a `CellSession`, which is one session over several cells. Cells are independent
 * brokers or clusters. Each cell has an ordinary session, which is opened at the first use of the
 * cell. A new token must reach all open sessions, and also the sessions that are being opened.
 */

/** The part of the session of a cell that `CellTokens` uses. */
interface TokenSession {
  /** Rejects if the broker refuses the token; the session then keeps its former token. */
  authenticate(token: string): Promise<void>
}

/** The part of `CellPool` that `CellTokens` uses. */
interface SessionPool {
  readonly openSessions: readonly TokenSession[]
}

export class CellTokens {
  readonly #pool: SessionPool
  /** The token for new sessions: of the last `authenticate`, or otherwise of `connect`. */
  #token: string | undefined
  /** For the number of each cell, the token with which its newest session was opened. */
  readonly #tokensAtOpening = new Map<number, string | undefined>()
  /** Resolves when the newest call of `authenticate` has settled. */
  #lastAuthentication: Promise<void> = Promise.resolve()

  /** @param token The token of `connect`. */
  constructor(pool: SessionPool, token: string | undefined) {
    this.#pool = pool
    this.#token = token
  }

  /** Returns the token for a new session of this cell. Call when the opening begins. */
  onOpening(cell: number): string | undefined {
    this.#tokensAtOpening.set(cell, this.#token)
    return this.#token
  }

  /**
   * Call when the new session of a cell is open. Waits for pending calls of `authenticate`. If the
   * token has changed since `onOpening`, sends the new token to the session. If the broker refuses
   * the new token, the session keeps the former token.
   */
  async onOpen(session: TokenSession, cell: number): Promise<void> {
    const tokenAtOpening = this.#tokensAtOpening.get(cell)
    await this.#lastAuthentication
    if (this.#token === undefined || this.#token === tokenAtOpening) return
    await session.authenticate(this.#token).catch(() => {})
  }

  /**
   * Sends a new token to all open sessions, when the former calls have settled. Rejects with the
   * first error if one or more of these sessions refuse the token. New sessions use the token,
   * unless all open sessions have refused the token.
   */
  authenticate(token: string): Promise<void> {
    const result = this.#lastAuthentication.then(() => this.#authenticate(token))
    this.#lastAuthentication = result.catch(() => {})
    return result
  }

  async #authenticate(token: string): Promise<void> {
    const results = await Promise.allSettled(
      this.#pool.openSessions.map((session) => session.authenticate(token)),
    )
    const refusals = results.filter((result) => result.status === 'rejected')
    // Without open sessions, no cell has refused the token.
    const isRefusedByAll = refusals.length > 0 && refusals.length === results.length
    if (!isRefusedByAll) this.#token = token
    if (refusals.length > 0) throw refusals[0]!.reason
  }
}
