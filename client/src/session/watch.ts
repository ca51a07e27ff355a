/**
 * The watches of a session. A watch selects a key, all keys with a prefix, or all keys. The
 * callback of a watch first gets the state: a list of the held locks of these keys. With the option
 * `queue`, the state also lists the requests that wait. Then the callback gets an event for each
 * change. After a reconnect the callback gets the state again, because the client may have missed
 * events.
 */
import {
  type Failed,
  type HeldInfo,
  type HoldfastError,
  isKnownEvent,
  type LockEvent,
  maxQueryItems,
  type QueuedInfo,
  type QueueEvent,
  type Watching,
  type WatchEvent as WatchMessage,
} from '@holdfast/shared'
import { callSafely, dispose } from '../platform/callbacks.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import { errorOfFailed, withKey } from '../requests/requests.js'
import { type Connection, ProtocolViolation } from '../transport/connection.js'
import { messageText, type WatchOptions } from '../transport/messages.js'

/** The locks at one moment: the first event of a watch, and the first event after a reconnect. */
export interface StateEvent {
  readonly event: 'state'
  /** The held locks that the watch selects, at most 1,000. */
  readonly held: readonly HeldInfo[]
  /** How many held locks the watch selects, including those that the list leaves out. */
  readonly heldCount: number
  /** The requests that wait, at most 1,000; only with `queue: true`. */
  readonly waiting?: readonly QueuedInfo[] | undefined
  /** How many requests wait, including those that the list leaves out; only with `queue: true`. */
  readonly waitingCount?: number | undefined
  /** True for the state after a reconnect. The client may have missed events before this state. */
  readonly resync: boolean
}

/** The broker refused the watch (`QUOTA_EXCEEDED`, `FORBIDDEN`), so no further event follows. */
export interface RefusedEvent {
  readonly event: 'refused'
  readonly error: HoldfastError
}

/**
 * What the callback of a watch gets, besides the events of queues. `shared` has another type
 * `WatchEvent`, a message; this file imports that type as `WatchMessage`.
 */
export type WatchEvent = StateEvent | LockEvent | RefusedEvent

/** What a watch selects: a key, or options. `HasQueue` is true for options with `queue: true`. */
export type WatchSelection<HasQueue extends boolean> =
  | string
  | (WatchOptions & { readonly queue?: HasQueue | undefined })

/**
 * The callback of a watch. The callback gets the events of queues only with `queue: true`. A watch
 * of several cells (independent brokers or clusters) passes its own type as `Event`.
 */
export type WatchCallback<HasQueue extends boolean, Event = WatchEvent> = (
  event: Event | (HasQueue extends true ? QueueEvent : never),
) => void

/** The caller's handle on a watch. The watch lasts until the handle or the session is closed. */
export interface Watch {
  /** Ends the watch: the callback gets no further event. A second call does nothing. */
  close(): void
  /** Calls `close`. */
  [dispose](): void
}

/** The session's record of a watch that is not closed. */
interface ActiveWatch {
  readonly selection: WatchOptions
  readonly callback: (event: WatchEvent | QueueEvent) => void
  /** The id of the watch on the present connection. */
  id: number
  /**
   * A state may consist of several `watching` messages. Until the last message arrives, this list
   * collects their locks.
   */
  held: HeldInfo[]
  /** Collects the waiting requests of the same messages. */
  waiting: QueuedInfo[]
  /** Whether the callback has got a state before. */
  hasState: boolean
}

/** All watches of a session. */
export class Watches {
  readonly #pendingRequests: PendingRequests
  /** The watches by their ids on the present connection. */
  readonly #watches = new Map<number, ActiveWatch>()
  #connection: Connection | undefined

  constructor(pendingRequests: PendingRequests) {
    this.#pendingRequests = pendingRequests
  }

  /** Begins a watch. Without a connection, `sendAll` sends the watch later. */
  add(selection: WatchOptions, callback: (event: WatchEvent | QueueEvent) => void): Watch {
    const watch: ActiveWatch = {
      selection,
      callback,
      // `#send` sets the id.
      id: 0,
      held: [],
      waiting: [],
      hasState: false,
    }
    this.#send(watch)
    const close = () => {
      if (this.#watches.delete(watch.id)) {
        this.#connection?.send(messageText('unwatch', { watch: watch.id }))
      }
    }
    return { close, [dispose]: close }
  }

  /** Whether the session has no watch. */
  get isEmpty(): boolean {
    return this.#watches.size === 0
  }

  /** Sends all watches on a new connection. */
  sendAll(connection: Connection): void {
    this.#connection = connection
    const watches = [...this.#watches.values()]
    this.#watches.clear()
    for (const watch of watches) this.#send(watch)
  }

  /** Call when the connection is gone. */
  onDisconnected(): void {
    this.#connection = undefined
  }

  /** Forgets all watches, because the session has ended for good. */
  clear(): void {
    this.#watches.clear()
  }

  /**
   * Handles a `watching` message, which has a part of the state of a watch.
   * @throws ProtocolViolation if the messages of one state have more locks or requests than a
   *   broker may list
   */
  onWatching({ id, held, heldCount, waiting = [], waitingCount, more }: Watching): void {
    const watch = this.#watches.get(id)
    if (watch === undefined) return
    watch.held.push(...held)
    watch.waiting.push(...waiting)
    if (Math.max(watch.held.length, watch.waiting.length) > maxQueryItems) {
      throw new ProtocolViolation(`"watching" has more than ${maxQueryItems} locks or requests`)
    }
    if (more) return
    const stateEvent = {
      event: 'state',
      held: watch.held,
      heldCount,
      ...(watch.selection.queue && { waiting: watch.waiting, waitingCount }),
      resync: watch.hasState,
    } as const
    watch.hasState = true
    watch.held = []
    watch.waiting = []
    deliver(watch, stateEvent)
  }

  /**
   * Handles a message of the type `event`, which tells one or more watches of one change.
   * Ignores a change of an unknown kind, which a newer broker may send.
   */
  onEvent({ watch: idOrIds, event }: WatchMessage): void {
    if (!isKnownEvent(event)) return
    const ids = typeof idOrIds === 'number' ? [idOrIds] : idOrIds
    for (const id of ids) deliver(this.#watches.get(id), event)
  }

  /** Ends the watch that this message refuses. Returns false if the message refuses no watch. */
  onFailed(failed: Failed): boolean {
    const watch = this.#watches.get(failed.id)
    if (!this.#watches.delete(failed.id)) return false
    // `errorOfFailed` needs the id of the session only to find the session among the holders. The
    // refusal of a watch names no holders.
    const error = withKey(watch?.selection.key, errorOfFailed(failed, /* session */ ''))
    deliver(watch, { event: 'refused', error })
    return true
  }

  /** Sends the watch. Without a connection, `sendAll` sends the watch later with another id. */
  #send(watch: ActiveWatch): void {
    watch.id = this.#pendingRequests.newId()
    watch.held = []
    watch.waiting = []
    this.#watches.set(watch.id, watch)
    this.#connection?.send(messageText('watch', { id: watch.id, ...watch.selection }))
  }
}

function deliver(watch: ActiveWatch | undefined, event: WatchEvent | QueueEvent): void {
  if (watch !== undefined) callSafely(() => watch.callback(event))
}
