/**
 * Follows a shared log on etcd until the caller stops the stream. Each entry of the log is a batch
 * of commands. Each incarnation (one life of a broker in the log) writes all its entries to one
 * key, and each entry overwrites the entry before.
 *
 * The stream gets the entries by a watch: one member of etcd (one of its servers) sends every value
 * that a key has had. If a watch breaks, the stream opens a new watch, if necessary at another
 * member. The new watch begins after the last delivered entry. So the stream delivers each entry
 * once and in order.
 */
import type { Clock, Timer } from '@holdfast/shared'
import { HoldfastError } from '@holdfast/shared'
import type { LogListener } from '../replicated/engine.js'
import { decodeValue } from '../replicated/packing.js'
import type { EtcdClient } from './client.js'
import { EtcdError, toHoldfastError } from './errors.js'
import { allUnder, bytesFrom, numberFrom, type WatchAnswer } from './wire.js'

export interface WatchStreamDeps {
  readonly client: EtcdClient
  readonly clock: Clock
  /** The common prefix of the keys of entries. */
  readonly keyPrefix: string
  /** The stream delivers the entries after this position. */
  readonly position: number
  readonly listener: LogListener
  /**
   * If a watch is silent for this long, in ms, the stream opens a new watch. Brokers write entries
   * more often than that, so a silent watch is broken.
   */
  readonly silenceMs: number
  /** The id of the etcd cluster. */
  readonly clusterId: string
}

/**
 * If etcd rejects the token of the client for this many watches in a row, the stream fails. etcd
 * gives the client a token when the client logs in.
 */
const maxRejections = 3

/** One reader of the log, from a position on. */
export class WatchStream {
  readonly #deps: WatchStreamDeps
  #position: number
  #isOver = false
  /** The number of the current watch. The stream ignores events of a watch with another number. */
  #watchNumber = 0
  #stopWatch: () => void = () => {}
  /** The endpoint of the member that sends the current watch; undefined while no watch is open. */
  #endpoint: string | undefined
  #silenceTimer: Timer
  /** For how many watches in a row etcd has rejected the token of the client. */
  #rejections = 0
  readonly #removeMemberListener: () => void

  constructor(deps: WatchStreamDeps) {
    this.#deps = deps
    this.#position = deps.position
    this.#removeMemberListener = deps.client.onMemberChange(() => {
      if (this.#endpoint !== undefined) this.#reopen()
    })
    void this.#open()
  }

  /** The position of the last delivered entry. */
  get position(): number {
    return this.#position
  }

  stop(): void {
    this.#isOver = true
    this.#removeMemberListener()
    this.#closeWatch()
  }

  /** Stops for good, and passes the error to the listener. */
  fail(error: HoldfastError): void {
    if (this.#isOver) return
    this.stop()
    this.#deps.listener.failed(error)
  }

  /** Closes the current watch. The new number makes the stream ignore later events of the watch. */
  #closeWatch(): void {
    this.#watchNumber++
    this.#endpoint = undefined
    this.#stopWatch()
    this.#stopWatch = () => {}
    this.#deps.clock.clearTimer(this.#silenceTimer)
  }

  #reopen(): void {
    this.#closeWatch()
    void this.#open()
  }

  async #open(): Promise<void> {
    const { client, keyPrefix } = this.#deps
    const watchNumber = ++this.#watchNumber
    const request = {
      ...allUnder(keyPrefix),
      start_revision: String(this.#position + 1),
      // Without this option, a long history is one response, which must arrive as a whole.
      fragment: true,
    }
    const isCurrent = (): boolean => watchNumber === this.#watchNumber
    // Remember this endpoint, because the client may use another member when an error arrives.
    const { endpoint } = client
    try {
      const opened = await client.watch(request, {
        onData: () => isCurrent() && this.#restartSilenceTimer(),
        onLine: (answer) => isCurrent() && this.#onAnswer(answer as WatchAnswer),
        onBroken: (error) => isCurrent() && this.#onWatchBroken(error),
      })
      if (!isCurrent()) {
        opened.stop()
        return
      }
      this.#endpoint = opened.endpoint
      this.#stopWatch = opened.stop
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      if (isCurrent()) await this.#onWatchBroken(error, endpoint)
    }
  }

  #onAnswer(answer: WatchAnswer): void {
    const { cluster_id } = answer.header
    if (cluster_id !== this.#deps.clusterId) {
      this.fail(logReplaced(`${this.#endpoint} is a member of another etcd cluster`))
      return
    }
    if (answer.canceled) {
      this.#onCanceled(answer)
      return
    }
    for (const { type, kv } of answer.events ?? []) {
      const position = numberFrom(kv.mod_revision)
      // The deletion of a key is not an entry. Entries up to `#position` were delivered already.
      if (type === 'DELETE' || position <= this.#position) continue
      this.#rejections = 0
      this.#position = position
      this.#deps.listener.entry(position, decodeValue(bytesFrom(kv.value)))
      if (this.#isOver) return
    }
  }

  /**
   * Handles a watch that etcd has cancelled: after a compaction, because of the token of the
   * client, or for another reason.
   */
  #onCanceled({ compact_revision, cancel_reason = 'no reason given' }: WatchAnswer): void {
    if (compact_revision !== undefined) {
      this.stop()
      this.#deps.listener.compacted()
      return
    }
    const endpoint = this.#endpoint ?? this.#deps.client.endpoint
    const problem = `cancelled a watch (${cancel_reason})`
    // Some versions of etcd report an expired token as `permission denied`.
    const isTokenRejected = /permission denied|auth/.test(cancel_reason)
    const error = new EtcdError(isTokenRejected ? 'forbidden' : 'refused', endpoint, problem)
    if (!isTokenRejected) {
      void this.#onWatchBroken(error)
    } else if (++this.#rejections < maxRejections) {
      this.#deps.client.forgetToken()
      this.#reopen()
    } else {
      this.fail(toHoldfastError(error))
    }
  }

  /** Reopens the watch if the member sends nothing for a while. */
  #restartSilenceTimer(): void {
    const { clock, silenceMs } = this.#deps
    clock.clearTimer(this.#silenceTimer)
    this.#silenceTimer = clock.setTimer(() => {
      const endpoint = this.#endpoint ?? this.#deps.client.endpoint
      void this.#onWatchBroken(
        new EtcdError('timeout', endpoint, `sent nothing for ${silenceMs} ms`),
      )
    }, silenceMs)
  }

  /**
   * Pauses, makes the client move away from the member with this endpoint, and then opens a new
   * watch.
   */
  async #onWatchBroken(error: EtcdError, endpoint = error.endpoint): Promise<void> {
    const { client } = this.#deps
    this.#closeWatch()
    const watchNumber = this.#watchNumber
    // Pause, because all members may have the same problem and each attempt is work for a member.
    // After a timeout the stream has waited already.
    await client.sleep(error.kind === 'timeout' ? 0 : client.callMs / 10)
    if (this.#isOver || watchNumber !== this.#watchNumber) return
    client.moveFrom(endpoint)
    // The change of the member makes other streams reopen their watches. This stream ignores the
    // change, because this stream has no watch now.
    void this.#open()
  }
}

/**
 * The error for a log that is not the same log any more: the log is on another etcd cluster, or its
 * revisions went back. Entries may be lost.
 */
export function logReplaced(problem: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `The log on etcd was replaced (${problem}), so the broker has stopped: restart all brokers`,
  )
}
