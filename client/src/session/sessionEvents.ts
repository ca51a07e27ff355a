/**
 * The states of a session, its events, and the emitter that calls the listeners of the events. The
 * grace is the time for which the broker keeps a session after its connection dropped. A resume
 * continues the session on a new connection.
 */
import { type HoldfastError, type LostReason, refuseUnknownName } from '@holdfast/shared'
import { EventEmitter } from 'eventemitter3'
import { callSafely } from '../platform/callbacks.js'
import { checkFunction } from '../platform/checks.js'

/**
 * - `connecting`: the client has no session yet.
 * - `connected`: the client has a session and a connection.
 * - `disconnected`: the connection is gone, or the session is being resumed; requests wait.
 * - `closed`: the session has ended for good.
 */
export type SessionState = 'connecting' | 'connected' | 'disconnected' | 'closed'

/** The fields that each `hello` of the session has. A `hello` opens or resumes the session. */
export interface SessionSettings {
  /** The token for the next `hello`; `session.authenticate` replaces the token. */
  token: string | undefined
  readonly name: string | undefined
  /** The requested lease in ms: how long the broker keeps the session of a silent client. */
  readonly lease: number | undefined
  /**
   * The requested grace in ms: how long the broker keeps the session without a connection.
   * `'lease'` requests a grace as long as the lease.
   */
  readonly grace: number | 'lease' | undefined
  /**
   * The cell to which the client expects the broker to belong, such as `1/4` (the first of four);
   * undefined without cells. Each cell is a broker or cluster with its own part of the keys.
   */
  readonly cell?: string | undefined
}

/** A lock that the session has lost. */
export interface LostLock {
  readonly key: string
  readonly fence: number
  readonly reason: LostReason
}

/** The events of a session, each with the type of its listeners. */
export interface SessionEvents {
  /**
   * The connection of a session with a grace is gone. The broker may still keep the session and its
   * locks until the grace has passed. The error is `UNAVAILABLE` and says why the connection is
   * gone.
   */
  jeopardy: (error: HoldfastError) => void
  /**
   * The connection is gone, and the client reconnects. The error is `UNAVAILABLE` and says why the
   * connection is gone. In a session with a grace, this event comes after `jeopardy`. In a session
   * without a grace, this event comes after a `lost` for each lock.
   */
  disconnected: (error: HoldfastError) => void
  /** The session was resumed, and the client knows again which locks the session holds. */
  resumed: () => void
  /** A new session has replaced the old session. The locks of the old session are lost. */
  newSession: () => void
  /** The session has lost a lock that it did not unlock. */
  lost: (lock: LostLock) => void
  /** The broker stops in at most `within` ms. The caller should finish its work and unlock. */
  draining: (event: { readonly within: number }) => void
  /**
   * The token expires in `within` ms. The caller must call `authenticate` with a new token, or the
   * broker closes the connection.
   */
  expiring: (event: { readonly within: number }) => void
  /** The session has ended for good. The error is undefined if the caller called `close`. */
  closed: (error: HoldfastError | undefined) => void
}

/** Events by name, each with the type of its listeners. */
export type EventMap<Events> = { readonly [E in keyof Events]: (...details: never[]) => void }

/** An object with the name of every event as a key. The values are always 1 and mean nothing. */
export type EventNames<Events> = Readonly<Record<keyof Events & string, 1>>

/**
 * Receives the changes of a session from its `SessionController`, which opens the session and
 * resumes it. The methods must not throw.
 */
export interface SessionControllerListener {
  /**
   * The broker has opened the first session. After the loss of a session, the controller goes on
   * with a new session, and does not call this method again.
   */
  onOpen(): void
  /** Passes an event to the listeners of the session. */
  notify<E extends keyof SessionEvents>(event: E, ...details: Parameters<SessionEvents[E]>): void
}

/** The events of a `Session`. A `CellSession` (a session with several cells) has other events. */
const eventNames: EventNames<SessionEvents> = {
  jeopardy: 1,
  disconnected: 1,
  resumed: 1,
  newSession: 1,
  lost: 1,
  draining: 1,
  expiring: 1,
  closed: 1,
}

/**
 * Whether an event has this name. `session.once(name, callback)` has two meanings. If `name` is the
 * name of an event, `once` adds a listener. If not, `name` is a key, and `once` runs the callback
 * under a lock. `error` also counts as an event, although no session emits it, because the function
 * `events.once` of Node listens to `error`.
 */
export function isEventName(name: unknown, names: object = eventNames): boolean {
  return name === 'error' || Object.hasOwn(names, String(name))
}

/** The function that `eventemitter3` calls, with the caller's listener as a property. */
type WrappedListener = ((...details: unknown[]) => void) & { readonly listener?: unknown }

/**
 * An event emitter on top of `eventemitter3`, with three more guarantees:
 * - an error that a listener throws is reported as an unhandled rejection, and the other listeners
 *   are still called;
 * - a listener of `once` is called once, even if an earlier listener causes the same event again;
 * - an unknown event is refused, because its listener would never be called.
 */
export class SessionEmitter<Events extends EventMap<Events> = SessionEvents> {
  readonly #emitter = new EventEmitter<string>()
  readonly #names: EventNames<Events>

  /** @param names The names of all events. Default: the names of the events of a `Session`. */
  constructor(names?: EventNames<Events>) {
    this.#names = names ?? (eventNames as never)
  }

  /**
   * Calls the listener at each event with this name.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event, or a listener that is no function
   */
  on<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.#add(event, listener, /* once */ false)
  }

  /**
   * Calls the listener at the next event with this name.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event, or a listener that is no function
   */
  once<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.#add(event, listener, /* once */ true)
  }

  /**
   * Removes the listener from this event. Does nothing if the event does not have this listener.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event, or a listener that is no function
   */
  off<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    this.#check(event)
    checkFunction('the listener', listener)
    for (const wrapped of this.#emitter.listeners(event) as WrappedListener[]) {
      if (wrapped.listener === listener) this.#emitter.off(event, wrapped)
    }
    return this
  }

  /** Calls all listeners of the event, in the order in which they were added. */
  emit<E extends keyof Events & string>(event: E, ...details: Parameters<Events[E]>): void {
    this.#emitter.emit(event, ...details)
  }

  #add<E extends keyof Events & string>(event: E, listener: Events[E], once: boolean): this {
    this.#check(event)
    checkFunction('the listener', listener)
    const wrapped = (...details: unknown[]) => {
      if (once) {
        if (!this.#emitter.listeners(event).includes(wrapped)) return
        this.#emitter.off(event, wrapped)
      }
      callSafely(() => (listener as unknown as (...details: unknown[]) => void)(...details))
    }
    this.#emitter.on(event, Object.assign(wrapped, { listener }))
    return this
  }

  #check(event: string): void {
    if (isEventName(event, this.#names)) return
    refuseUnknownName('a session has no event', String(event), this.#names)
  }
}
