/**
 * The cost of the work that messages cause, and the work budget of a connection. One unit of work
 * is about half a microsecond of the broker's time, and more until V8 has compiled the code.
 *
 * A limit for the number of messages is not enough, because their costs differ much. One query may
 * visit every key in use, and its answer may be a thousand times as long as the query. So the
 * broker subtracts the work that each message caused from the budget of the connection. A
 * connection that has used up its budget is paused until the broker has handled the messages of the
 * other connections.
 */

/** How many units compiled code does in a millisecond on a usual processor. */
export const unitsPerMs = 2_000

/** Fixed costs, in units of work. Each effect of a command on the lock table costs one unit. */
export const costs = {
  /** Parsing, checking and handling one message. */
  message: 2,
  /** Reading a fragment of a message, a pong or a ping. Includes the answer to a ping. */
  controlFrame: 4,
  /**
   * Visiting one waiting scope (a logical task of a client) or waiting set (a request for several
   * keys) in a check for deadlocks.
   */
  deadlockVisit: 4,
  /** Finding out why a message is invalid, and explaining this in an error message. */
  refusal: 50,
  /** Reporting a refused request to the metrics, the logger and the audit log. */
  report: 15,
  /** Accepting the upgrade of a new connection. */
  upgrade: 200,
  /** Opening a session: its ids, hashes and records. */
  hello: 50,
  /** Checking a new token, which may need the verification of a signature. */
  auth: 200,
  /** Handling a deadline that has passed, besides the effects on the lock table. */
  deadline: 2,
  /**
   * A deadline that a request sets: its timeout, its ttl or its `maxHold`. The request pays for the
   * deadline and for two effects now, because no message pays for them when the deadline passes.
   */
  laterDeadline: 4,
  /** Closing a connection at its deadline, or suspending the session of an ended connection. */
  disconnect: 40,
} as const

/** Keys that a walk over the lock table visits for one unit of work. */
const keysPerUnit = 16
/** Keys that a walk visits for one unit if it checks a permission for each key. */
const checkedKeysPerUnit = 2
/** Keys of one page of a query that are sorted for one unit. */
const sortedKeysPerUnit = 2
/** Bytes of an answer that are written for one unit. */
const bytesPerUnit = 128
/**
 * Characters of JSON that are parsed and validated for one unit. This value is right for JSON with
 * numbers and short fields; long strings cost less.
 */
const parsedCharsPerUnit = 64
/**
 * Arrays and objects that are parsed for one unit. Their cost is added to the cost of the
 * characters, because nesting costs much more than text.
 */
const containersPerUnit = 8
/** Arrays and objects are counted only in frames of at least this many characters. */
const longFrameChars = 2_048
/** The characters `[` and `{`, which begin an array and an object. */
const openingBracket = 0x5b
const openingBrace = 0x7b
/** Holders of one key that a query skips for one unit: its present page does not list them. */
const skippedHoldersPerUnit = 64
/** Connections that one unit pays to notify of an event. */
const notifiedPerUnit = 4
/** Keys of a set whose permissions are checked and whose queues are looked up for one unit. */
const setKeysPerUnit = 2
/** Locks, requests and stored answers of a session that a resume gathers for one unit. */
const gatheredPerUnit = 4

/**
 * The cost of visiting `keyCount` keys in a walk over the lock table.
 *
 * @param checksPermission Whether the walk checks a permission for each key.
 */
export function costOfKeys(keyCount: number, checksPermission: boolean): number {
  return keyCount / (checksPermission ? checkedKeysPerUnit : keysPerUnit)
}

/** The cost of sorting `keyCount` keys and of looking up these keys. */
export function costOfSort(keyCount: number): number {
  return keyCount / sortedKeysPerUnit
}

/** How many keys a walk may visit for `units`; at least one. */
export function keysFor(units: number, checksPermission: boolean): number {
  return Math.max(1, Math.floor(units * (checksPermission ? checkedKeysPerUnit : keysPerUnit)))
}

/** The cost of writing `bytes` bytes. */
export function costOfBytes(bytes: number): number {
  return bytes / bytesPerUnit
}

