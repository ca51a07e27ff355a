/**
 * What the broker takes from the machine it runs on: time, chance, hashing, the end of a turn. All
 * of it in one place and passed in, so that a simulation can be the machine.
 */
import { createHash, randomBytes } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Clock } from '@holdfast/shared'
import { nanoid } from 'nanoid'

export interface Environment {
  readonly clock: Clock
  /** Calls back once everything that has already arrived in this turn has been handled. */
  readonly endOfTurn: (callback: () => void) => void
  /** A session id: unique, public. */
  readonly newId: () => string
  /** A resume secret: 32 random bytes as text. */
  readonly newSecret: () => string
  /** One-way, so that what the table keeps is of no use to a thief. */
  readonly hash: (secret: string) => string
}

/** The part of the environment that a log shared by several brokers needs. */
export type LogEnvironment = Pick<Environment, 'clock' | 'endOfTurn' | 'newId'>

/*
 * Taken when this module loads, as the client does it: a test with an embedded broker may replace
 * the functions of the platform by fake ones, and a broker whose clock stands still answers nobody.
 */
const monotonic = performance.now.bind(performance)
const wall = Date.now.bind(Date)
const setTimer = setTimeout
const clearTimer = clearTimeout

/** The real machine. */
export const nodeEnvironment: Environment = {
  clock: {
    monotonic: () => monotonic(),
    wall: () => wall(),
    setTimer: (callback, ms) => setTimer(callback, ms),
    clearTimer: (timer) => clearTimer(timer as NodeJS.Timeout),
  },
  endOfTurn: setImmediate,
  newId: () => nanoid(),
  newSecret: () => randomBytes(32).toString('base64url'),
  hash: (secret) => createHash('sha256').update(secret).digest('base64url'),
}

/** The most that V8 lets the heap of this process grow to, in bytes. */
export const heapLimitBytes = getHeapStatistics().heap_size_limit

/** How late timers are, in seconds; each look is at the time since the last. */
export interface LoopLag {
  read(): { readonly p50: number; readonly p99: number; readonly max: number }
  stop(): void
}

/** Watches the event loop of this process, which wakes it 50 times a second. */
export function watchLoop(): LoopLag {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const seconds = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, ns / 1e9 - 0.02) : 0)
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
