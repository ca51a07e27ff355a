/**
 * Queries the session whose page is open: its lease and grace, and whether it is connected. The
 * dashboard sends these queries through its own session. If the operator has the permission
 * `inspect`, the broker also sends the principal (the authenticated name of the client) and the
 * client's address. All these values change seldom, so the pause between two queries is long.
 */
import type { Session, SessionInfo } from '@holdfast/client'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { ChangeNotifier } from './changeNotifier.js'

/** Time from a result to the next query, in ms. */
const pauseMs = 3_000

/** What this poller needs of the `BrokerFeed`. */
interface SessionSource {
  /** The dashboard's own session, which changes when the dashboard reconnects. */
  readonly session: Session | undefined
}

/** The answer of the broker; `ended` if the broker has no such session. */
export type SessionResult = SessionInfo | 'ended'

/** Polls one session at a time: the session of the open page. */
export class SessionPoller {
  readonly #feed: SessionSource
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  /** The id of the session whose page is open; undefined if no such page is open. */
  #id: string | undefined
  /**
   * The last answer; undefined before the first answer. Stays undefined if a broker of an older
   * version refuses the query.
   */
  result: SessionResult | undefined
  #cancelTimer: (() => void) | undefined

  constructor(feed: SessionSource, environment: PageEnvironment, changes: ChangeNotifier) {
    this.#feed = feed
    this.#environment = environment
    this.#changes = changes
  }

  /** Queries this session from now on. With undefined, queries no session. */
  select(id: string | undefined): void {
    if (id === this.#id) return
    this.#id = id
    this.result = undefined
    this.refresh()
  }

  /** Queries now. */
  refresh(): void {
    this.#cancelTimer?.()
    if (this.#id !== undefined) void this.#query(this.#id)
  }

  async #query(id: string): Promise<void> {
    const { session } = this.#feed
    if (session?.state === 'connected' && this.#environment.isVisible()) {
      try {
        const { sessions } = await session.query({ kind: 'sessions', session: id })
        if (id === this.#id) this.result = sessions[0] ?? 'ended'
      } catch {
        // Ignore the error. An older broker always refuses the query, and if the connection was
        // lost, the next query tries again.
      }
      this.#changes.notify()
    }
    // If another session was selected meanwhile, `select` has begun the queries of that session.
    if (id !== this.#id) return
    // A `refresh` during this query began a second query, which may have set the timer already.
    this.#cancelTimer?.()
    this.#cancelTimer = this.#environment.after(pauseMs, () => this.refresh())
  }
}
