/**
 * A fast check for each message that a client may send, except the four most frequent types, which
 * `checkClientMessage.ts` checks. Each message has a shape: a list of its fields, with a check for
 * each field. The rules for several fields together come from `clientSchemas.ts`. A property test
 * proves that the shapes and the schemas accept the same messages.
 *
 * A check with a schema of the library superstruct makes many objects, and takes ten times as long
 * as a check with a shape.
 */
import { parseCell } from '../cells.js'
import { isKey, isPrefix } from '../keys.js'
import {
  maxCapacity,
  maxDurationMs,
  maxIdOrSecretLength,
  maxNameLength,
  maxParties,
  maxQueryItems,
  maxReasonLength,
  maxSetKeys,
  maxTokenLength,
} from '../limits.js'
import type { ClientMessage, LockItem, LockSetRequest, WatchRequest } from './clientMessages.js'
import {
  checkKeyOrPrefix,
  checkLockSet,
  checkQuery,
  isMetadata,
  isNoticeList,
  isResult,
  isWellFormed,
} from './clientSchemas.js'

/** Whether the value of a field is valid. */
type Check = (value: unknown) => boolean
type Fields = Readonly<Record<string, Check>>

/** Checks an object: all required fields are present, and no field is unknown or invalid. */
class Shape {
  readonly #checks: ReadonlyMap<string, Check>
  readonly #requiredNames: readonly string[]

  constructor(required: Fields, optional: Fields = {}) {
    this.#checks = new Map(Object.entries({ ...required, ...optional }))
    this.#requiredNames = Object.keys(required)
  }

  accepts(value: object): boolean {
    for (const name in value) {
      const check = this.#checks.get(name)
      if (!check?.((value as Record<string, unknown>)[name])) return false
    }
    for (const name of this.#requiredNames) if (!Object.hasOwn(value, name)) return false
    return true
  }
}

export function isPositiveInteger(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

/** Whether the value is an integer of ms from `min` to the longest time of the protocol. */
export function isMs(value: unknown, min: number): boolean {
  return (
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= maxDurationMs
  )
}

/** Whether the value is a number of permits, or a capacity. */
export function isPermits(value: unknown): boolean {
  return isPositiveInteger(value) && value <= maxCapacity
}

const isIntegerBetween =
  (min: number, max: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max

const isTextUpTo =
  (maxLength: number): Check =>
  (value) =>
    typeof value === 'string' && value.length >= 1 && value.length <= maxLength

function isWellFormedUpTo(maxLength: number): Check {
  const isText = isTextUpTo(maxLength)
  return (value) => isText(value) && isWellFormed(value)
}

const isOneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value)

const isBoolean: Check = (value) => typeof value === 'boolean'
const isId: Check = isPositiveInteger
const isFence: Check = isPositiveInteger
const isDuration: Check = (value) => isMs(value, 1)
const isDurationFromZero: Check = (value) => isMs(value, 0)
/** Whether the value may be a session id or a secret for a resume. */
const isShortText = isTextUpTo(maxIdOrSecretLength)
const isName = isWellFormedUpTo(maxNameLength)
const isReason = isWellFormedUpTo(maxReasonLength)
const isMode = isOneOf('exclusive', 'shared')

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const resumeShape = new Shape(
  { session: isShortText, secret: isShortText },
  { try: isPositiveInteger },
)

const itemShape = new Shape(
  { key: isKey },
  { mode: isMode, permits: isPermits, capacity: isPermits },
)

function areItems(value: unknown): value is readonly LockItem[] {
  if (!Array.isArray(value) || value.length > maxSetKeys) return false
  return value.every((item) => isObject(item) && itemShape.accepts(item))
}

/** The field `type`. Its text was compared already, to find the shape. */
const typeField: Fields = { type: () => true }
/** The fields of every request (a message with an `id`). The broker's answer has the same id. */
const requestFields = { ...typeField, id: isId }
const timeoutField = { timeout: isDurationFromZero }
const selectionFields = { key: isKey, prefix: isPrefix }
/** `isPrefix` accepts exactly the keys and the empty text. */
const isKeyOrEmpty = isPrefix

/** The shapes, by the `type` of the message. */
const shapes: { readonly [T in ClientMessage['type']]?: Shape } = {
  hello: new Shape(typeField, {
    token: isTextUpTo(maxTokenLength),
    name: isName,
    lease: isDuration,
    grace: (value) => value === 'lease' || isDurationFromZero(value),
    cell: (value) => typeof value === 'string' && parseCell(value) !== undefined,
    resume: (value) => isObject(value) && resumeShape.accepts(value),
  }),
  lockAll: new Shape(
    { ...requestFields, items: areItems },
    {
      ...timeoutField,
      ttl: isDuration,
      metadata: isMetadata,
      maxHold: isDuration,
      notify: isNoticeList,
      scope: isId,
    },
  ),
  upgrade: new Shape({ ...requestFields, fence: isFence }, timeoutField),
  downgrade: new Shape({ ...requestFields, fence: isFence }),
  endScope: new Shape({ ...requestFields, scope: isId }),
  refresh: new Shape({ ...requestFields, fence: isFence }, { ttl: isDuration }),
  campaign: new Shape(
    { ...requestFields, key: isKey },
    { ...timeoutField, value: isMetadata, metadata: isMetadata },
  ),
  proclaim: new Shape({ ...requestFields, fence: isFence }, { value: isMetadata }),
  barrier: new Shape(
    // A barrier with one party would delay no call.
    { ...requestFields, key: isKey, parties: isIntegerBetween(2, maxParties) },
    timeoutField,
  ),
  once: new Shape(
    { ...requestFields, key: isKey },
    { ...timeoutField, ttl: isDuration, metadata: isMetadata },
  ),
  complete: new Shape({ ...requestFields, fence: isFence }, { value: isResult, keep: isDuration }),
  cancel: new Shape({ ...typeField, request: isId }),
  query: new Shape(requestFields, {
    ...selectionFields,
    limit: isIntegerBetween(1, maxQueryItems),
    after: isKeyOrEmpty,
    afterFence: isFence,
    kind: isOneOf('locks', 'barriers', 'results', 'sessions'),
    session: isShortText,
  }),
  watch: new Shape(requestFields, { ...selectionFields, queue: isBoolean }),
  unwatch: new Shape({ ...typeField, watch: isId }),
  stats: new Shape(requestFields),
  revoke: new Shape({ ...requestFields, key: isKey, fence: isFence, reason: isReason }),
  auth: new Shape({ ...requestFields, token: isTextUpTo(maxTokenLength) }),
  bye: new Shape(typeField),
}

/** Whether a message is valid. Always false for the four types that have no shape in this file. */
export function hasShape(message: object & { type?: unknown }): boolean {
  const { type } = message
  if (typeof type !== 'string' || !Object.hasOwn(shapes, type)) return false
  if (!shapes[type as ClientMessage['type']]!.accepts(message)) return false
  switch (type) {
    case 'lockAll':
      return checkLockSet(message as LockSetRequest) === true
    case 'query':
      return checkQuery(message as Record<string, unknown>) === true
    case 'watch':
      return checkKeyOrPrefix(message as WatchRequest) === true
    default:
      return true
  }
}