/** The cost of parsing and validating a frame. */
export function costOfParsing(text: string): number {
  const units = text.length / parsedCharsPerUnit
  return text.length < longFrameChars ? units : units + containerCountIn(text) / containersPerUnit
}

/**
 * The number of arrays and objects in a JSON text; a bracket in a string counts as well. The loop
 * is a function of its own, because V8 then optimizes `costOfParsing`, which runs for every frame.
 */
function containerCountIn(text: string): number {
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === openingBracket || code === openingBrace) count++
  }
  return count
}

/** The cost of checking and encoding metadata, by the length of its JSON text. */
export function costOfMetadata(chars: number): number {
  return chars / parsedCharsPerUnit
}

/** The cost of checking and looking up the keys of a set, besides the effects on each key. */
export function costOfSet(keyCount: number): number {
  return keyCount / setKeysPerUnit
}

/** The cost of skipping `holderCount` holders of one key. */
export function costOfSkipping(holderCount: number): number {
  return holderCount / skippedHoldersPerUnit
}

/** The cost of notifying `connectionCount` connections. The client that causes the event pays. */
export function costOfNotifying(connectionCount: number): number {
  return connectionCount / notifiedPerUnit
}

/** The cost of the deadlines that a request sets: its timeout, its ttl and its `maxHold`. */
export function costOfDeadlines(request: {
  readonly timeout?: number | undefined
  readonly ttl?: number | undefined
  readonly maxHold?: number | undefined
}): number {
  const { timeout = 0, ttl, maxHold } = request
  // A request with the timeout 0 does not wait, so its timeout is no deadline.
  let deadlineCount = timeout > 0 ? 1 : 0
  if (ttl !== undefined) deadlineCount++
  if (maxHold !== undefined) deadlineCount++
  return deadlineCount * costs.laterDeadline
}

/** The cost of gathering `recordCount` records of a session that is resumed. */
export function costOfGathering(recordCount: number): number {
  return recordCount / gatheredPerUnit
}

/**
 * Budgets for one turn of the event loop, in units of work unless the comment names another unit.
 * With these budgets a turn takes less than about 10 ms on a slow processor, even if a hundred
 * connections send much at once.
 */
export const turnBudget = {
  /** For all connections that are not paused, together. */
  all: 6_000,
  /** The time for the same connections together, in ms from the first frame of the turn. */
  ms: 2,
  /**
   * A turn that exceeds its time by more than this many ms causes a recovery, in which paused work
   * waits.
   */
  toleratedMs: 2,
  /** The longest recovery after one turn, in ms. */
  recoveryMs: 4,
  /** Maximum for one connection, unless the budget of all connections has fewer units left. */
  connection: 1_000,
  /** The time for this maximum, in ms: twice the usual time of its units. */
  connectionMs: 1,
  /** A connection beyond the minimum reads the clock each time it has used this many units. */
  lookAtClock: 32,
  /**
   * Guaranteed minimum for one connection, so that a client with little work never waits. A frame
   * of 16 `lock` or `unlock` messages costs at most 80 units.
   */
  minimum: 96,
  /** The time for this minimum, in ms: four times the usual time of these units. */
  minimumMs: 0.2,
  /** Maximum for one slice: the work for one paused connection before the next has its slice. */
  slice: 250,
  /**
   * The time for one slice, in ms: four times the usual time of its units. Code that V8 has not
   * compiled yet may need even more. The slice then ends early, and the rest of its work waits.
   */
  sliceMs: 0.5,
  /** For the upgrades of all new connections together. Further upgrades wait for the next turn. */
  upgrades: 1_000,
  /** For the handshakes of all clients that `authenticate` has identified. */
  identified: 1_000,
  /** For all deadlines that have passed. Further deadlines wait for the next turn. */
  deadlines: 2_000,
  /**
   * For events of watches, while the broker handles commands. The unit is the delivery of one event
   * to one connection. The end of the turn has the same budget again, for the events that wait.
   * Further events wait for the next turn.
   */
  notifications: 2_000,
  /** The time, in ms, for output that the broker must encode: events and long answers. */
  encodingMs: 2,
  /** Guaranteed minimum for all paused connections together. */
  minimumForPaused: 500,
} as const
