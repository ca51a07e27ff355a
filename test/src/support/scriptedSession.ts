/**
 * Connects a client on a fake clock to a scripted network, on which the test plays the broker.
 */
import type { ConnectOptions, Lock, LockOptions, LostLock, Session } from '@holdfast/client'
import { connectIn, type Environment } from '@holdfast/client/internal'
import type { HoldfastError, Welcome } from '@holdfast/shared'
import { FakeClock } from './fakeClock.js'
import { type ScriptedNetwork, type ScriptedSocket, scriptedNetwork } from './scriptedSocket.js'

export const url = 'ws://broker.test'
/** When the broker received the first messages of the client, on the broker's clock in ms. */
const brokerTime = 50_000

/**
 * Waits for the end of the turn of the event loop: all microtasks have run, and the client has sent
 * its messages, in one frame.
 */
export function untilTurnEnds(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Runs `act`, and returns the unhandled rejections that `act` causes. Elsewhere an unhandled
 * rejection ends the process.
 */
export async function unhandledRejectionsOf(act: () => unknown): Promise<unknown[]> {
  const earlierListeners = process.listeners('unhandledRejection')
  const rejections: unknown[] = []
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => rejections.push(error))
  try {
    await act()
    await untilTurnEnds()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const listener of earlierListeners) process.on('unhandledRejection', listener)
  }
  return rejections
}

/** Returns the welcome of a broker; `fields` replace the defaults. */
export function welcome(fields: Partial<Welcome> = {}): Welcome {
  return {
    type: 'welcome',
    session: 's1',
    resumed: false,
    lease: 10_000,
    grace: 0,
    at: brokerTime,
    ...fields,
  }
}

/**
 * Returns a welcome with a grace as long as the lease: the session survives a drop of its
 * connection.
 */
export function welcomeWithGrace(fields: Partial<Welcome> = {}): Welcome {
  return welcome({ grace: 10_000, secret: 'first', ...fields })
}

/** A fake clock, a scripted network, and the environment with which a client uses both. */
export interface ClientFakes {
  readonly clock: FakeClock
  readonly network: ScriptedNetwork
  readonly environment: Environment
}

export function makeClientFakes(): ClientFakes {
  const clock = new FakeClock()
  const network = scriptedNetwork()
  const environment: Environment = {
    clock,
    random: () => 0.5,
    endOfTurn: queueMicrotask,
    WebSocket: network.WebSocket,
  }
  return { clock, network, environment }
}

/** A connected client and its fakes. */
export interface ScriptedSession extends ClientFakes {
  readonly session: Session
  /** The names of the session's events, in order. */
  readonly events: string[]
  /** The locks that the client has reported as lost, in order. */
  readonly lost: LostLock[]
  /** The newest socket. */
  readonly socket: ScriptedSocket
}

/** Connects a session. The next call of the socket's `newMessages` does not return the hello. */
export async function openScriptedSession(
  options: ConnectOptions = {},
  welcomeMessage: Welcome = welcome(),
): Promise<ScriptedSession> {
  const fakes = makeClientFakes()
  const connecting = connectIn(url, options, fakes.environment)
  await untilTurnEnds()
  fakes.network.lastSocket.accept()
  // Skips the hello of the client.
  fakes.network.lastSocket.newMessages()
  fakes.network.lastSocket.deliver(welcomeMessage)
  const session = await connecting
  const events: string[] = []
  const lost: LostLock[] = []
  for (const name of ['jeopardy', 'resumed', 'newSession', 'draining', 'closed'] as const) {
    session.on(name, () => events.push(name))
  }
  session.on('lost', (lock) => {
    events.push(`lost ${lock.reason}`)
    lost.push(lock)
  })
  return {
    ...fakes,
    session,
    events,
    lost,
    get socket() {
      return fakes.network.lastSocket
    },
  }
}

/** Ends the connection, lets the client reconnect, and returns the new hello of the client. */
export async function reconnect({ clock, network, socket }: ScriptedSession): Promise<unknown> {
  const socketCount = network.sockets.length
  socket.end()
  await untilTurnEnds()
  // The client waits for 50 ms: half of the first retry delay, because `random` is 0.5. The wait
  // doubles if the former connection was open for less than 1 s.
  for (const waitMs of [50, 100, 200, 400]) {
    if (network.sockets.length === socketCount) clock.advance(waitMs)
  }
  if (network.sockets.length !== socketCount + 1) throw new Error('The client did not reconnect')
  network.lastSocket.accept()
  return network.lastSocket.newMessages()[0]
}

/** Returns the error code with which a promise rejects; `'none'` if the promise resolves. */
export async function errorCodeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'none', codeOfError)
}

/** Returns the current state of a promise: `'pending'`, `'resolved'`, or its error code. */
export async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = 'pending'
  promise.then(
    () => {
      state = 'resolved'
    },
    (error) => {
      state = codeOfError(error)
    },
  )
  await untilTurnEnds()
  return state
}

function codeOfError(error: HoldfastError): string {
  return error.code ?? String(error)
}

/**
 * Requests a lock, and grants the request immediately.
 *
 * @param options.at The time of the grant, on the broker's clock in ms.
 * @param options.fence The number of the grant. Default: the id of the request.
 */
export async function acquireLock(
  { session, socket }: ScriptedSession,
  options: LockOptions & { key?: string; at?: number; fence?: number } = {},
): Promise<Lock> {
  const { key = 'k', at, fence, ...lockOptions } = options
  const lockRequest = session.lock(key, lockOptions)
  await untilTurnEnds()
  const { id } = socket.sent.at(-1) as { id: number }
  socket.deliver({ type: 'granted', id, fence: fence ?? id, at })
  return lockRequest
}

/**
 * Acknowledges all messages of the client so far.
 *
 * @param options.at When the broker received the newest message.
 */
export function acknowledge(
  { socket }: ScriptedSession,
  { at = brokerTime }: { at?: number } = {},
): void {
  socket.deliver({ type: 'ack', n: socket.sent.length, at })
}
