/**
 * The store of a `HoldfastProvider`: opens the session, tries again while no broker answers, and
 * closes the session when the provider is unmounted.
 */
import { HoldfastError } from '@holdfast/shared'
import { type BrokerUrl, connect } from '../connect.js'
import type { ConnectOptions } from '../options.js'
import { callSafely } from '../platform/callbacks.js'
import { platformEnvironment } from '../platform/environment.js'
import type { Session } from '../session/session.js'
import type { SessionState } from '../session/sessionEvents.js'
import {
  exponentialBackoff,
  type RetryStrategy,
  usableDelay,
} from '../transport/retryStrategies.js'
import { Store } from './store.js'

/** The options of `connect`, except `signal`: the provider cancels connecting by itself. */
export type ProviderOptions = Omit<ConnectOptions, 'signal'>

/** The result of `useSession`. */
export interface SessionStatus {
  /** Undefined in server-side rendering, until the session is open, and after it is closed. */
  readonly session: Session | undefined
  /** The broker's id of the session. Changes when the client could not resume the session. */
  readonly id: string | undefined
  readonly state: SessionState
  /**
   * Why the session is not connected: the error of the last try to connect, the error of the
   * connection that dropped, or the error that ended the session.
   */
  readonly error: HoldfastError | undefined
}

/** The status in server-side rendering, and before the session is open. */
export const noSession: SessionStatus = {
  session: undefined,
  id: undefined,
  state: 'connecting',
  error: undefined,
}

export class SessionStore extends Store<SessionStatus> {
  constructor() {
    super(noSession)
  }

  /**
   * Updates the status at each change of a session that the caller has opened. Returns a function
   * that stops the updates, and leaves the session open.
   */
  follow(session: Session): () => void {
    const stopListening = this.#listenTo(session)
    return () => {
      stopListening()
      this.set(noSession)
    }
  }

  /**
   * Opens a session. Returns a function that closes the session.
   *
   * The session is opened at the end of the turn of the event loop, because React's strict mode
   * mounts, unmounts and mounts each component in one turn. Without the delay, the store would open
   * two sessions.
   */
  open(url: BrokerUrl | readonly BrokerUrl[], options: ProviderOptions): () => void {
    const abortController = new AbortController()
    let closeSession = () => {}
    const opener = new SessionOpener(url, options, abortController.signal, {
      onOpen: (session) => {
        const stopListening = this.#listenTo(session)
        closeSession = () => {
          stopListening()
          void session.close()
        }
      },
      onError: (error, willRetry) => {
        this.set({ ...noSession, state: willRetry ? 'connecting' : 'closed', error })
      },
    })
    platformEnvironment.endOfTurn(() => opener.start())
    return () => {
      abortController.abort()
      opener.stop()
      closeSession()
      this.set(noSession)
    }
  }

  /** Sets the status now and at each change. Returns a function that stops listening. */
  #listenTo(session: Session): () => void {
    const update = (error?: HoldfastError) => {
      const isClosed = session.state === 'closed'
      this.set({
        session: isClosed ? undefined : session,
        id: isClosed ? undefined : session.id,
        state: session.state,
        error,
      })
    }
    // The events `resumed` and `newSession` pass no error, so the error of the status is cleared.
    const onConnected = () => update()
    session.on('disconnected', update)
    session.on('resumed', onConnected)
    session.on('newSession', onConnected)
    session.on('closed', update)
    update()
    return () => {
      session.off('disconnected', update)
      session.off('resumed', onConnected)
      session.off('newSession', onConnected)
      session.off('closed', update)
    }
  }
}

interface OpenerListener {
  onOpen(session: Session): void
  onError(error: HoldfastError, willRetry: boolean): void
}

/** Tries to open a session, with the delays of the option `reconnect` between the tries. */
class SessionOpener {
  readonly #url: BrokerUrl | readonly BrokerUrl[]
  readonly #options: ProviderOptions
  readonly #signal: AbortSignal
  readonly #listener: OpenerListener
  #delays: Iterator<number> | undefined
  #cancelTimer = () => {}

  constructor(
    url: BrokerUrl | readonly BrokerUrl[],
    options: ProviderOptions,
    signal: AbortSignal,
    listener: OpenerListener,
  ) {
    this.#url = url
    this.#options = options
    this.#signal = signal
    this.#listener = listener
  }

  start(): void {
    if (this.#signal.aborted) return
    connect(this.#url, { ...this.#options, signal: this.#signal }).then(
      (session) => {
        if (this.#signal.aborted) void session.close()
        else this.#listener.onOpen(session)
      },
      (error: HoldfastError) => callSafely(() => this.#onError(error)),
    )
  }

  /** Cancels the next try. The abort signal cancels a try that is under way. */
  stop(): void {
    this.#cancelTimer()
  }

  #onError(error: HoldfastError): void {
    if (this.#signal.aborted) return
    let delay: number | undefined
    try {
      delay = error.retryable ? this.#nextDelay() : undefined
    } catch (cause) {
      const message = 'the reconnect strategy threw'
      this.#listener.onError(
        new HoldfastError('INVALID_OPTION', message, { cause }),
        /* willRetry */ false,
      )
      return
    }
    this.#listener.onError(error, delay !== undefined)
    if (delay === undefined) return
    const { clock } = platformEnvironment
    const timer = clock.setTimer(() => this.start(), delay)
    this.#cancelTimer = () => clock.clearTimer(timer)
  }

  /** Returns undefined if the strategy has no further delay. */
  #nextDelay(): number | undefined {
    this.#delays ??= strategyOf(this.#options)[Symbol.iterator]()
    const { done, value } = this.#delays.next()
    return done ? undefined : usableDelay(value)
  }
}

/** Returns the strategy of the option `reconnect`. The default is the same as in `connect`. */
function strategyOf({ reconnect }: ProviderOptions): RetryStrategy {
  if (reconnect === false) return []
  return reconnect ?? exponentialBackoff({ initial: 100, max: 5_000, jitter: 'full' })
}
