/**
 * The function `connect` opens a session with a broker. `connect` checks the options, and makes two
 * objects: the `Session` is for the caller, and the session controller does the work of the
 * session. Then `connect` waits for the first connection.
 */
import { type ConnectOptions, checkConnect } from './options.js'
import { onAbort, throwIfAborted } from './platform/callbacks.js'
import { check } from './platform/checks.js'
import { type Environment, platformEnvironment } from './platform/environment.js'
import { Session } from './session/session.js'
import { SessionController } from './session/sessionController.js'
import { exponentialBackoff } from './transport/retryStrategies.js'

/** The URL of a broker: `ws://` or `wss://`. */
export type BrokerUrl = string | URL

/**
 * Opens a session with a broker. Tries each URL of a list once, in order, for at most 10 s each.
 *
 * Rejects with `UNAVAILABLE` if no broker answers (`cause` says why), or with `UNAUTHORIZED`,
 * `FORBIDDEN`, `QUOTA_EXCEEDED`, `ABORTED` or `INVALID_OPTION`.
 */
export function connect(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions = {},
): Promise<Session> {
  return connectIn(url, options, platformEnvironment)
}

/**
 * Like {@link connect}, but a test or a simulation can choose the environment, and the brokers may
 * belong to a cell. Cells are independent brokers or clusters, each with its own part of the keys.
 *
 * @param cell The cell of the brokers and the number of cells, such as `1/4` for cell 1 of 4;
 *   undefined if there are no cells.
 */
export async function connectIn(
  url: BrokerUrl | readonly BrokerUrl[],
  options: ConnectOptions,
  environment: Environment,
  cell?: string | undefined,
): Promise<Session> {
  const checkedOptions = checkConnect(url, options)
  const { urls, signal, reconnect, tracer, warnings, platformOptions, unref } = checkedOptions
  throwIfAborted(signal)
  // With `ca` or `proxy` (`platformOptions`), the platform makes a WebSocket class that uses them.
  const WebSocket =
    checkedOptions.WebSocket ??
    (platformOptions && environment.webSocketFor?.(platformOptions)) ??
    environment.WebSocket
  check(
    typeof WebSocket === 'function',
    'this platform has no WebSocket: give the option WebSocket',
  )
  const strategy =
    reconnect ??
    exponentialBackoff(
      { initial: 100, multiplier: 2, max: 5_000, jitter: 'full' },
      environment.random,
    )
  const settings = { ...checkedOptions.settings, cell }
  // On a platform without `newTask`, `endOfTurn` is the best substitute. It may run the callback in
  // a microtask of the present task.
  const newTask = environment.newTask ?? environment.endOfTurn
  /** The events that wait until the caller has the session; undefined if events need not wait. */
  let waitingEvents: (() => void)[] | undefined
  const emitWaitingEvents = () => {
    // A listener may cause further events, which are appended to the list.
    for (let emit = waitingEvents?.shift(); emit !== undefined; emit = waitingEvents?.shift())
      emit()
    waitingEvents = undefined
  }
  return new Promise<Session>((resolve, reject) => {
    const controller = new SessionController(environment, { urls, WebSocket, strategy }, settings, {
      onOpen: () => {
        stopListening()
        if (unref) session.unref()
        resolve(session)
        // The broker has opened the session with the message `welcome`. A message that arrives
        // together with `welcome` may cause an event before the caller has the session and can
        // listen. So events wait until the next task.
        waitingEvents = []
        newTask(emitWaitingEvents)
      },
      notify: (event, ...details) => {
        if (event === 'closed') {
          // After `onOpen`, these two calls have no effect. `details[0]` is the error of `closed`.
          stopListening()
          reject(details[0])
        }
        const emit = () => session.emit(event, ...details)
        if (waitingEvents === undefined) emit()
        else waitingEvents.push(emit)
      },
    })
    const session = new Session(controller, {
      newTask,
      tracer,
      warn: warnings ? environment.warn : undefined,
    })
    const stopListening = onAbort(signal, (error) => {
      reject(error)
      void controller.close()
    })
    // This call must be the last, because the functions above use `session` and `stopListening`.
    controller.open()
  })
}
