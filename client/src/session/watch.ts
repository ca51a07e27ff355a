/**
 * Watching keys: the state first, then what happens; and the state again after each reconnect,
 * because nobody can say what happened in between.
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
import { callSafely } from '../platform/callSafely.js'
import { dispose } from '../platform/disposal.js'
import { about, errorOf } from '../requests/errorOf.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import type { Connection } from '../transport/connection.js'
import { messageText, type Selection } from '../transport/messages.js'
import { ProtocolViolation } from '../transport/violation.js'

/** All that is held at one moment: the first event of a watch, and the first after a reconnect. */
export interface StateEvent {
  readonly event: 'state'
  /** At most 1,000 locks. */
  readonly held: readonly HeldInfo[]
  /** How many there are, listed or not. */
  readonly heldCount: number
  /** True after a reconnect: events may have been missed, this is what came of them. */
  readonly resync: boolean
}

/** The broker refuses to watch (`QUOTA_EXCEEDED`, `FORBIDDEN`); nothing follows. */
export interface RefusedEvent {
  readonly event: 'refused'
  readonly error: HoldfastError
}

export type WatchEvent = StateEvent | LockEvent | RefusedEvent

/** A watch that goes on until it is closed, or its session is. */
export interface Watch {
  /** No event comes after this. May be called again. */
  close(): void
  /** The same as `close`. */
  [dispose](): void
}

/** A watch, as the session keeps it. */
interface WatchState {
  readonly selection: Selection
  readonly callback: (event: WatchEvent) => void
  /** Under which it was asked on the present connection. */
  id: number
  /** The parts of the state that have come on it. */
  held: HeldInfo[]
  hadState: boolean
}

/** All watches of a session. */
export class Watches {
  readonly #outbox: PendingRequests
  /** By the ids under which they were asked last. */
  readonly #entries = new Map<number, WatchState>()
  #connection: Connection | undefined

  constructor(outbox: PendingRequests) {
    this.#outbox = outbox
  }

  add(selection: Selection, callback: (event: WatchEvent) => void): Watch {
    const entry: WatchState = { selection, callback, id: 0, held: [], hadState: false }
    this.#ask(entry)
    const close = () => {
      if (this.#entries.delete(entry.id))
        this.#connection?.send(messageText('unwatch', { watch: entry.id }))
    }
    return { close, [dispose]: close }
  }

  goUp(connection: Connection): void {
    this.#connection = connection
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) this.#ask(entry)
  }

  goDown(): void {
    this.#connection = undefined
  }

  /** The session is over. */
  clear(): void {
    this.#entries.clear()
  }

  /** @throws Violation if the parts list more locks than a broker may list. */
  onPart({ id, held, heldCount, more }: Watching): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    if (entry.held.length + held.length > maxQueryItems) {
      throw new ProtocolViolation(`watching lists more than ${maxQueryItems} locks`)
    }
    entry.held.push(...held)
    if (more) return
    const state = { event: 'state', held: entry.held, heldCount, resync: entry.hadState } as const
    entry.hadState = true
    entry.held = []
    this.#deliver(entry, state)
  }

  onEvent({ watch, event }: WatchMessage): void {
    const ids = typeof watch === 'number' ? [watch] : watch
    for (const id of ids) this.#deliver(this.#entries.get(id), event)
  }

  /** False if it is not a watch that failed. */
  onFailed(failed: Failed): boolean {
    const entry = this.#entries.get(failed.id)
    if (!this.#entries.delete(failed.id)) return false
    this.#deliver(entry, {
      event: 'refused',
      error: about(entry?.selection.key, errorOf(failed, '')),
    })
    return true
  }

  /** Now or, if there is no connection, under another id on the next. */
  #ask(entry: WatchState): void {
    entry.id = this.#outbox.newId()
    entry.held = []
    this.#entries.set(entry.id, entry)
    this.#connection?.send(messageText('watch', { id: entry.id, ...entry.selection }))
  }

  #deliver(entry: WatchState | undefined, event: WatchEvent): void {
    if (entry !== undefined) callSafely(() => entry.callback(event))
  }
}
