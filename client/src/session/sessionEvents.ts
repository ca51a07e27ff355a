/** The states of a session, its events, and the emitter that calls the listeners of the events. */
import { type HoldfastError, type LostReason, refuseUnknownName } from '@holdfast/shared'
import { EventEmitter } from 'eventemitter3'
import { callSafely } from '../platform/callbacks.js'
import { checkFunction } from '../platform/checks.js'

/**
 * - `connecting`: there is no session yet.
 * - `connected`: there is a session and a connection.
 * - `disconnected`: the connection is gone, or the session is being resumed; requests wait.
 * - `closed`: the session has ended for good.
 */
export type SessionState = 'connecting' | 'connected' | 'disconnected' | 'closed'

/** The fields of each `hello`. */
export interface SessionSettings {
  /** For the next `hello`; `session.authenticate` replaces it. */
  token: string | undefined
  readonly name: string | undefined
  /** The requested lease, in ms. */
  readonly lease: number | undefined
  readonly grace: number | 'lease' | undefined
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
   * The connection is gone, and the session may still hold its locks within the grace. The error is
   * `UNAVAILABLE` and says why.
   */
  jeopardy: (error: HoldfastError) => void
  /** The session was resumed, and its locks are known again. */
  resumed: () => void
  /** A new session has replaced the old session, whose locks are lost. */
  newSession: () => void
  lost: (lock: LostLock) => void
  /** The broker closes within this many ms: finish the work and unlock. */
  draining: (event: { readonly within: number }) => void
  /**
   * The token expires in this many ms: call `authenticate` with a new token, or be disconnected.
   */
  expiring: (event: { readonly within: number }) => void
  /** The session has ended for good; the error is undefined after `close()`. */
  closed: (error: HoldfastError | undefined) => void
}

/** Is told about the changes of a session; must not throw. */
export interface SessionControllerListener {
  /** The first session is open. */
  onOpen(): void
  /** An event for the listeners of the session. */
  notify<E extends keyof SessionEvents>(event: E, ...details: Parameters<SessionEvents[E]>): void
}

const eventNames: Readonly<Record<keyof SessionEvents, 1>> = {
  jeopardy: 1,
  resumed: 1,
  newSession: 1,
  lost: 1,
  draining: 1,
  expiring: 1,
  closed: 1,
}

type Call = ((...details: unknown[]) => void) & { readonly listener?: unknown }

/**
 * Adds to `eventemitter3` what a session promises about its listeners:
 * - an error that a listener throws is reported as an unhandled rejection, and the other listeners
 *   are still called;
 * - a listener of `once` is called once, even if an earlier listener causes the same event again;
 * - an unknown event is refused, because its listener would never be called.
 */
export class SessionEmitter {
  readonly #emitter = new EventEmitter<string>()

  /**
   * Calls the listener at each such event.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event
   */
  on<E extends keyof SessionEvents>(event: E, listener: SessionEvents[E]): this {
    return this.#add(event, listener, false)
  }

  /**
   * Calls the listener at the next such event.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event
   */
  once<E extends keyof SessionEvents>(event: E, listener: SessionEvents[E]): this {
    return this.#add(event, listener, true)
  }

  /**
   * Removes the listener from this event.
   * @throws HoldfastError `INVALID_OPTION` for an unknown event
   */
  off<E extends keyof SessionEvents>(event: E, listener: SessionEvents[E]): this {
    checkEvent(event)
    for (const call of this.#emitter.listeners(event) as Call[]) {
      if (call.listener === listener) this.#emitter.off(event, call)
    }
    return this
  }

  /** Calls all listeners of the event, in the order in which they were added. */
  emit<E extends keyof SessionEvents>(event: E, ...details: Parameters<SessionEvents[E]>): void {
    this.#emitter.emit(event, ...details)
  }

  #add<E extends keyof SessionEvents>(event: E, listener: SessionEvents[E], once: boolean): this {
    checkEvent(event)
    checkFunction('the listener', listener)
    const call = (...details: unknown[]) => {
      if (once) {
        if (!this.#emitter.listeners(event).includes(call)) return
        this.#emitter.off(event, call)
      }
      callSafely(() => (listener as (...details: unknown[]) => void)(...details))
    }
    this.#emitter.on(event, Object.assign(call, { listener }))
    return this
  }
}

/** Allows `error`, which no session emits, because `events.once` of Node listens to it. */
function checkEvent(event: string): void {
  if (event !== 'error') refuseUnknownName('a session has no event', String(event), eventNames)
}
