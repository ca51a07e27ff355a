/**
 * Checks a message from a client before the broker acts on it. A client may send anything.
 *
 * There are two stages:
 * 1. `isValidFast` accepts the most frequent messages. It is written by hand, because a superstruct
 *    check costs more than all other work of the broker for a message.
 * 2. `validateWithSchema` checks every other message with the schemas in `clientSchemas.ts`, and
 *    explains what is wrong.
 *
 * A property test proves that the first stage accepts only what the schemas accept.
 */
import type { StructError } from 'superstruct'
import type { ErrorCode } from '../errors.js'
import { isKey } from '../keys.js'
import { maxMetadataDepth, maxMs, maxUnacknowledged } from '../limits.js'
import type { ClientMessage } from './clientMessages.js'
import { isMetadata, schemas } from './clientSchemas.js'
import { isWithinJsonLimits } from './jsonLimits.js'

/**
 * Why a value is no valid message. `id` if the value has a valid id, so that it can be answered.
 */
export interface InvalidMessage {
  readonly type: 'refusal'
  readonly id: number | undefined
  readonly code: ErrorCode
  readonly message: string
}

/** The message itself if it is valid, or why it is not. Never throws. */
export function validate(value: unknown): ClientMessage | InvalidMessage {
  try {
    return isValidFast(value) ? value : validateWithSchema(value)
  } catch {
    // superstruct throws a TypeError when it prints a hostile value into its error message.
    return invalidMessage(value, 'BAD_MESSAGE', 'the message has a field of the wrong type')
  }
}

/** The first stage. True only for messages that the schemas accept; false means "not sure". */
export function isValidFast(value: unknown): value is ClientMessage {
  if (typeof value !== 'object' || value === null) return false
  switch ((value as { type?: unknown }).type) {
    case 'lock':
      return isLock(value)
    case 'unlock':
      return isUnlock(value)
    case 'pong':
      return isPong(value)
    case 'ack':
      return isAck(value)
    default:
      return false
  }
}

/** The second stage: the result of {@link validate}, by the schemas. */
export function validateWithSchema(value: unknown): ClientMessage | InvalidMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalidMessage(value, 'BAD_MESSAGE', 'a message must be a JSON object')
  }
  const { type } = value as { type?: unknown }
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) {
    return invalidMessage(
      value,
      'BAD_MESSAGE',
      'the message has no known type: set "type" to one of the protocol',
    )
  }
  if (!isWithinJsonLimits(value, maxMetadataDepth + 1)) {
    return invalidMessage(
      value,
      'BAD_MESSAGE',
      'the message has too many parts or is nested too deep',
    )
  }
  const [error, message] = schemas[type as ClientMessage['type']].validate(value)
  if (error === undefined) return message as ClientMessage
  // The error is the first failure. `error.failures()` would compute all of them, which is slow.
  return invalidMessage(value, codeFor(error), messageFor(error))
}

function invalidMessage(value: unknown, code: ErrorCode, message: string): InvalidMessage {
  const id =
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'id')
      ? (value as { id: unknown }).id
      : undefined
  const named = Number.isSafeInteger(id) && (id as number) >= 1
  return { type: 'refusal', id: named ? (id as number) : undefined, code, message }
}

function codeFor(failure: StructError): ErrorCode {
  // An unknown field, which may have the name of a known field of another message.
  if (failure.type === 'never') return 'BAD_MESSAGE'
  switch (failure.path[0]) {
    case 'key':
    case 'prefix':
    case 'after':
      return 'INVALID_KEY'
    case 'ttl':
      return 'INVALID_TTL'
    case 'timeout':
      return 'INVALID_TIMEOUT'
    default:
      return 'BAD_MESSAGE'
  }
}

/** Names the field only if the protocol has it, because a message must not repeat hostile text. */
function messageFor(failure: StructError): string {
  const field = failure.path[0]
  if (field === undefined) return failure.refinement ? failure.message : 'the message is malformed'
  return failure.type === 'never'
    ? 'the message has an unknown field'
    : `"${String(field).slice(0, 32)}" is missing or has a value that is not allowed`
}

function isPositiveInteger(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

function isMs(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= maxMs
}

function isLock(value: object): boolean {
  let needed = 0
  for (const field in value) {
    const v = (value as Record<string, unknown>)[field]
    switch (field) {
      case 'type':
        break
      case 'id':
        if (!isPositiveInteger(v)) return false
        needed++
        break
      case 'key':
        if (!isKey(v)) return false
        needed++
        break
      case 'mode':
        if (v !== 'exclusive' && v !== 'shared') return false
        break
      case 'ttl':
        if (!isMs(v, 1)) return false
        break
      case 'timeout':
        if (!isMs(v, 0)) return false
        break
      case 'metadata':
        if (!isMetadata(v)) return false
        break
      default:
        // `steal` is rare, and its rule involves several fields, so the schema decides.
        return false
    }
  }
  return needed === 2
}

function isUnlock(value: object): boolean {
  let needed = 0
  for (const field in value) {
    if (field === 'type') continue
    if (field !== 'id' && field !== 'fence') return false
    if (!isPositiveInteger((value as Record<string, unknown>)[field])) return false
    needed++
  }
  return needed === 2
}

function isPong(value: object): boolean {
  let needed = 0
  for (const field in value) {
    if (field === 'type') continue
    const v = (value as Record<string, unknown>)[field]
    if (field !== 'n' || !Number.isSafeInteger(v) || (v as number) < 0) return false
    needed++
  }
  return needed === 1
}

function isAck(value: object): boolean {
  let needed = 0
  for (const field in value) {
    if (field === 'type') continue
    const ids: unknown = (value as Record<string, unknown>)[field]
    if (field !== 'ids' || !Array.isArray(ids) || ids.length > maxUnacknowledged) return false
    if (!ids.every(isPositiveInteger)) return false
    needed++
  }
  return needed === 1
}
