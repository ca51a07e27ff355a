/**
 * Checks a message from a client before the broker acts on the message, because a client may send
 * any text.
 *
 * The check has two stages:
 * 1. `isValidFast` accepts all valid messages. The checks of the four most frequent types are
 *    written by hand in this file, and the checks of the other types use the tables in
 *    `clientShapes.ts`. A check by the library superstruct would cost more than all other work for
 *    a message.
 * 2. `validateWithSchema` describes the fault of a message that the first stage does not accept.
 *    This stage uses the superstruct schemas in `clientSchemas.ts`.
 *
 * A property test compares the two stages: both must accept exactly the same messages. If the first
 * stage refused a valid message by mistake, the second stage would still accept the message.
 */
import type { StructError } from 'superstruct'
import type { ErrorCode } from '../errors.js'
import { isKey } from '../keys.js'
import { maxMetadataDepth, maxUnacknowledgedResponses } from '../limits.js'
import { faultText } from './checkBrokerMessage.js'
import type { ClientMessage, LockRequest } from './clientMessages.js'
import { checkPermits, checkSteal, isMetadata, isNoticeList, schemas } from './clientSchemas.js'
import { hasShape, isMs, isPermits, isPositiveInteger } from './clientShapes.js'
import { isWithinJsonLimits, maxJsonValuesWithResult } from './jsonLimits.js'

/** The result for a value that is not a valid message: the error with which the broker answers. */
export interface InvalidMessage {
  /** Always `'refusal'`, which is not the `type` of any message of a client. */
  readonly type: 'refusal'
  /** The id in the value, for the answer; undefined if the value has no valid id. */
  readonly id: number | undefined
  readonly code: ErrorCode
  readonly message: string
}

/**
 * Returns a valid message unchanged. For any other value, returns why the value is not a valid
 * message. Never throws.
 */
export function validate(value: unknown): ClientMessage | InvalidMessage {
  try {
    return isValidFast(value) ? value : validateWithSchema(value)
  } catch {
    // superstruct prints the value into its error message. The printing throws if the value has a
    // field `toString` that is not a function, such as {"toString":1}.
    return invalidMessage(value, 'BAD_MESSAGE', 'the message has a field of the wrong type')
  }
}

/** The first stage: whether the value is a valid message. */
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
      return hasShape(value)
  }
}

/** The second stage: returns the same result as {@link validate}, and uses only the schemas. */
export function validateWithSchema(value: unknown): ClientMessage | InvalidMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalidMessage(value, 'BAD_MESSAGE', 'a message must be a JSON object')
  }
  const { type } = value as { type?: unknown }
  if (typeof type !== 'string' || !Object.hasOwn(schemas, type)) {
    return invalidMessage(
      value,
      'BAD_MESSAGE',
      'the message has no known type: set "type" to a message type of the protocol',
    )
  }
  // A `complete` may have more JSON values than other messages, because it carries the value of a
  // `once` (the result of a function). Undefined stands for the limit of the other messages.
  const maxValues = type === 'complete' ? maxJsonValuesWithResult : undefined
  // The message is one more level, around its metadata or its value.
  if (!isWithinJsonLimits(value, maxMetadataDepth + 1, maxValues)) {
    return invalidMessage(
      value,
      'BAD_MESSAGE',
      'the message has too many JSON values or is nested too deep',
    )
  }
  const [error, message] = schemas[type as ClientMessage['type']].validate(value)
  if (error === undefined) return message as ClientMessage
  // `error` describes the first failure. `error.failures()` would compute all failures, slowly.
  return invalidMessage(value, codeFor(error), messageFor(error))
}

function invalidMessage(value: unknown, code: ErrorCode, message: string): InvalidMessage {
  const id =
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'id')
      ? (value as { id: unknown }).id
      : undefined
  return { type: 'refusal', id: isPositiveInteger(id) ? id : undefined, code, message }
}

