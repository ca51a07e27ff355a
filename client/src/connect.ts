/** From a URL to a session. */
import { HoldfastError } from '@holdfast/shared'
import { callSafely } from './callSafely.js'
import { type Environment, machine } from './environment.js'
import { abortedError, type ConnectOptions, checkConnect } from './options.js'
import { exponentialBackoff } from './retry/strategies.js'
import { Session } from './session.js'
import { Standing } from './standing.js'
import type { StandingListener } from './state.js'

/** Where a broker listens: `ws://` or `wss://`. */
export type BrokerUrl = string | URL

/**
 * Opens a session with a broker. With a list of URLs each is tried once, in order.
 *
 * Rejects with `UNAVAILABLE` if no broker answers within 10 s each (`cause` says why),
 * `UNAUTHORIZED`, `FORBIDDEN`, `QUOTA_EXCEEDED`, `ABORTED`, `INVALID_OPTION`, `INVALID_TTL`.
 */
export async function connect(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions = {},
): Promise<Session> {
  return connectIn(url, options, machine)
}

/** Like {@link connect}, on a machine of the caller's choice. */
export async function connectIn(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions,
  environment: Environment,
): Promise<Session> {
  const { urls, settings, signal, reconnect, WebSocket } = checkConnect(url, options)
  if (signal?.aborted) throw abortedError(signal)
  const WebSocketClass = WebSocket ?? environment.WebSocket
  if (typeof WebSocketClass !== 'function') {
    const sentence = 'this platform has no WebSocket: give a class as the option WebSocket'
    throw new HoldfastError('INVALID_OPTION', sentence)
  }
  const strategy =
    reconnect ??
    exponentialBackoff(
      { initial: 100, multiplier: 2, max: 5_000, jitter: 'full' },
      environment.random,
    )
  const link = { urls, WebSocket: WebSocketClass, strategy }
  let session: Session | undefined
  let onAbort: (() => void) | undefined
  try {
    await new Promise<void>((opened, failed) => {
      const listener = listenerFor(opened, failed, (emit) => callSafely(() => emit(session!)))
      const standing = new Standing(environment, link, settings, listener)
      const newTask = environment.newTask ?? environment.endOfTurn
      session = new Session(standing, settings.name, { newTask, tracer: options.tracer })
      onAbort = () => {
        failed(abortedError(signal!))
        void standing.close()
      }
      signal?.addEventListener('abort', onAbort)
      standing.open()
    })
    return session!
  } finally {
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
  }
}

/**
 * What happens to the standing becomes the end of `connect`, and then the events of the session.
 */
function listenerFor(
  opened: () => void,
  failed: (error: HoldfastError | undefined) => void,
  tell: (emit: (session: Session) => void) => void,
): StandingListener {
  return {
    onOpen: opened,
    onJeopardy: () => tell((session) => session.emit('jeopardy')),
    onResumed: () => tell((session) => session.emit('resumed')),
    onRenewed: () => tell((session) => session.emit('renewed')),
    onLost: (key, fence, reason) => tell((session) => session.emit('lost', { key, fence, reason })),
    onDraining: (within) => tell((session) => session.emit('draining', { within })),
    onExpiring: (within) => tell((session) => session.emit('expiring', { within })),
    onClosed: (error) => {
      failed(error)
      tell((session) => session.emit('closed', error))
    },
  }
}
