/**
 * The part of an etcd client that a shared log needs. A member is one server of the etcd cluster.
 * Every call has its own deadline. If a member does not answer, the client tries another member.
 * etcd may therefore execute a call twice, so each call must be safe to repeat.
 *
 * All calls and watches use the same member until this member fails. The reason is that the member
 * which accepts an entry of the log can deliver the entry sooner than the other members.
 */
import type { Clock } from '@holdfast/shared'
import { type LogTls, passwordOf } from '../credentials.js'
import { compactionRefused, EtcdError } from './errors.js'
import { type LineListener, Transport } from './transport.js'
import {
  type Header,
  type KeyValue,
  numberFrom,
  put,
  type RangeAnswer,
  read,
  type Txn,
  type TxnAnswer,
  toBase64,
} from './wire.js'

/** Certificates as PEM text, or the paths of files with PEM text. */
export type EtcdTls = LogTls

/** A user of etcd, with a password or the path of a file with the password. */
export interface EtcdAuth {
  readonly user: string
  readonly password?: string | undefined
  /** The broker reads this file each time it needs a token of etcd. A line end is ignored. */
  readonly passwordFile?: string | undefined
}

export interface ClientOptions {
  readonly endpoints: readonly string[]
  readonly tls?: EtcdTls | undefined
  readonly auth?: EtcdAuth | undefined
}

/** The metrics that the broker reads from a member. */
export interface MemberMetrics {
  readonly endpoint: string
  /** Whether the member knows a leader. */
  readonly hasLeader: boolean
  /** The size of the database file, in bytes. */
  readonly used: number
  /** The part of the database file that holds data, in bytes. A defragmentation frees the rest. */
  readonly inUse: number
  /** The storage quota, in bytes. */
  readonly quota: number
}

/** How many times the deadline may double while no member answers (see `#deadlineMs`). */
const maxDeadlineDoublings = 2
/** The base of the pause after failed calls, in ms. Each failed call in a row doubles the pause. */
const basePauseMs = 20
/** Only keeps the power of 2 small: the pause itself is at most `callMs`. */
const maxPauseDoublings = 16

/** The client of one log. The client uses one member at a time. */
export class EtcdClient {
  #endpoints: readonly string[]
  readonly #auth: EtcdAuth | undefined
  readonly #clock: Clock
  readonly #transport: Transport
  /** The index of the member in use. */
  #memberIndex = 0
  /** The token that etcd has given the user; undefined at first, and after it was rejected. */
  #token: string | undefined
  #callMs = 1_000
  /** Attempts that timed out since the last answer. */
  #timeouts = 0
  /**
   * How many calls in a row have failed. A call fails if no member answers, or if a member answers
   * with an error that every member would return.
   */
  #failedCalls = 0
  /** Called when the client changes to another member. */
  readonly #memberListeners = new Set<() => void>()
  /** Functions that end a pause early, when the client is closed. */
  #sleepers: (() => void)[] = []
  #isClosed = false

  constructor({ endpoints, tls, auth }: ClientOptions, clock: Clock) {
    this.#endpoints = endpoints
    this.#auth = auth
    this.#clock = clock
    this.#transport = new Transport(clock, endpoints[0]!.startsWith('https:'), tls)
  }

  /** The deadline of one attempt, in ms. Default 1,000. */
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

  /** The member in use. */
  get endpoint(): string {
    return this.#endpoints[this.#memberIndex]!
  }

  /**
   * Calls back at each change of the member in use. Returns a function that removes the callback.
   */
  onMemberChange(callback: () => void): () => void {
    this.#memberListeners.add(callback)
    return () => this.#memberListeners.delete(callback)
  }

