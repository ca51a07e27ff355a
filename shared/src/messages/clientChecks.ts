/**
 * Is this, parsed from JSON and sent by a stranger, a message? The way in for everything a broker
 * receives.
 *
 * A superstruct validation costs more than the whole rest of the broker's path, so the messages
 * that come by the thousand a second have a hand-written check here. It only ever says "yes,
 * certainly": whatever it does not know goes to the schema, which has the last word and the
 * explanation. A property test holds the two to the same answer.
 */
import type { StructError } from 'superstruct'
import type { ErrorCode } from '../errors.js'
import { isKey } from '../keys.js'
import { maxMetadataDepth, maxMs, maxUnacknowledged } from '../limits.js'
import { isMetadata, schemas } from './clientSchemas.js'
import { isWithinJsonLimits } from './jsonLimits.js'
import type { ClientMessage } from './messages.js'

/** Why something is not a message; `id` if it at least names a request that can be answered. */
export interface InvalidMessage {
  readonly type: 'refusal'
  readonly id: number | undefined
  readonly code: ErrorCode
  readonly message: string
}

/** A message, or why it is none. Never throws, whatever it is given. */
export function validate(value: unknown): ClientMessage | InvalidMessage {
  try {
    return isValidFast(value) ? value : validateWithSchema(value)
  } catch {
    // superstruct throws a bare TypeError when it prints a hostile value into its explanation.
    return invalidMessage(value, 'BAD_MESSAGE', 'the message has a field of the wrong type')
  }
}

/** The hand-written check: true only for what the schemas accept, false for "ask them". */
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

/** The schema's verdict, with a sentence for whoever wrote the message. */
export function validateWithSchema(value: unknown): ClientMessage | InvalidMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalidMessage(value, 'BAD_MESSAGE', 'a message is a JSON object')
  }
  const { type } = value as { type?: unknown }
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) {
    return invalidMessage(value, 'BAD_MESSAGE', 'the message has no known type')
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
  // The error is its first failure; to ask it for all of them would make them all.
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
  // A field that does not belong there is not wrong in its value, whatever its name.
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

/** Names the field only if it is one of ours: a sentence must not repeat what a stranger wrote. */
function messageFor(failure: StructError): string {
  const field = failure.path[0]
  if (field === undefined) return failure.refinement ? failure.message : 'the message is malformed'
  return failure.type === 'never'
    ? 'the message has an unknown field'
    : `"${String(field).slice(0, 32)}" is missing or has a value that it cannot have`
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
        // A steal is rare, and its rule over several fields is the schema's.
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
