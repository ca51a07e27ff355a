/** A connected client on a fake clock; the test plays the broker. */
import type { ConnectOptions, Lock, LockOptions, LostLock, Session } from '@holdfast/client'
import { connectIn, type Environment } from '@holdfast/client/internal'
import type { HoldfastError, Welcome } from '@holdfast/shared'
import { FakeClock } from './fakeClock.js'
import { type ScriptedNetwork, type ScriptedSocket, scriptedNetwork } from './scriptedSocket.js'

export const url = 'ws://broker.test'

/** Waits until all microtasks have run, and the client has written its frame. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The unhandled rejections during `act`, which would otherwise end the process. */
export async function reportedBy(act: () => unknown): Promise<unknown[]> {
  const former = process.listeners('unhandledRejection')
  const reported: unknown[] = []
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => reported.push(error))
  try {
    await act()
    await turn()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const listener of former) process.on('unhandledRejection', listener)
  }
  return reported
}

export function welcome(fields: Partial<Welcome> = {}): Welcome {
  return {
    type: 'welcome',
    session: 's1',
    resumed: false,
    lease: 10_000,
    grace: 0,
    at: 50_000,
    ...fields,
  }
}

/** A welcome with a grace as long as the lease. */
export function welcomeWithGrace(fields: Partial<Welcome> = {}): Welcome {
  return welcome({ grace: 10_000, secret: 'first', ...fields })
}

export interface Stage {
  readonly clock: FakeClock
  readonly network: ScriptedNetwork
  readonly environment: Environment
}

export function stage(): Stage {
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

export interface Scene extends Stage {
  readonly session: Session
  /** The names of the session's events, in order. */
  readonly events: string[]
  readonly lost: LostLock[]
  /** The newest socket. */
  readonly socket: ScriptedSocket
}

/** Connects a session; the hello counts as read. */
export async function openScene(
  options: ConnectOptions = {},
  first: Welcome = welcome(),
): Promise<Scene> {
  const set = stage()
  const connecting = connectIn(url, options, set.environment)
  await turn()
  set.network.last.accept()
  set.network.last.newMessages()
  set.network.last.deliver(first)
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
    ...set,
    session,
    events,
    lost,
    get socket() {
      return set.network.last
    },
  }
}

/** Drops the socket, lets the client reconnect, and returns its hello. */
export async function reconnect({ clock, network, socket }: Scene): Promise<unknown> {
  const before = network.sockets.length
  socket.end()
  await turn()
  // Half of the first delay, because `random` is 0.5.
  clock.advance(50)
  if (network.sockets.length !== before + 1) throw new Error('The client did not reconnect')
  network.last.accept()
  return network.last.newMessages()[0]
}

/** The code with which a promise rejects; `'none'` if it resolves. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'none', codeOfError)
}

/** The present state of a promise. */
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
  await turn()
  return state
}

function codeOfError(error: HoldfastError): string {
  return error.code ?? String(error)
}

/** Requests a lock and grants it at once. The fence is the id of the request unless given. */
export async function acquireLock(
  { session, socket }: Scene,
  options: LockOptions & { key?: string; at?: number; fence?: number } = {},
): Promise<Lock> {
  const { key = 'k', at, fence, ...terms } = options
  const asking = session.lock(key, terms)
  await turn()
  const { id } = socket.sent.at(-1) as { id: number }
  socket.deliver({ type: 'granted', id, fence: fence ?? id, at })
  return asking
}

/** Acknowledges all messages so far; the broker received the newest at `at`. */
export function acknowledge({ socket }: Scene, at = 50_000): void {
  socket.deliver({ type: 'ack', n: socket.sent.length, at })
}
