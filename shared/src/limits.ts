/**
 * The numbers of the protocol: what a message may contain at most, the ranges of its times, and how
 * much a broker takes of one client or for one key unless its operator has chosen otherwise.
 */

/** WebSocket subprotocol that both sides must agree on. */
export const subprotocol = 'holdfast.v1'

/** Port of a broker when none is given. */
export const defaultPort = 7420

/** Largest frame that a client may send, in bytes. */
export const maxFrameBytes = 64 * 1024
/** Largest frame that a client may send before its hello was accepted, in bytes. */
export const maxHelloBytes = 4 * 1024
/** Largest frame that a broker sends, in bytes. */
export const maxOutputFrameBytes = 32 * 1024

/** Longest key, in bytes of UTF-8. */
export const maxKeyBytes = 512
/** Longest session name, in characters. */
export const maxNameLength = 256
/** Longest token, in characters. */
export const maxTokenLength = 3072
/** Longest session id and longest resume secret, in characters. */
export const maxSecretLength = 64
/** Longest reason of a revocation, in characters. */
export const maxReasonLength = 256
/** Largest metadata of a lock, in bytes of its JSON text. */
export const maxMetadataBytes = 4 * 1024
/** Deepest nesting of the metadata of a lock: `[]` is 1 deep. */
export const maxMetadataDepth = 64

/** Longest ttl of a lock and longest timeout of a request, in ms. */
export const maxMs = 2 ** 31 - 1

/** Range and default of the session lease, in ms. */
export const leaseMs = { min: 2_000, max: 300_000, default: 15_000 } as const

/** Most locks that one session may hold and wait for together. */
export const maxLocksPerSession = 10_000
/** Most answers that a broker keeps for a session that has not acknowledged them. */
export const maxUnacknowledged = 1_024
/** Most requests that may wait for one key. */
export const maxWaitersPerKey = 100_000
/** Most locks, and most waiting requests, that one query returns. */
export const maxQueryItems = 1_000
/** Most holders that a LOCK_HELD answer names. */
export const maxHoldersNamed = 16
/** Most watches that one session may have. */
export const maxWatches = 1_000
