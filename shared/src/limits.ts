/**
 * The limits of the protocol: the sizes of messages and fields, the ranges of durations, and the
 * quotas. A quota limits what a session or a key may have, such as locks or stored answers. Five
 * quotas are defaults, and the operator of a broker may set other values: `maxLocksPerSession`,
 * `maxUnacknowledgedResponses`, `maxWaitersPerKey`, `maxBarrierCallsPerSession` and `maxWatches`.
 */

/** The WebSocket subprotocol that the client offers and the broker accepts. */
export const subprotocol = 'holdfast.v1'

/** The port on which a broker listens by default. */
export const defaultPort = 7420

/** Largest frame that a client may send, in bytes. */
export const maxFrameBytes = 64 * 1024
/**
 * Largest frame that a client may send before the broker has accepted the `hello` of that client,
 * in bytes. `hello` is the first message of a connection.
 */
export const maxHelloBytes = 4 * 1024
/**
 * A broker joins several messages into one frame of at most this many bytes. A longer message gets
 * its own frame.
 */
export const maxOutputFrameBytes = 32 * 1024

/** Longest key, in bytes of UTF-8. */
export const maxKeyBytes = 512
/** Longest name of a session, in UTF-16 units. */
export const maxNameLength = 256
/** Longest authentication token, in UTF-16 units. */
export const maxTokenLength = 3072
/** Longest session id, and longest secret for resuming a session, in UTF-16 units. */
export const maxIdOrSecretLength = 64
/**
 * Longest `reason` of a `revoke` message, in UTF-16 units. The holder gets this text as the `note`
 * of an error.
 */
export const maxReasonLength = 256
/**
 * Largest metadata of a lock, in bytes of its JSON text. Also the largest value that the leader of
 * an election publishes.
 */
export const maxMetadataBytes = 4 * 1024
/**
 * Largest value of a `once`, in bytes of its JSON text. With `once`, one client calls a function
 * and sends its return value, and the broker gives that value to the other callers.
 */
export const maxResultBytes = 32 * 1024
/**
 * Highest number of nested levels in the metadata of a lock, in the value of a leader, and in the
 * value of a `once`. `[]` has one level.
 */
export const maxMetadataDepth = 64

/** Longest ttl of a lock and longest timeout of a request, in ms. A lock expires after its ttl. */
export const maxDurationMs = 2 ** 31 - 1

/**
 * Latest calendar time in a message, in ms since 1970. Later times have no `Date`, and formatting
 * such a time throws.
 */
export const maxCalendarTime = 8_640_000_000_000_000

/** The lease: how long the broker keeps a session without hearing from its client, in ms. */
export const leaseMs = { min: 2_000, max: 300_000, default: 15_000 } as const

/**
 * Highest number of locks that one session may have: the locks that the session holds plus its
 * waiting requests.
 */
export const maxLocksPerSession = 10_000
/**
 * Highest number of answers that a broker stores for one session until the client acknowledges the
 * answers.
 */
export const maxUnacknowledgedResponses = 1_024
/**
 * Highest capacity of a key. A key with a capacity is a semaphore: several locks with permits may
 * be held on this key, while the sum of their permits is at most the capacity.
 */
export const maxCapacity = 1_000_000
/** Highest number of keys of one set. A set is one lock on several keys. */
export const maxSetKeys = 64
/** Highest number of requests that may wait for one key. */
export const maxWaitersPerKey = 100_000
/** Highest length of each list that one query returns, such as the list of held locks. */
export const maxQueryItems = 1_000
/**
 * Highest number of holders that the broker names in a `failed` message with `LOCK_HELD` or
 * `LOCK_TIMEOUT`.
 */
export const maxHoldersNamed = 16
/**
 * Highest number of calls of one session that may wait at barriers. A barrier holds its calls back
 * until a given number of calls (its parties) wait there.
 */
export const maxBarrierCallsPerSession = 1_000
/**
 * Highest number of parties of one barrier. The number has a limit, because the broker answers all
 * parties in one step.
 */
export const maxParties = 1_000
/**
 * Highest number of watches that one session may have. A watch reports each change of the locks of
 * a key, or of all keys with a prefix.
 */
export const maxWatches = 1_000
