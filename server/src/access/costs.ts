/**
 * What a client's messages cost the broker, and how much of it one client may use before others
 * have their turn. One unit is about a microsecond of the broker's time.
 *
 * A count of messages bounds nothing: one query visits every key in use, one answer may be a
 * thousand times as long as its request. So each message is charged for the work that it caused,
 * and a connection that has used up its share is paused until the other connections had theirs.
 */

/** How the parts of the work are charged, in units. */
export const costs = {
  /** Parsing, checking and handling one message. */
  message: 2,
  /** One effect of the lock table: a grant, a release, a request that was queued, an answer. */
  effect: 1,
  /** Explaining what is wrong with a message. */
  refusal: 50,
  /** Asking for a session: identifiers, hashes and its records. */
  hello: 50,
  /** Checking a new token, which may be a signature. */
  auth: 200,
} as const

/** Keys that a walk over the table visits for one unit. */
const keysPerUnit = 16
/** The same where a permission is asked for each key. */
const judgedKeysPerUnit = 2
/** Keys of a page that are put in order for one unit. */
const sortedKeysPerUnit = 2
/** Bytes of a frame or an answer that are read or written for one unit. */
const bytesPerUnit = 128

/**
 * What a walk over the table costs.
 *
 * @param isJudged Whether a permission was asked for each key.
 */
export function costOfKeys(keys: number, isJudged: boolean): number {
  return keys / (isJudged ? judgedKeysPerUnit : keysPerUnit)
}

/** What it costs to put so many keys in order and to look them up. */
export function costOfSort(keys: number): number {
  return keys / sortedKeysPerUnit
}

/** How many keys a walk may visit for so many units; at least one. */
export function keysFor(units: number, isJudged: boolean): number {
  return Math.max(1, Math.floor(units * (isJudged ? judgedKeysPerUnit : keysPerUnit)))
}

/** What reading or writing so many bytes costs. */
export function costOfBytes(bytes: number): number {
  return bytes / bytesPerUnit
}

/**
 * What may be used in one turn of the event loop, in units. With these a turn stays below some
 * 15 ms on a slow core, whatever a hundred connections send at once.
 */
export const turnBudget = {
  /** By all connections together, as their frames arrive. */
  all: 6_000,
  /** By one connection, while the others have left enough. */
  connection: 2_000,
  /** By one connection in any case, so that a client that asks for little never waits. */
  least: 64,
  /** By one connection that was paused, before the next paused one has its turn. */
  slice: 500,
  /** By all paused connections together in any case. */
  leastPaused: 1_000,
} as const
