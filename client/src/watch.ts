/**
 * Watching keys: the state first, then what happens; and the state again after each reconnect,
 * because nobody can say what happened in between.
 */
import {
  type ErrorCode,
  type Failed,
  type HeldInfo,
  HoldfastError,
  isErrorCode,
  type LockEvent,
  type Watching,
  type WatchEvent as WatchMessage,
} from '@holdfast/shared'
import { callSafely } from './callSafely.js'
import { type Selection, unwatchText, watchText } from './messages.js'
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

/** Where `Symbol.dispose` does not exist yet, `close` is the only way. */
const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')

/** All watches of a session. */
export class Watches {
  readonly #outbox: Outbox
  readonly #watches = new Set<ActiveWatch>()
  /** By the id under which it was asked on the present connection. */
  readonly #byId = new Map<number, ActiveWatch>()
  #connection: Connection | undefined

  constructor(outbox: Outbox) {
    this.#outbox = outbox
  }

  add(selection: Selection, callback: (event: WatchEvent) => void): Watch {
    const watch = new ActiveWatch(selection, callback, (closed) => this.#remove(closed))
    this.#watches.add(watch)
    if (this.#connection !== undefined) this.#ask(watch, this.#connection)
    return watch
  }

  goUp(connection: Connection): void {
    this.#connection = connection
    for (const watch of this.#watches) this.#ask(watch, connection)
  }

  goDown(): void {
    this.#connection = undefined
    this.#byId.clear()
  }

  /** The session is over. */
  clear(): void {
    this.goDown()
    for (const watch of this.#watches) watch.close()
  }

  onPart(part: Watching): void {
    this.#byId.get(part.id)?.onPart(part)
  }

  onEvent({ watch, event }: WatchMessage): void {
    this.#byId.get(watch)?.deliver(event)
  }

  /** False if it is not a watch that failed. */
  onFailed({ id, code, message }: Failed): boolean {
    const watch = this.#byId.get(id)
    if (watch === undefined) return false
    this.#byId.delete(id)
    const known: ErrorCode = isErrorCode(code) ? code : 'UNAVAILABLE'
    watch.deliver({ event: 'refused', error: new HoldfastError(known, message) })
    watch.close()
    return true
  }

  #ask(watch: ActiveWatch, connection: Connection): void {
    const id = this.#outbox.newId()
    watch.onAsked(id)
    this.#byId.set(id, watch)
    connection.send(watchText(id, watch.selection))
  }

  #remove(watch: ActiveWatch): void {
    this.#watches.delete(watch)
    if (this.#byId.delete(watch.id)) this.#connection?.send(unwatchText(watch.id))
  }
}

class ActiveWatch implements Watch {
  readonly selection: Selection
  id = 0
  readonly #callback: (event: WatchEvent) => void
  readonly #onClose: (watch: ActiveWatch) => void
  #held: HeldInfo[] = []
  #hadState = false
  #closed = false

  constructor(
    selection: Selection,
    callback: (event: WatchEvent) => void,
    onClose: (watch: ActiveWatch) => void,
  ) {
    this.selection = selection
    this.#callback = callback
    this.#onClose = onClose
  }

  onAsked(id: number): void {
    this.id = id
    this.#held = []
  }

  onPart({ held, heldCount, more }: Watching): void {
    this.#held.push(...held)
    if (more) return
    const resync = this.#hadState
    this.#hadState = true
    this.deliver({ event: 'state', held: this.#held, heldCount, resync })
    this.#held = []
  }

  deliver(event: WatchEvent): void {
    if (!this.#closed) callSafely(() => this.#callback(event))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose(this)
  }

  [dispose](): void {
    this.close()
  }
}