function codeFor(failure: StructError): ErrorCode {
  // superstruct reports `never` for an unknown field. An unknown field is BAD_MESSAGE even if its
  // name is in the switch below, such as a `ttl` in a message whose type has no `ttl`.
  if (failure.type === 'never') return 'BAD_MESSAGE'
  // The path of a fault in a set (`lockAll`) is `items`, the index of an item, and its field.
  const [field] = failure.path
  switch (field === 'items' ? failure.path.at(-1) : field) {
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

/**
 * The error message for a failure: the field, its value, and a reference to PROTOCOL.md, which
 * lists the allowed values. The message does not repeat a value that is a string. The message
 * contains the name of a field only if the protocol has that field, because an error message must
 * not repeat hostile text.
 */
function messageFor(failure: StructError): string {
  const [field, ...rest] = failure.path as readonly (string | number)[]
  // If the path is empty, a rule for several fields failed, and `failure.message` is the text of
  // this rule. The other text is only a fallback: no other failure of an object has an empty path.
  if (field === undefined) return failure.refinement ? failure.message : 'the message is malformed'
  if (failure.type === 'never') return 'the message has an unknown field'
  const inner = rest.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('')
  // Begins with a space.
  const fault = faultText(failure.value)
  return `"${field}${inner}"${fault}; PROTOCOL.md lists the values that are allowed`
}

/**
 * Whether the value is a valid `lock` message: every field is known and valid, and no required
 * field is missing.
 */
function isLock(value: object): boolean {
  let requiredFieldsFound = 0
  let hasRareFields = false
  for (const field in value) {
    const fieldValue = (value as Record<string, unknown>)[field]
    switch (field) {
      case 'type':
        break
      case 'id':
        if (!isPositiveInteger(fieldValue)) return false
        requiredFieldsFound++
        break
      case 'key':
        if (!isKey(fieldValue)) return false
        requiredFieldsFound++
        break
      case 'mode':
        if (fieldValue !== 'exclusive' && fieldValue !== 'shared') return false
        break
      case 'ttl':
      case 'maxHold':
        if (!isMs(fieldValue, 1)) return false
        break
      case 'timeout':
        if (!isMs(fieldValue, 0)) return false
        break
      default:
        if (!isValidRareField(field, fieldValue)) return false
        hasRareFields = true
    }
  }
  // The required fields are `id` and `key`.
  return requiredFieldsFound === 2 && (!hasRareFields || followsRules(value as LockRequest))
}

/** Whether the value of a rare field is valid by itself. False for a field that no `lock` has. */
function isValidRareField(field: string, value: unknown): boolean {
  switch (field) {
    case 'permits':
    case 'capacity':
      return isPermits(value)
    case 'steal':
      return typeof value === 'boolean'
    case 'metadata':
      return isMetadata(value)
    case 'notify':
      return isNoticeList(value)
    case 'scope':
      return isPositiveInteger(value)
    default:
      return false
  }
}

/** Whether the fields of a `lock` with permits or with `steal` are valid together. */
function followsRules(message: LockRequest): boolean {
  // The checks return true or the text of an error.
  return checkPermits(message) === true && checkSteal(message) === true
}

function isUnlock(value: object): boolean {
  let requiredFieldsFound = 0
  for (const field in value) {
    if (field === 'type') continue
    if (field !== 'id' && field !== 'fence') return false
    if (!isPositiveInteger((value as Record<string, unknown>)[field])) return false
    requiredFieldsFound++
  }
  // The required fields are `id` and `fence`.
  return requiredFieldsFound === 2
}

function isPong(value: object): boolean {
  let requiredFieldsFound = 0
  for (const field in value) {
    if (field === 'type') continue
    const fieldValue = (value as Record<string, unknown>)[field]
    if (field === 'idle') {
      if (typeof fieldValue !== 'boolean') return false
      continue
    }
    if (field !== 'n' || !Number.isSafeInteger(fieldValue) || (fieldValue as number) < 0)
      return false
    requiredFieldsFound++
  }
  // The required field is `n`.
  return requiredFieldsFound === 1
}

function isAck(value: object): boolean {
  let requiredFieldsFound = 0
  for (const field in value) {
    if (field === 'type') continue
    const ids: unknown = (value as Record<string, unknown>)[field]
    if (field !== 'ids' || !Array.isArray(ids) || ids.length > maxUnacknowledgedResponses)
      return false
    if (!ids.every(isPositiveInteger)) return false
    requiredFieldsFound++
  }
  // The required field is `ids`.
  return requiredFieldsFound === 1
}
