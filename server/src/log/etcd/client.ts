/**
 * A client of etcd, as much of one as a log needs: every call has its own deadline, and goes on at
 * another member when one does not answer. So a call can be done twice, and each has to be one for
 * which that makes no difference.
 *
 * All calls go to the same member until it fails, and the watches with them: the member that takes
 * our entries is then the one that hands them back soonest.
 */
import type { Clock } from '@holdfast/shared'
import { EtcdError } from './errors.js'
import { type EtcdTls, type LineListener, Transport } from './transport.js'
import {
  type Header,
  type KeyValue,
  numberFrom,
  put,
  type RangeAnswer,
  read,
  type Status,
  type Txn,
  type TxnAnswer,
  toBase64,
} from './wire.js'

export interface ClientOptions {
  readonly endpoints: readonly string[]
  readonly tls?: EtcdTls | undefined
  readonly auth?: EtcdAuth | undefined
}

/** A user of etcd's own. */
export interface EtcdAuth {
  readonly user: string
  readonly password: string
}

/** In bytes. */
export interface Usage {
  readonly endpoint: string
  readonly used: number
  readonly quota: number
}

/** How often a deadline may double while nobody answers: etcd may only be slow. */
const mostDoublings = 2
/** The first pause after every member has failed, in ms; it doubles up to a call's deadline. */
const firstPauseMs = 20

export class EtcdClient {
  readonly #endpoints: readonly string[]
  readonly #auth: EtcdAuth | undefined
  readonly #clock: Clock
  readonly #transport: Transport
  #current = 0
  #token: string | undefined
  #callMs = 1_000
  /** Attempts without an answer since the last answer. */
  #silences = 0
  #failedRounds = 0
  readonly #onMove = new Set<() => void>()
  #onClose: (() => void)[] = []
  #isClosed = false

  constructor({ endpoints, tls, auth }: ClientOptions, clock: Clock) {
    this.#endpoints = endpoints
    this.#auth = auth
    this.#clock = clock
    this.#transport = new Transport(clock, endpoints[0]!.startsWith('https:'), tls)
  }

  /** How long a member may take to answer, in ms. Default 1,000. */
  set callMs(ms: number) {
    this.#callMs = ms
  }

