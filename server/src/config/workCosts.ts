/**
 * What a client's messages cost the broker, and how much of it one client may use before others
 * have their turn. One unit is about a microsecond of the broker's time.
 *
 * A count of messages bounds nothing: one query visits every key in use, one answer may be a
 * thousand times as long as its request. So each message is charged for the work that it caused,
 * and a connection that has used up its share is paused until the other connections had theirs.
 */

/** Units of work that a core of today does in a millisecond, once the code is compiled. */
export const unitsPerMs = 2_000

/** How the parts of the work are charged, in units. */
export const costs = {
  /** Parsing, checking and handling one message. */
  message: 2,
  /** Reading a ping, a pong or a fragment of a message, and answering the ping. */
  controlFrame: 4,
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
/** Bytes of an answer that are written for one unit. */
const bytesPerUnit = 128
/**
 * Characters of JSON that are parsed and checked for one unit. Text in quotes is cheaper; this is
 * for numbers and short fields.
 */
const parsedCharsPerUnit = 64
/** Arrays and objects that are parsed for one unit: nested ones take far longer than other JSON. */
const openedPerUnit = 8
/** Length from which a frame is searched for them, in characters. */
const longFrameChars = 2_048
const openingBracket = 0x5b
const openingBrace = 0x7b
/** Holders of one key that are passed on the way to a page's first for one unit. */
const passedHoldersPerUnit = 64
/** Connections that are told of an event for one unit. */
const toldPerUnit = 4
/** Locks, requests and stored answers of a session that a resume gathers for one unit. */
const gatheredPerUnit = 4

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

/** What writing so many bytes costs. */
export function costOfBytes(bytes: number): number {
  return bytes / bytesPerUnit
}

/** What parsing and checking a frame costs. */
export function costOfParsing(text: string): number {
  const units = text.length / parsedCharsPerUnit
  if (text.length < longFrameChars) return units
  let opened = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === openingBracket || code === openingBrace) opened++
  }
  return units + opened / openedPerUnit
}

/** What checking metadata and making text of it costs. */
export function costOfMetadata(chars: number): number {
  return chars / parsedCharsPerUnit
}

/** What it costs to pass so many holders of one key. */
export function costOfPassing(holders: number): number {
  return holders / passedHoldersPerUnit
}

/** What telling an event to so many connections costs the client that caused the event. */
export function costOfTelling(connections: number): number {
  return connections / toldPerUnit
}

/** What it costs to gather so many records of a session that is resumed. */
export function costOfGathering(records: number): number {
  return records / gatheredPerUnit
}

/**
 * What may be used in one turn of the event loop, in units. With these a turn stays below some
 * 15 ms on a slow core, whatever a hundred connections send at once.
 */
export const turnBudget = {
  /** By all connections together, as their frames arrive. */
  all: 6_000,
  /** The same in ms from the first frame of the turn, where units take longer than they should. */
  ms: 3,
  /** By one connection, while the others have left enough. */
  connection: 1_000,
  /** By one connection in any case, so that a client that asks for little never waits. */
  least: 64,
  /** By one connection that was paused, before the next paused one has its turn. */
  slice: 250,
  /** By all paused connections together in any case. */
  leastPaused: 500,
} as const
