/**
 * The three usual ways to lock with Redis in Node: a minimal `SET NX` with a Lua script for the
 * release, `redis-semaphore`, and `redlock`. The bench counts each way as a service of its own.
 * Redis does not report a release to waiting clients, so all clients poll. They poll every 10 ms,
 * far more often than the libraries do by default.
 *
 * Each service has two configurations. With auto-pipelining, `ioredis` sends all commands of a turn
 * of the event loop together, which is faster for many requests at a time. Without auto-pipelining,
 * `ioredis` sends each command immediately, which is faster for one request at a time.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HeldLock, LockClient } from '../load/clientPairs.js'
import type { LoadPackage, Peer, ProgramServer } from './peer.js'
import { uncontendedShapes } from './shapes.js'

const ioredis = 'ioredis@6.0.0'
/** The time after which a lock expires, in ms: longer than a run. */
const lockMs = 600_000
/** The mean time between two polls, in ms. */
const pollMs = 10

/** The Lua script that releases the lock if the client still holds the lock. */
const releaseScript = `if redis.call('get', KEYS[1]) == ARGV[1]
  then return redis.call('del', KEYS[1]) else return 0 end`

/** The methods of a client of `ioredis` that this file uses; `defineCommand` adds `releaseLock`. */
interface Redis {
  set(...args: (string | number)[]): Promise<string | null>
  defineCommand(name: string, options: { numberOfKeys: number; lua: string }): void
  releaseLock(key: string, token: string): Promise<number>
  ping(): Promise<unknown>
  disconnect(): void
}

const server: ProgramServer = {
  kind: 'program',
  program: 'redis-server',
  debianPackage: 'redis-server',
  args: (port, folder) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
    ...['--save', '', '--appendonly', 'no', '--maxclients', '10000'],
  ],
  ready: /Ready to accept connections/,
  url: (port) => `redis://127.0.0.1:${port}`,
}

/** Makes the function `lock` of a client. */
type LockOf = (redis: Redis, loadPackage: LoadPackage) => LockClient['lock']

function connectWith(lockOf: LockOf, enableAutoPipelining: boolean): Peer['connect'] {
  return async (url, count, loadPackage) => {
    const { Redis } = loadPackage('ioredis') as {
      Redis: new (url: string, options: object) => Redis
    }
    const clients: LockClient[] = []
    for (let i = 0; i < count; i++) {
      const redis = new Redis(url, { enableAutoPipelining })
      await redis.ping()
      clients.push({ lock: lockOf(redis, loadPackage), close: async () => redis.disconnect() })
    }
    return clients
  }
}

/** Locks by `SET NX`, and unlocks by a Lua script that compares the token. */
const minimal: LockOf = (redis) => {
  redis.defineCommand('releaseLock', { numberOfKeys: 1, lua: releaseScript })
  return async (key): Promise<HeldLock> => {
    const token = randomBytes(12).toString('base64')
    while ((await redis.set(key, token, 'PX', lockMs, 'NX')) === null) {
      // A random time, so that the clients do not poll at the same time.
      await sleep(pollMs * (0.5 + Math.random()))
    }
    const unlock = async (): Promise<void> => void (await redis.releaseLock(key, token))
    // Locks in Redis have no fences (numbers that rise with every grant).
    return { fence: undefined, unlock }
  }
}

interface SemaphorePackage {
  readonly Mutex: new (
    redis: Redis,
    key: string,
    options: object,
  ) => { acquire(): Promise<void>; release(): Promise<void> }
}

/** Locks by the package `redis-semaphore`. */
const semaphore: LockOf = (redis, loadPackage) => {
  const { Mutex } = loadPackage('redis-semaphore') as SemaphorePackage
  const options = {
    lockTimeout: lockMs,
    acquireTimeout: lockMs,
    retryInterval: pollMs,
    // 0 means that the package does not extend the lock.
    refreshInterval: 0,
  }
  return async (key): Promise<HeldLock> => {
    const mutex = new Mutex(redis, key, options)
    await mutex.acquire()
    return { fence: undefined, unlock: () => mutex.release() }
  }
}

interface RedlockPackage {
  readonly Redlock: new (
    redis: Redis[],
    options: object,
  ) => { acquire(keys: string[], ms: number): Promise<{ release(): Promise<unknown> }> }
}

/** Locks by the package `redlock`. */
const redlock: LockOf = (redis, loadPackage) => {
  const { Redlock } = loadPackage('@sesamecare-oss/redlock') as RedlockPackage
  // -1 means that the package retries without a limit.
  const options = { retryCount: -1, retryDelay: pollMs, retryJitter: pollMs / 2 }
  const locker = new Redlock([redis], options)
  return async (key): Promise<HeldLock> => {
    const lock = await locker.acquire([key], lockMs)
    return { fence: undefined, unlock: async () => void (await lock.release()) }
  }
}

/**
 * The two configurations of a service. Auto-pipelining is not measured with a hot key, which is one
 * key that all clients lock. Each client then has only one request at a time, and the shape `1×1`
 * already shows how auto-pipelining slows such a client.
 */
function configurationsOf(service: string, packages: readonly string[], lockOf: LockOf): Peer[] {
  const common = { service, packages: [ioredis, ...packages], polls: true, server }
  return [
    { ...common, name: service, connect: connectWith(lockOf, /* enableAutoPipelining */ false) },
    {
      ...common,
      name: `${service}, auto-pipelining`,
      shapes: uncontendedShapes,
      connect: connectWith(lockOf, /* enableAutoPipelining */ true),
    },
  ]
}

export const redisPeers: readonly Peer[] = [
  ...configurationsOf('redis, SET NX + Lua', [], minimal),
  ...configurationsOf('redis-semaphore', ['redis-semaphore@5.8.0'], semaphore),
  ...configurationsOf('redlock', ['@sesamecare-oss/redlock@1.4.0'], redlock),
]
