/**
 * The dashboard's own session: opened, kept and opened anew, with or without a token, and what it
 * hears put into the book, the tail and the series. It is a client like any other; the broker has
 * no door for it that others have not.
 */
import { connect, HoldfastError, type Session, type WatchEvent } from '@holdfast/client'
import { LockModel } from '../model/lockModel.js'
import { RecentEvents } from '../model/recentEvents.js'
import { Series } from '../model/series.js'
import type { PageEnvironment } from '../pageEnvironment.js'
import { Focus } from './focus.js'
import { Polls } from './polls.js'
import { Probe } from './probe.js'
import type { Store } from './store.js'

/** What stands between this page and the broker. */
export type Status =
  | { readonly kind: 'connecting'; readonly problem?: string | undefined }
  /** The broker wants a token, or another one. */
  | { readonly kind: 'token'; readonly problem?: string | undefined }
  | { readonly kind: 'live' }
  | { readonly kind: 'disconnected' }
  /** The broker closed for good, and says why. */
  | { readonly kind: 'ended'; readonly problem: string }

/** Such a session holds nothing, and is gone soon after its page. */
const graceMs = 5_000
/** Between two tries to connect at all, in ms. */
const retryMs = 2_000

export class Feed {
  readonly locks = new LockModel()
  readonly recent = new RecentEvents()
  readonly series = new Series()
  readonly polls: Polls
  readonly probe: Probe
  readonly focus: Focus
  status: Status = { kind: 'connecting' }
  /** The broker closes then, by the wall clock, or so does the token end. */
  drainsAt: number | undefined
  tokenEndsAt: number | undefined
  /** Why there are no events, if there are none. */
  watchProblem: string | undefined
  session: Session | undefined
  readonly #url: string
  readonly #machine: PageEnvironment
  readonly #store: Store
  #token: string | undefined
  #stopRetry: (() => void) | undefined

  constructor(url: string, machine: PageEnvironment, store: Store) {
    this.#url = url
    this.#machine = machine
    this.#store = store
    this.polls = new Polls(this, machine, store)
    this.probe = new Probe(this, machine, store)
    this.focus = new Focus(this, machine, store)
  }

  /** Connects; a token is kept in memory only, and only as long as the page. */
  async start(token = this.#token): Promise<void> {
    this.#stopRetry?.()
    this.#token = token
    this.#become({ kind: 'connecting', problem: problemOf(this.status) })
    try {
      const options = { token, name: 'dashboard', grace: graceMs }
      this.#onOpen(await connect(this.#url, options))
    } catch (error) {
      this.#onFailure(error as HoldfastError)
    }
  }

  /** Shows a new token on the session that is open. Rejects as `session.authenticate` does. */
  async renewToken(token: string): Promise<void> {
    await this.session?.authenticate(token)
    this.#token = token
    this.tokenEndsAt = undefined
    this.#store.renew()
  }

  /** Ends the lock that has this fence. Rejects as `session.revoke` does. */
  async free(key: string, fence: number, reason: string): Promise<void> {
    if (this.session === undefined) throw new HoldfastError('SESSION_CLOSED')
    await this.session.revoke(key, { fence, reason })
    this.focus.look()
  }

  #onOpen(session: Session): void {
    this.session = session
    session.on('jeopardy', () => this.#become({ kind: 'disconnected' }))
    session.on('resumed', () => this.#onBack())
    session.on('newSession', () => this.#onBack())
    session.on('draining', ({ within }) => {
      this.drainsAt = this.#machine.wall() + within
      this.#store.renew()
    })
    session.on('expiring', ({ within }) => {
      this.tokenEndsAt = this.#machine.wall() + within
      this.#store.renew()
    })
    session.on('closed', (error) => {
      if (this.session !== session) return
      this.session = undefined
      if (error !== undefined) this.#onFailure(error)
    })
    this.watchProblem = undefined
    session.watch({ prefix: '' }, (event) => this.#onWatched(event))
    this.#onBack()
  }

  #onBack(): void {
    this.drainsAt = undefined
    this.tokenEndsAt = undefined
    this.#become({ kind: 'live' })
    this.polls.start()
    this.focus.look()
  }

  #onWatched(event: WatchEvent): void {
    if (event.event === 'refused') this.watchProblem = event.error.message
    else if (event.event === 'state') this.locks.onState(event)
    else {
      this.locks.onEvent(event)
      if (event.key !== this.probe.key) this.recent.add(event, this.#machine.wall())
      this.focus.onEvent(event)
    }
    this.#store.touch()
  }

  #onFailure(error: HoldfastError): void {
    this.polls.stop()
    this.probe.stop()
    if (error.code === 'UNAUTHORIZED') {
      const problem = this.#token === undefined ? undefined : 'The broker does not take this token'
      this.#token = undefined
      this.#become({ kind: 'token', problem })
    } else if (error.code === 'UNAVAILABLE') {
      this.#become({ kind: 'connecting', problem: 'The broker does not answer. Trying again…' })
      this.#stopRetry = this.#machine.after(retryMs, () => void this.start())
    } else {
      this.#become({ kind: 'ended', problem: error.message })
    }
  }

  #become(status: Status): void {
    if (status.kind !== 'live') this.series.interrupt(this.#machine.wall())
    this.status = status
    this.#store.renew()
  }
}

function problemOf(status: Status): string | undefined {
  return status.kind === 'connecting' ? status.problem : undefined
}
