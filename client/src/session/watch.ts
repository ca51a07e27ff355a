/**
 * The watches of a session. A watch first gets the state, and then the events. After each reconnect
 * it gets the state again, because events may have been missed.
 */
import {
  type Failed,
  type HeldInfo,
  type HoldfastError,
  type LockEvent,
  maxQueryItems,
  type Watching,
  type WatchEvent as WatchMessage,
} from '@holdfast/shared'
import { callSafely, dispose } from '../platform/callbacks.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import { errorOfFailed, withKey } from '../requests/requests.js'
import { type Connection, ProtocolViolation } from '../transport/connection.js'
import { messageText, type Selection } from '../transport/messages.js'

/** All locks at one moment: the first event of a watch, and the first event after a reconnect. */
export interface StateEvent {
  readonly event: 'state'
  /** At most 1,000 locks. */
  readonly held: readonly HeldInfo[]
  /** How many locks there are, in the list or not. */
  readonly heldCount: number
  /** True after a reconnect: events may have been missed, and this is the new state. */
  readonly resync: boolean
}

/** The broker refuses the watch (`QUOTA_EXCEEDED`, `FORBIDDEN`). The last event of the watch. */
export interface RefusedEvent {
  readonly event: 'refused'
  readonly error: HoldfastError
}

export type WatchEvent = StateEvent | LockEvent | RefusedEvent

/** A watch, which lasts until it or its session is closed. */
export interface Watch {
  /** Ends the watch; no event follows. May be called again. */
  close(): void
  /** The same as `close`. */
  [dispose](): void
}

/** A watch, as the session keeps it. */
interface ActiveWatch {
  readonly selection: Selection
  readonly callback: (event: WatchEvent) => void
  /** The id of the watch on the present connection. */
  id: number
  /** The parts of the state that have arrived on the present connection. */
  held: HeldInfo[]
  hadState: boolean
}

/** All watches of a session. */
export class Watches {
  readonly #pendingRequests: PendingRequests
  /** By id. */
  readonly #watches = new Map<number, ActiveWatch>()
  #connection: Connection | undefined

  constructor(pendingRequests: PendingRequests) {
    this.#pendingRequests = pendingRequests
  }

  add(selection: Selection, callback: (event: WatchEvent) => void): Watch {
    const watch: ActiveWatch = { selection, callback, id: 0, held: [], hadState: false }
    this.#begin(watch)
    const close = () => {
      if (this.#watches.delete(watch.id)) {
        this.#connection?.send(messageText('unwatch', { watch: watch.id }))
      }
    }
    return { close, [dispose]: close }
  }

  connect(connection: Connection): void {
    this.#connection = connection
    const watches = [...this.#watches.values()]
    this.#watches.clear()
    for (const watch of watches) this.#begin(watch)
  }

  disconnect(): void {
    this.#connection = undefined
  }

  /** The session has ended for good. */
  clear(): void {
    this.#watches.clear()
  }

  /**
   * A part of the state of a watch.
   * @throws ProtocolViolation if the parts list more locks than a broker may list
   */
  onPart({ id, held, heldCount, more }: Watching): void {
    const watch = this.#watches.get(id)
    if (watch === undefined) return
    watch.held.push(...held)
    if (watch.held.length > maxQueryItems) {
      throw new ProtocolViolation(`watching lists more than ${maxQueryItems} locks`)
    }
    if (more) return
    const state = { event: 'state', held: watch.held, heldCount, resync: watch.hadState } as const
    watch.hadState = true
    watch.held = []
    deliver(watch, state)
  }

  onEvent({ watch, event }: WatchMessage): void {
    const ids = typeof watch === 'number' ? [watch] : watch
    for (const id of ids) deliver(this.#watches.get(id), event)
  }

  /** Returns false if the message is not about a watch. */
  onFailed(failed: Failed): boolean {
    const watch = this.#watches.get(failed.id)
    if (!this.#watches.delete(failed.id)) return false
    const error = withKey(watch?.selection.key, errorOfFailed(failed, ''))
    deliver(watch, { event: 'refused', error })
    return true
  }

  /** Sends the watch now. Without a connection, `connect` sends it later with another id. */
  #begin(watch: ActiveWatch): void {
    watch.id = this.#pendingRequests.newId()
    watch.held = []
    this.#watches.set(watch.id, watch)
    this.#connection?.send(messageText('watch', { id: watch.id, ...watch.selection }))
  }
}

function deliver(watch: ActiveWatch | undefined, event: WatchEvent): void {
  if (watch !== undefined) callSafely(() => watch.callback(event))
}
