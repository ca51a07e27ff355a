/**
 * What the broker takes from the machine it runs on: time, chance, hashing, the end of a turn. All
 * of it in one place and passed in, so that a simulation can be the machine.
 */
import { createHash, randomBytes } from 'node:crypto'
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

/** The real machine. */
export const machine: Environment = {
  clock: {
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    setTimer: (callback, ms) => setTimeout(callback, ms),
    clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
  },
  endOfTurn: setImmediate,
  newId: () => nanoid(),
  newSecret: () => randomBytes(32).toString('base64url'),
  hash: (secret) => createHash('sha256').update(secret).digest('base64url'),
}
