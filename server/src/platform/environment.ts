/**
 * The services of the machine that the broker uses: clocks, timers, random ids, hashing, and a
 * callback at the end of a turn of the event loop. Other files get these services as an object, so
 * that a simulation can replace the services.
 */
import { hash, randomFillSync } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Clock } from '@holdfast/shared'
import { nanoid } from 'nanoid'

export interface Environment {
  readonly clock: Clock
  /** Calls back when all data that arrived in this turn of the event loop is handled. */
  readonly endOfTurn: (callback: () => void) => void
  /** A new unique id, for example of a session. Ids are public, so an id is no secret. */
  readonly newId: () => string
  /** A new secret with which a client can resume its session: 32 random bytes as text. */
  readonly newSecret: () => string
  /**
   * A one-way hash. An attacker who reads the stored hash of a secret cannot compute the secret.
   */
  readonly hash: (text: string) => string
  /**
   * After this time, in ms, long work pauses until the next turn of the event loop. Default 10. If
   * 0, the work pauses after each step, as in some worlds of the simulation.
   */
  readonly turnMs?: number | undefined
}

/** The services for a shared log. Tests and the simulation pass other services. */
export type LogEnvironment = Pick<Environment, 'clock' | 'endOfTurn' | 'newId' | 'turnMs'>

/**
 * These functions of the platform are read when this module loads. A test with an embedded broker
 * may later replace the platform's functions by fakes. The broker must not use the fakes, because a
 * broker on a stopped clock would not answer.
 */
const monotonic = performance.now.bind(performance)
const wall = Date.now.bind(Date)
const setTimer = setTimeout
const clearTimer = clearTimeout

const secretBytes = 32
/**
 * Random bytes for the next 128 secrets. One call fills the whole pool, and costs little more than
 * a call for one secret. This matters after a restart, when all clients need new secrets at once.
 */
const randomPool = Buffer.alloc(128 * secretBytes)
/** At the start all bytes count as used, so that the first secret fills the pool. */
let usedRandomBytes = randomPool.length

function newSecret(): string {
  if (usedRandomBytes === randomPool.length) {
    randomFillSync(randomPool)
    usedRandomBytes = 0
  }
  const start = usedRandomBytes
  usedRandomBytes += secretBytes
  const secret = randomPool.toString('base64url', start, usedRandomBytes)
  // No secret stays in the pool after its use.
  randomPool.fill(0, start, usedRandomBytes)
  return secret
}

/** The environment of the real machine. */
export const nodeEnvironment: Environment = {
  clock: {
    monotonic: () => monotonic(),
    wall: () => wall(),
    setTimer: (callback, ms) => setTimer(callback, ms),
    clearTimer: (timer) => clearTimer(timer as NodeJS.Timeout),
  },
  // Node calls immediates after it has read the data that arrived in the turn.
  endOfTurn: setImmediate,
  // `holdfast session` would take an id that begins with "-" for a flag.
  newId: () => nanoid().replace(/^-/, '0'),
  newSecret,
  hash: (text) => hash('sha256', text, 'base64url'),
}

/**
 * The SHA-1 hash of a text in base64. Only for the answer to a WebSocket upgrade, where the
 * protocol requires SHA-1. The security of the connection does not depend on this hash.
 */
export function sha1(text: string): string {
  return hash('sha1', text, 'base64')
}

/** The limit that V8 sets to the heap of this process, in bytes. */
export const heapLimitBytes = getHeapStatistics().heap_size_limit

/** The lag of the event loop, in seconds, since the last `read`. */
export interface EventLoopLag {
  read(): { readonly p50: number; readonly p99: number; readonly max: number }
  stop(): void
}

/**
 * Measures the lag of this process's event loop, with a timer that fires 50 times a second (every
 * 20 ms). Node measures in ns.
 */
export function watchEventLoopLag(): EventLoopLag {
  const resolutionMs = 20
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  // Node measures the time between two runs of the timer, so subtract the interval of the timer.
  const seconds = (ns: number): number =>
    Number.isFinite(ns) ? Math.max(0, ns / 1e9 - resolutionMs / 1_000) : 0
  return {
    read: () => {
      const [p50, p99] = [delay.percentile(50), delay.percentile(99)]
      const max = delay.max
      delay.reset()
      return { p50: seconds(p50), p99: seconds(p99), max: seconds(max) }
    },
    stop: () => delay.disable(),
  }
}
