/**
 * Watching keys: the state first, then what happens; and the state again after each reconnect,
 * because nobody can say what happened in between.
 */
import type {
  Failed,
  HeldInfo,
  HoldfastError,
  LockEvent,
  Watching,
  WatchEvent as WatchMessage,
} from '@holdfast/shared'
import { callSafely } from './callSafely.js'
import { dispose } from './disposal.js'
import { errorOf } from './errorOf.js'
import { messageText, type Selection } from './messages.js'
import type { Outbox } from './outbox.js'
import type { Connection } from './transport/connection.js'

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

/** The broker refuses to watch (`QUOTA_EXCEEDED`); nothing follows. */
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
  [Symbol.dispose](): void
}

/** A watch, as the session keeps it. */
interface Entry {
  readonly selection: Selection
  readonly callback: (event: WatchEvent) => void
  /** Under which it was asked on the present connection. */
  id: number
  /** The parts of the state that have come. */
  held: HeldInfo[]
  hadState: boolean
}

/** All watches of a session. */
export class Watches {
  readonly #outbox: Outbox
  readonly #entries = new Set<Entry>()
  /** Those that were asked on the present connection. */
  readonly #byId = new Map<number, Entry>()
  #connection: Connection | undefined

  constructor(outbox: Outbox) {
    this.#outbox = outbox
  }

  add(selection: Selection, callback: (event: WatchEvent) => void): Watch {
    const entry: Entry = { selection, callback, id: 0, held: [], hadState: false }
    this.#entries.add(entry)
    if (this.#connection !== undefined) this.#ask(entry, this.#connection)
    const close = () => {
      this.#entries.delete(entry)
      if (this.#byId.delete(entry.id))
        this.#connection?.send(messageText('unwatch', { watch: entry.id }))
    }
    return { close, [dispose]: close }
  }

  goUp(connection: Connection): void {
    this.#connection = connection
    for (const entry of this.#entries) this.#ask(entry, connection)
  }

  goDown(): void {
    this.#connection = undefined
    this.#byId.clear()
  }

  /** The session is over. */
  clear(): void {
    this.goDown()
    this.#entries.clear()
  }

  onPart({ id, held, heldCount, more }: Watching): void {
    const entry = this.#byId.get(id)
    if (entry === undefined) return
    entry.held.push(...held)
    if (more) return
    const state = { event: 'state', held: entry.held, heldCount, resync: entry.hadState } as const
    entry.hadState = true
    entry.held = []
    this.#deliver(entry, state)
  }

  onEvent({ watch, event }: WatchMessage): void {
    this.#deliver(this.#byId.get(watch), event)
  }

  /** False if it is not a watch that failed. */
  onFailed(failed: Failed): boolean {
    const entry = this.#byId.get(failed.id)
    if (entry === undefined) return false
    this.#byId.delete(failed.id)
    this.#deliver(entry, { event: 'refused', error: errorOf(failed) })
    this.#entries.delete(entry)
    return true
  }

  #ask(entry: Entry, connection: Connection): void {
    entry.id = this.#outbox.newId()
    entry.held = []
    this.#byId.set(entry.id, entry)
    connection.send(messageText('watch', { id: entry.id, ...entry.selection }))
  }

  #deliver(entry: Entry | undefined, event: WatchEvent): void {
    if (entry !== undefined) callSafely(() => entry.callback(event))
  }
}