  /** Changes to the next member, if the member with this endpoint is in use. */
  moveFrom(endpoint: string): void {
    if (endpoint !== this.endpoint) return
    this.#memberIndex = (this.#memberIndex + 1) % this.#endpoints.length
    for (const callback of [...this.#memberListeners]) callback()
  }

  /** Writes a key. Resolves with the revision of the change. */
  async put(key: string, value: string | Buffer): Promise<number> {
    const body = { key: toBase64(key), value: toBase64(value) }
    const { header } = await this.call<{ readonly header: Header }>('/v3/kv/put', body)
    return numberFrom(header.revision)
  }

  /** Executes operations in one step, if their conditions hold. */
  txn(txn: Txn): Promise<TxnAnswer> {
    return this.call('/v3/kv/txn', txn)
  }

  /** Reads keys from the member in use. The state of this member may be out of date. */
  range(request: object): Promise<RangeAnswer> {
    return this.call('/v3/kv/range', request)
  }

  /**
   * Reads the newest value of a key, by a transaction that never writes. A plain read may return an
   * old value if the member was paused.
   */
  async readLinearizable(key: string): Promise<KeyValue | undefined> {
    // No version is below 0, so etcd always executes `failure`, which only reads. The `put` makes
    // etcd treat the transaction as a write, for which the member needs the majority.
    const neverTrue = { key: toBase64(key), target: 'VERSION', result: 'LESS', version: '0' }
    const { responses } = await this.txn({
      compare: [neverTrue],
      success: [put(key, '')],
      failure: [read(key)],
    })
    return responses?.[0]?.response_range?.kvs?.[0]
  }

  /** Drops all overwritten values up to this revision. */
  async compact(revision: number): Promise<void> {
    try {
      await this.call('/v3/kv/compaction', { revision: String(revision) })
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      if (error.kind === 'forbidden') throw compactionRefused(error)
      if (error.kind !== 'compacted') throw error
      // `compacted` means success: another broker has compacted up to this revision, or this broker
      // has compacted and the answer was lost.
    }
  }

  /**
   * Reads a key from the state of one member, to find out whether this member works. The member
   * answers even if the other members are down. The check is no status call, because etcd allows
   * status calls only to users with the role root.
   */
  readAt(endpoint: string, key: string): Promise<RangeAnswer> {
    const request = { key: toBase64(key), serializable: true, keys_only: true }
    return this.#attempt(endpoint, '/v3/kv/range', request)
  }

  /**
   * Reads the metrics of one member. etcd shows the metrics to callers without a user too. A number
   * that the member does not show is NaN.
   *
   * @throws {EtcdError} if the member does not answer, or shows no metrics.
   */
  async metricsAt(endpoint: string): Promise<MemberMetrics> {
    const metricsText = await this.#transport.getPage(endpoint, '/metrics', this.#deadlineMs)
    const metric = (name: string): number =>
      Number(new RegExp(`^etcd_${name} (\\S+)$`, 'm').exec(metricsText)?.[1])
    return {
      endpoint,
      // NaN is not 0, so a member that does not show the number counts as knowing a leader.
      hasLeader: metric('server_has_leader') !== 0,
      used: metric('mvcc_db_total_size_in_bytes'),
      inUse: metric('mvcc_db_total_size_in_use_in_bytes'),
      quota: metric('server_quota_backend_bytes'),
    }
  }

  /**
   * From now on, uses only these members. Changes to the first of them if the member in use is not
   * among them.
   */
  useOnly(endpoints: readonly string[]): void {
    const inUse = this.endpoint
    this.#endpoints = endpoints
    this.#memberIndex = Math.max(0, endpoints.indexOf(inUse))
    if (this.endpoint !== inUse) for (const callback of [...this.#memberListeners]) callback()
  }

  /**
   * Starts a watch at the member in use. Returns this member, and a function that stops the watch.
   */
  async watch(
    request: object,
    listener: LineListener,
  ): Promise<{ readonly endpoint: string; readonly stop: () => void }> {
    const { endpoint } = this
    const token = await this.#tokenAt(endpoint)
    const watchRequest = { endpoint, path: '/v3/watch', body: { create_request: request }, token }
    const deadlineMs = this.#deadlineMs
    return { endpoint, stop: this.#transport.listen({ ...watchRequest, deadlineMs }, listener) }
  }

  /** Drops the token. Call this method when a member has rejected the token. */
  forgetToken(): void {
    this.#token = undefined
  }

  /**
   * Calls one member after the other until a member answers. Pauses first if the last call failed.
   */
  async call<T>(path: string, body: object): Promise<T> {
    await this.#pause()
    for (let membersLeft = this.#endpoints.length; ; membersLeft--) {
      const { endpoint } = this
      try {
        const answer = await this.#attempt<T>(endpoint, path, body)
        this.#timeouts = 0
        this.#failedCalls = 0
        return answer
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error
        if (error.kind === 'timeout') this.#timeouts++
        if (error.mayWorkElsewhere) this.moveFrom(endpoint)
        if (membersLeft > 1 && error.mayWorkElsewhere && !this.#isClosed) continue
        this.#failedCalls++
        throw error
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const wake of this.#sleepers.splice(0)) wake()
    this.#transport.close()
  }

  /** Resolves after a pause, or as soon as the client is closed. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isClosed) return resolve()
      const wake = (): void => {
        this.#clock.clearTimer(timer)
        this.#sleepers = this.#sleepers.filter((other) => other !== wake)
        resolve()
      }
      const timer = this.#clock.setTimer(wake, ms)
      this.#sleepers.push(wake)
    })
  }

  /** Pauses before a call, if the last call failed. */
  async #pause(): Promise<void> {
    if (this.#failedCalls === 0) return
    const doublings = Math.min(this.#failedCalls, maxPauseDoublings)
    await this.sleep(Math.min(this.#callMs, basePauseMs * 2 ** doublings))
  }

  get #deadlineMs(): number {
    // If no member answers, the members may be slow, so the next calls get more time.
    const timeoutsPerMember = Math.floor(this.#timeouts / this.#endpoints.length)
    return this.#callMs * 2 ** Math.min(timeoutsPerMember, maxDeadlineDoublings)
  }

  /**
   * Calls one member. If the member rejects the token, calls the member once more with a new token.
   */
  async #attempt<T>(endpoint: string, path: string, body: object): Promise<T> {
    if (this.#isClosed)
      throw new EtcdError('unreachable', endpoint, 'was not called, because the client is closed')
    const request = async (): Promise<T> => {
      const token = await this.#tokenAt(endpoint)
      const call = { endpoint, path, body, token, deadlineMs: this.#deadlineMs }
      return this.#transport.request<T>(call)
    }
    try {
      return await request()
    } catch (error) {
      const isTokenRejected = error instanceof EtcdError && error.kind === 'unauthenticated'
      if (!isTokenRejected || this.#auth === undefined) throw error
      this.forgetToken()
      return request()
    }
  }

  #readPassword(endpoint: string): string {
    try {
      return passwordOf(this.#auth!)
    } catch (cause) {
      const problem = `was not called, because the password cannot be read (${String(cause)})`
      // The kind is `busy` (temporary), because another program may just be replacing the file.
      throw new EtcdError('busy', endpoint, problem, cause)
    }
  }

  /** Returns the current token, or asks the member for a new token if there is none. */
  async #tokenAt(endpoint: string): Promise<string | undefined> {
    if (this.#auth === undefined || this.#token !== undefined) return this.#token
    const { user } = this.#auth
    const password = this.#readPassword(endpoint)
    const { token } = await this.#transport.request<{ readonly token: string }>({
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