  get callMs(): number {
    return this.#callMs
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get endpoints(): readonly string[] {
    return this.#endpoints
  }

  /** The member that is asked now. */
  get endpoint(): string {
    return this.#endpoints[this.#current]!
  }

  /** Has this called whenever another member is asked from then on. Returns how to stop that. */
  onMove(callback: () => void): () => void {
    this.#onMove.add(callback)
    return () => this.#onMove.delete(callback)
  }

  /** That this member is of no use now. */
  moveFrom(endpoint: string): void {
    if (endpoint !== this.endpoint) return
    this.#current = (this.#current + 1) % this.#endpoints.length
    for (const callback of [...this.#onMove]) callback()
  }

  /** Resolves with the revision of the change. */
  async put(key: string, value: string | Buffer): Promise<number> {
    const body = { key: toBase64(key), value: toBase64(value) }
    const { header } = await this.call<{ readonly header: Header }>('/v3/kv/put', body)
    return numberFrom(header.revision)
  }

  txn(txn: Txn): Promise<TxnAnswer> {
    return this.call('/v3/kv/txn', txn)
  }

  /** Reads keys as this member has them, which may be out of date. */
  range(request: object): Promise<RangeAnswer> {
    return this.call('/v3/kv/range', request)
  }

  /**
   * Reads a key at a place in the order of changes, as part of a change that is never made: a plain
   * read may be out of date when a member was stopped.
   */
  async readInOrder(key: string): Promise<KeyValue | undefined> {
    const never = { key: toBase64(key), target: 'VERSION', result: 'LESS', version: '0' }
    const { responses } = await this.txn({
      compare: [never],
      success: [put(key, '')],
      failure: [read(key)],
    })
    return responses?.[0]?.response_range?.kvs?.[0]
  }

  /** Forgets what was overwritten up to this revision. */
  async compact(revision: number): Promise<void> {
    try {
      await this.call('/v3/kv/compaction', { revision: String(revision) })
    } catch (error) {
      // Somebody else has, or we before the answer was lost.
      if (!(error instanceof EtcdError && error.kind === 'compacted')) throw error
    }
  }

  /** How one member is, or all of them see it. It needs no majority to answer. */
  status(endpoint: string): Promise<Status> {
    return this.#attempt(endpoint, '/v3/maintenance/status', {})
  }

  /** What the member that is asked now has, and may have; undefined if it does not say. */
  async usage(): Promise<Usage | undefined> {
    const { endpoint } = this
    const page = await this.#transport.page(endpoint, '/metrics', this.#deadlineMs)
    const [used, quota] = ['etcd_mvcc_db_total_size_in_bytes', 'etcd_server_quota_backend_bytes']
      .map((name) => new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1])
      .map(Number) as [number, number]
    return quota > 0 ? { endpoint, used, quota } : undefined
  }

  /** Watches at the member that is asked now. Returns how to leave it, and where it is. */
  async watch(
    request: object,
    listener: LineListener,
  ): Promise<{ readonly endpoint: string; readonly leave: () => void }> {
    const { endpoint } = this
    const token = await this.#tokenAt(endpoint)
    const question = { endpoint, path: '/v3/watch', body: { create_request: request }, token }
    const deadlineMs = this.#deadlineMs
    return { endpoint, leave: this.#transport.listen({ ...question, deadlineMs }, listener) }
  }

  /** To be called when an answer shows that our token is not, or no longer, good. */
  forgetToken(): void {
    this.#token = undefined
  }

  /** Asks one member after the other until one answers, each once; but first pauses if none did. */
  async call<T>(path: string, body: object): Promise<T> {
    await this.#pause()
    for (let left = this.#endpoints.length; ; left--) {
      const { endpoint } = this
      try {
        const answer = await this.#attempt<T>(endpoint, path, body)
        this.#silences = 0
        this.#failedRounds = 0
        return answer
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error
        if (error.kind === 'silent') this.#silences++
        if (error.isOfOneMember) this.moveFrom(endpoint)
        if (left > 1 && error.isOfOneMember && !this.#isClosed) continue
        this.#failedRounds++
        throw error
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const wake of this.#onClose.splice(0)) wake()
    this.#transport.close()
  }

  /** Lets time pass; shorter if the client is closed meanwhile. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isClosed) return resolve()
      const wake = (): void => {
        this.#clock.clearTimer(timer)
        this.#onClose = this.#onClose.filter((other) => other !== wake)
        resolve()
      }
      const timer = this.#clock.setTimer(wake, ms)
      this.#onClose.push(wake)
    })
  }

  async #pause(): Promise<void> {
    if (this.#failedRounds === 0) return
    await this.sleep(Math.min(this.#callMs, firstPauseMs * 2 ** Math.min(this.#failedRounds, 16)))
  }

  get #deadlineMs(): number {
    // Nobody answering is either all of them being away or all of them being slow.
    const rounds = Math.floor(this.#silences / this.#endpoints.length)
    return this.#callMs * 2 ** Math.min(rounds, mostDoublings)
  }

  async #attempt<T>(endpoint: string, path: string, body: object): Promise<T> {
    if (this.#isClosed) throw new EtcdError('unreachable', endpoint, 'is not asked any more')
    const ask = async (): Promise<T> => {
      const token = await this.#tokenAt(endpoint)
      const question = { endpoint, path, body, token, deadlineMs: this.#deadlineMs }
      return this.#transport.ask<T>(question)
    }
    try {
      return await ask()
    } catch (error) {
      const isOld = error instanceof EtcdError && error.kind === 'unauthenticated'
      if (!isOld || this.#auth === undefined) throw error
      this.forgetToken()
      return ask()
    }
  }

  /** Tokens are forgotten by etcd after a while, and known to members that have heard of them. */
  async #tokenAt(endpoint: string): Promise<string | undefined> {
    if (this.#auth === undefined || this.#token !== undefined) return this.#token
    const { user, password } = this.#auth
    const { token } = await this.#transport.ask<{ readonly token: string }>({
      endpoint,
      path: '/v3/auth/authenticate',
      body: { name: user, password },
      token: undefined,
      deadlineMs: this.#deadlineMs,
    })
    this.#token = token
    return token
  }
}
