/**
 * Observes an election, in which sessions campaign for one exclusive lock. The holder of the lock
 * is the leader. An observation is an async iterator of the leaders, made from a watch of the key
 * (a stream of events about the locks of the key).
 *
 * The iterator yields the present leader first, and then each change in order: another leader,
 * another value of the leader, or `undefined` while no session leads. If the consumer is slow, the
 * iterator skips to the newest change. After a reconnect the iterator yields the present leader
 * only if the leader or the leader's value has changed.
 */
import {
  type HeldInfo,
  type HoldfastError,
  type OptionNames,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { asyncDispose, onAbort, throwIfAborted } from '../platform/callbacks.js'
import { checkKey, checkSignal } from '../platform/checks.js'
import type { Watch, WatchEvent } from './watch.js'

/**
 * The leader of an election, as other sessions see it. The fence is a number that rises with each
 * grant.
 */
export interface Leader extends Pick<HeldInfo, 'session' | 'name' | 'fence' | 'since'> {
  /** The value that the leader publishes; undefined if the leader publishes no value. */
  readonly value: unknown
}

/** The options of `session.observe`. */
export interface ObserveOptions {
  /** When aborted, the iterator throws `ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

const observeOptionNames: OptionNames<ObserveOptions> = { signal: 1 }

/** How many changes may wait for a slow consumer. A further change replaces all of them. */
const maxChanges = 64

/** What an observation needs of its session. */
export interface ObservedSession {
  watch(key: string, callback: (event: WatchEvent) => void): Watch
  on(event: 'closed', listener: () => void): unknown
  off(event: 'closed', listener: () => void): unknown
}

type NextResult = IteratorResult<Leader | undefined, undefined>

/** A call of `next` that waits for a change. */
interface WaitingCall {
  resolve(result: NextResult): void
  reject(error: HoldfastError): void
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkObserve(key: unknown, options: ObserveOptions): ObserveOptions {
  checkKey(key)
  refuseUnknownOptions('observe', options, observeOptionNames)
  checkSignal(options.signal)
  return options
}

export class Observation implements AsyncIterableIterator<Leader | undefined> {
  readonly #session: ObservedSession
  readonly #closedError: () => HoldfastError
  readonly #key: string
  readonly #signal: AbortSignal | undefined
  /**
   * Closes the watch and removes the listeners. Undefined until the first call of `next` opens the
   * watch, so that an unused iterator costs nothing.
   */
  #stop: (() => void) | undefined
  /**
   * The newest leader; undefined while no session leads. `null` until the first `state` event,
   * which lists the present locks of the key.
   */
  #newestLeader: Leader | undefined | null = null
  /** The changes that `next` has not returned yet: the leader after each change. */
  #changes: (Leader | undefined)[] = []
  /**
   * Whether a microtask will deliver the changes. The microtask runs after the client has handled
   * all events of the present WebSocket frame.
   */
  #isDeliveryScheduled = false
  readonly #waitingCalls: WaitingCall[] = []
  /** The error that `next` throws once, after the remaining changes. */
  #error: HoldfastError | undefined
  #isOver = false

  /** @param closedError Makes the error that the iterator throws after the end of the session. */
  constructor(
    session: ObservedSession,
    closedError: () => HoldfastError,
    key: string,
    signal: AbortSignal | undefined,
  ) {
    this.#session = session
    this.#closedError = closedError
    this.#key = key
    this.#signal = signal
  }

  async next(): Promise<NextResult> {
    if (this.#stop === undefined && !this.#isOver) this.#start()
    return new Promise((resolve, reject) => {
      this.#waitingCalls.push({ resolve, reject })
      this.#deliver()
    })
  }

  /** Ends the observation, as `break` does in a `for await` loop. */
  async return(): Promise<NextResult> {
    this.#end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [asyncDispose](): Promise<void> {
    this.#end()
  }

  #start(): void {
    throwIfAborted(this.#signal, this.#key)
    const fail = (error: HoldfastError) => this.#end(error)
    const watch = this.#session.watch(this.#key, (event) => this.#onEvent(event))
    const stopListening = onAbort(this.#signal, fail)
    const onClosed = () => this.#end(this.#closedError())
    this.#session.on('closed', onClosed)
    this.#stop = () => {
      watch.close()
      stopListening()
      this.#session.off('closed', onClosed)
    }
  }

  #onEvent(event: WatchEvent): void {
    if (event.event === 'refused') this.#end(event.error)
    else if (event.event === 'state') this.#change(event.held.find(({ election }) => election))
    else if (event.event === 'locked' || event.event === 'proclaimed') {
      // `locked`: a session has become the leader. `proclaimed`: the leader has another value.
      if (event.election) this.#change(event)
    } else if (event.fence === this.#newestLeader?.fence) {
      // The leadership has ended, because a leader's lock cannot be upgraded or downgraded.
      this.#change(undefined)
    }
  }

  /** Adds a change, unless the leader and its value are the same as before. */
  #change(leaderLock: HeldInfo | undefined): void {
    const leader = leaderLock && leaderOf(leaderLock)
    if (this.#newestLeader !== null && isSameLeadership(leader, this.#newestLeader)) return
    this.#newestLeader = leader
    // One frame may have both the end of a leadership and the next leader. Then this drops the
    // `undefined` between the two leaders.
    if (this.#isDeliveryScheduled && leader !== undefined && this.#changes.at(-1) === undefined) {
      this.#changes.pop()
    }
    this.#changes.push(leader)
    if (this.#changes.length > maxChanges) this.#changes = [leader]
    if (this.#isDeliveryScheduled) return
    this.#isDeliveryScheduled = true
    void Promise.resolve().then(() => {
      this.#isDeliveryScheduled = false
      this.#deliver()
    })
  }

  /** Settles the calls of `next` that can be settled. */
  #deliver(): void {
    if (this.#isDeliveryScheduled) return
    while (this.#waitingCalls.length > 0) {
      const hasChange = this.#changes.length > 0
      if (!hasChange && !this.#isOver) return
      const { resolve, reject } = this.#waitingCalls.shift()!
      const error = this.#error
      if (hasChange) resolve({ done: false, value: this.#changes.shift() })
      else if (error === undefined) resolve({ done: true, value: undefined })
      else {
        this.#error = undefined
        reject(error)
      }
    }
  }

  /**
   * Ends the observation. With an error, `next` returns the remaining changes, and then throws the
   * error. Without an error, the consumer has ended the observation, so the remaining changes are
   * dropped.
   */
  #end(error?: HoldfastError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stop?.()
    this.#error = error
    if (error === undefined) this.#changes = []
    this.#deliver()
  }
}

function leaderOf({ session, name, fence, since, value }: HeldInfo): Leader {
  return { session, name, fence, since, value }
}

/**
 * Whether two leaders have the same fence and the same value. Each leadership has its own fence.
 * Compares the JSON texts of the values.
 */
function isSameLeadership(a: Leader | undefined, b: Leader | undefined): boolean {
  return a?.fence === b?.fence && JSON.stringify(a?.value) === JSON.stringify(b?.value)
}
