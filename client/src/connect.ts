/** From a URL to a session. */

import { type ConnectOptions, checkConnect } from './options.js'
import { onAbort, refuseAborted } from './platform/callbacks.js'
import { check } from './platform/checks.js'
import { type Environment, platformEnvironment } from './platform/environment.js'
import { Session } from './session/session.js'
import { SessionController } from './session/sessionController.js'
import { exponentialBackoff } from './transport/retryStrategies.js'

/** Where a broker listens: `ws://` or `wss://`. */
export type BrokerUrl = string | URL

/**
 * Opens a session with a broker. With a list of URLs each is tried once, in order.
 *
 * Rejects with `UNAVAILABLE` if no broker answers within 10 s each (`cause` says why),
 * `UNAUTHORIZED`, `FORBIDDEN`, `QUOTA_EXCEEDED`, `ABORTED`, `INVALID_OPTION`, `INVALID_TTL`.
 */
export function connect(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions = {},
): Promise<Session> {
  return connectIn(url, options, platformEnvironment)
}

/** Like {@link connect}, on a machine of the caller's choice. */
export async function connectIn(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions,
  environment: Environment,
): Promise<Session> {
  const checked = checkConnect(url, options)
  const { urls, settings, signal, reconnect, warnings, WebSocket, platform, unref } = checked
  refuseAborted(signal)
  const own = WebSocket ?? (platform && environment.webSocketFor?.(platform))
  const WebSocketClass = own ?? environment.WebSocket
  check(
    typeof WebSocketClass === 'function',
    'this platform has no WebSocket: give connect a class',
  )
  const strategy =
    reconnect ??
    exponentialBackoff(
      { initial: 100, multiplier: 2, max: 5_000, jitter: 'full' },
      environment.random,
    )
  const link = { urls, WebSocket: WebSocketClass, strategy }
  return new Promise<Session>((resolve, reject) => {
    const standing = new SessionController(environment, link, settings, {
      onOpen: () => {
        stopListening()
        if (unref) session.unref()
        resolve(session)
      },
      tell: (event, ...details) => {
        if (event === 'closed') {
          stopListening()
          reject(details[0])
        }
        session.emit(event, ...details)
      },
    })
    const session = new Session(standing, settings.name, {
      newTask: environment.newTask ?? environment.endOfTurn,
      tracer: options.tracer,
      warn: warnings ? environment.warn : undefined,
    })
    const stopListening = onAbort(signal, (error) => {
      reject(error)
      void standing.close()
    })
    standing.open()
  })
}
