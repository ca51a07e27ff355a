/**
 * One schema of the library superstruct for each message that a client may send, by `type`. The
 * schemas define which messages are valid, and they explain why a message is not valid.
 * `checkClientMessage.ts` uses the schemas only after its faster check has not accepted a message.
 *
 * The schemas refuse unknown fields, so that a broker never ignores a misspelt field.
 * `clientMessages.ts` explains the terms of the protocol.
 */
import {
  array,
  boolean,
  type Describe,
  define,
  enums,
  literal,
  max,
  min,
  object,
  optional,
  refine,
  type Struct,
  size,
  string,
  union,
} from 'superstruct'
import { parseCell } from '../cells.js'
import { isKey, isPrefix, utf8Length } from '../keys.js'
import {
  maxCapacity,
  maxDurationMs,
  maxIdOrSecretLength,
  maxMetadataBytes,
  maxMetadataDepth,
  maxNameLength,
  maxParties,
  maxQueryItems,
  maxReasonLength,
  maxResultBytes,
  maxSetKeys,
  maxTokenLength,
  maxUnacknowledgedResponses,
} from '../limits.js'
import type {
  Acknowledge,
  AuthRequest,
  BarrierRequest,
  Bye,
  CampaignRequest,
  Cancel,
  ClientMessage,
  CompleteRequest,
  DowngradeRequest,
  EndScopeRequest,
  Hello,
  LockItem,
  LockRequest,
  LockSetRequest,
  NoticeType,
  OnceRequest,
  Pong,
  ProclaimRequest,
  QueryRequest,
  RefreshRequest,
  RevokeRequest,
  StatsRequest,
  UnlockRequest,
  Unwatch,
  UpgradeRequest,
  WatchRequest,
} from './clientMessages.js'
import { isWithinJsonLimits, maxJsonValuesWithResult } from './jsonLimits.js'

/**
 * Makes a schema whose error message does not contain the value. By default superstruct prints the
 * value into the message. The printing throws if the value has a field `toString` that is not a
 * function, such as {"toString":1}.
 *
 * @param name Names a valid value, without an article. The error message is "not a" and this name.
 */
function customSchema<T>(name: string, isValid: (value: unknown) => boolean): Struct<T, null> {
  return define<T>(name, (value) => isValid(value) || `not a ${name}`)
}

export const safeInteger = customSchema<number>('safe integer', Number.isSafeInteger)

/** A number of permits, keys, calls, messages or tries: an integer from 1. */
export const PositiveInteger = min(safeInteger, 1)
/** The id of a request, a watch or a scope. */
export const Id = PositiveInteger
/** A fence, which is the number of a grant. */
export const Fence = PositiveInteger
export const Key = customSchema<string>('key', isKey)
const Prefix = customSchema<string>('prefix', isPrefix)
/** The key after which a page begins. The empty text, which is no key, asks for the first page. */
const PageStart = customSchema<string>('key or empty text', (value) => value === '' || isKey(value))
/** A ttl, a lease or another duration in ms that cannot be 0. */
export const Duration = max(min(safeInteger, 1), maxDurationMs)
/** A timeout, a grace or another duration in ms that may be 0. */
export const DurationFromZero = max(min(safeInteger, 0), maxDurationMs)
/** The notices that a request asks for: each at most once. */
const Notices = customSchema<readonly NoticeType[]>('list of notices', isNoticeList)
/** The metadata of a lock or the value of a leader: see {@link isMetadata}. */
const Metadata = customSchema<unknown>('value for metadata', isMetadata)

/**
 * Whether a parsed JSON value may be the metadata of a lock, or the value that a leader publishes:
 * at most 4 KiB and 64 levels.
 */
export function isMetadata(value: unknown): boolean {
  if (value === undefined || !isWithinJsonLimits(value, maxMetadataDepth)) return false
  const text = JSON.stringify(value)
  // A text has at least as many bytes as UTF-16 units. So if the length is too big already, the
  // bytes need not be counted.
  return text.length <= maxMetadataBytes && utf8Length(text) <= maxMetadataBytes
}

/** Whether a value is a list of notices in which no notice comes twice. */
export function isNoticeList(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    // There are two kinds of notices. The length is checked before the items, because a hostile
    // list may be long.
    value.length <= 2 &&
    value.every((notice) => notice === 'queued' || notice === 'contended') &&
    new Set(value).size === value.length
  )
}

/** Any JSON value within the limits of {@link isResult}. */
const ResultValue = customSchema<unknown>('value for once', isResult)

/**
 * Whether a parsed JSON value may be the value of a `once`: at most 32 KiB and 64 levels. A value
 * with more JSON values than a message with a result may have (`maxJsonValuesWithResult`) is always
 * longer than 32 KiB, as `jsonLimits.ts` explains. Such a value is refused before `JSON.stringify`
 * processes the value. The limit of the depth is that of metadata.
 */
export function isResult(value: unknown): boolean {
  if (value === undefined || !isWithinJsonLimits(value, maxMetadataDepth, maxJsonValuesWithResult))
    return false
  const text = JSON.stringify(value)
  return text.length <= maxResultBytes && utf8Length(text) <= maxResultBytes
}

/** Whether a value is text without lone surrogates. */
export function isWellFormed(value: unknown): boolean {
  return typeof value === 'string' && !/\p{Cs}/u.test(value)
}

const wellFormed = customSchema<string>('well-formed text', isWellFormed)

const Token = size(string(), 1, maxTokenLength)
/** A session id or a resume secret. */
export const ShortText = size(string(), 1, maxIdOrSecretLength)

/** A cell as text, such as `1/4`: the first of four cells. */
const CellText = customSchema<string>('cell such as 1/4', (value) => parseCell(value) !== undefined)

const Grace = union([DurationFromZero, literal('lease')])

const Resume = object({
  session: ShortText,
  secret: ShortText,
  // The number of this attempt to resume the session.
  try: optional(PositiveInteger),
})

const HelloSchema: Describe<Hello> = object({
  type: literal('hello'),
  token: optional(Token),
  name: optional(size(wellFormed, 1, maxNameLength)),
  lease: optional(Duration),
  grace: optional(Grace) as Describe<number | 'lease' | undefined>,
  cell: optional(CellText),
  resume: optional(Resume),
})

/** Two fields of `lock` and `lockAll`: the limit on the hold, and the wanted notices. */
const holdAndNotifyFields = { maxHold: optional(Duration), notify: optional(Notices) }

/** The fields of a key in `lock` and `lockAll`. */
const keyFields = {
  key: Key,
  mode: optional(enums(['exclusive', 'shared'])),
  permits: optional(max(min(safeInteger, 1), maxCapacity)),
  capacity: optional(max(min(safeInteger, 1), maxCapacity)),
}

/**
 * Checks the permits and the capacity of one key. Like the other functions `check…` of this file,
 * returns true or the text of an error, as superstruct requires.
 */
export const checkPermits = ({ mode, permits, capacity }: LockItem) => {
  if (capacity === undefined)
    return permits === undefined || 'permits need a capacity: add the capacity of the key'
  // The mode "permits" follows from the capacity, and is never sent.
  if (mode !== undefined)
    return 'a request with a capacity always has the mode "permits": leave out mode or capacity'
  return (
    (permits ?? 1) <= capacity ||
    'more permits than the capacity: use at most as many permits as the capacity'
  )
}

export const checkSteal = ({ steal, mode, timeout, capacity, scope }: LockRequest) => {
  const canSteal =
    mode !== 'shared' && timeout === undefined && capacity === undefined && scope === undefined
  return (
    !steal ||
    canSteal ||
    'a steal is exclusive, has no timeout and no scope: leave out mode, capacity, timeout and scope'
  )
}

const LockSchema: Describe<LockRequest> = refine(
  object({
    type: literal('lock'),
    id: Id,
    ...keyFields,
    ttl: optional(Duration),
    timeout: optional(DurationFromZero),
    steal: optional(boolean()),
    metadata: optional(Metadata),
    ...holdAndNotifyFields,
    scope: optional(Id),
  }) as Describe<LockRequest>,
  'lock',
  (message) => {
    const result = checkPermits(message)
    return result === true ? checkSteal(message) : result
  },
)

export function checkLockSet({ items }: LockSetRequest): true | string {
  if (items.length < 1 || items.length > maxSetKeys)
    return `a set has 1 to ${maxSetKeys} keys: add keys or use several sets`
  if (new Set(items.map(({ key }) => key)).size < items.length)
    return 'a set has the same key twice: name each key once'
  return items.map(checkPermits).find((result) => result !== true) ?? true
}

const LockSetSchema: Describe<LockSetRequest> = refine(
  object({
    type: literal('lockAll'),
    id: Id,
    items: array(object(keyFields) as Describe<LockItem>),
    ttl: optional(Duration),
    timeout: optional(DurationFromZero),
    metadata: optional(Metadata),
    ...holdAndNotifyFields,
    scope: optional(Id),
  }) as unknown as Describe<LockSetRequest>,
  'lockAll',
  checkLockSet,
)

const UpgradeSchema: Describe<UpgradeRequest> = object({
  type: literal('upgrade'),
  id: Id,
  fence: Fence,
  timeout: optional(DurationFromZero),
})

const DowngradeSchema: Describe<DowngradeRequest> = object({
  type: literal('downgrade'),
  id: Id,
  fence: Fence,
})

const EndScopeSchema: Describe<EndScopeRequest> = object({
  type: literal('endScope'),
  id: Id,
  scope: Id,
})

const UnlockSchema: Describe<UnlockRequest> = object({
  type: literal('unlock'),
  id: Id,
  fence: Fence,
})

const RefreshSchema: Describe<RefreshRequest> = object({
  type: literal('refresh'),
  id: Id,
  fence: Fence,
  ttl: optional(Duration),
})

const CancelSchema: Describe<Cancel> = object({ type: literal('cancel'), request: Id })

export const checkKeyOrPrefix = (message: { key?: unknown; prefix?: unknown }) =>
  message.key === undefined ||
  message.prefix === undefined ||
  'a query or watch cannot have both a key and a prefix: leave one of them out'

const checkPageStart = (message: { after?: unknown; afterFence?: unknown }) =>
  message.afterFence === undefined ||
  message.after !== undefined ||
  'afterFence needs after: add after or leave out afterFence'

const checkQueryKind = (message: { after?: unknown; kind?: unknown }) =>
  message.after === undefined ||
  message.kind === undefined ||
  message.kind === 'locks' ||
  'only a query for locks has pages: leave out after or kind'

const checkQuerySession = ({ kind, session, key, prefix }: Record<string, unknown>) => {
  if ((kind === 'sessions') !== (session !== undefined))
    return 'the kind "sessions" needs the field session, and no other kind allows this field'
  return (
    session === undefined ||
    (key === undefined && prefix === undefined) ||
    'a query for a session has no key and no prefix: leave them out'
  )
}

export function checkQuery(message: Record<string, unknown>): true | string {
  for (const checkFields of [checkKeyOrPrefix, checkPageStart, checkQueryKind, checkQuerySession]) {
    const result = checkFields(message)
    if (result !== true) return result
  }
  return true
}

const QuerySchema: Describe<QueryRequest> = refine(
  object({
    type: literal('query'),
    id: Id,
    key: optional(Key),
    prefix: optional(Prefix),
    limit: optional(max(min(safeInteger, 1), maxQueryItems)),
    after: optional(PageStart),
    afterFence: optional(Fence),
    kind: optional(enums(['locks', 'barriers', 'results', 'sessions'])),
    session: optional(ShortText),
  }),
  'query',
  checkQuery,
)

const WatchSchema: Describe<WatchRequest> = refine(
  object({
    type: literal('watch'),
    id: Id,
    key: optional(Key),
    prefix: optional(Prefix),
    queue: optional(boolean()),
  }),
  'watch',
  checkKeyOrPrefix,
)

const UnwatchSchema: Describe<Unwatch> = object({ type: literal('unwatch'), watch: Id })
const StatsSchema: Describe<StatsRequest> = object({ type: literal('stats'), id: Id })
const RevokeSchema: Describe<RevokeRequest> = object({
  type: literal('revoke'),
  id: Id,
  key: Key,
  fence: Fence,
  reason: size(wellFormed, 1, maxReasonLength),
})
const CampaignSchema: Describe<CampaignRequest> = object({
  type: literal('campaign'),
  id: Id,
  key: Key,
  value: optional(Metadata),
  timeout: optional(DurationFromZero),
  metadata: optional(Metadata),
}) as Describe<CampaignRequest>
const ProclaimSchema: Describe<ProclaimRequest> = object({
  type: literal('proclaim'),
  id: Id,
  fence: Fence,
  value: optional(Metadata),
}) as Describe<ProclaimRequest>
const BarrierSchema: Describe<BarrierRequest> = object({
  type: literal('barrier'),
  id: Id,
  key: Key,
  // A barrier with one party would delay no call.
  parties: max(min(safeInteger, 2), maxParties),
  timeout: optional(DurationFromZero),
})
const OnceSchema: Describe<OnceRequest> = object({
  type: literal('once'),
  id: Id,
  key: Key,
  ttl: optional(Duration),
  timeout: optional(DurationFromZero),
  metadata: optional(Metadata),
}) as Describe<OnceRequest>
const CompleteSchema: Describe<CompleteRequest> = object({
  type: literal('complete'),
  id: Id,
  fence: Fence,
  value: optional(ResultValue),
  keep: optional(Duration),
}) as Describe<CompleteRequest>
const AuthSchema: Describe<AuthRequest> = object({
  type: literal('auth'),
  id: Id,
  token: Token,
})
const PongSchema = object({
  type: literal('pong'),
  n: min(safeInteger, 0),
  idle: optional(boolean()),
}) as Describe<Pong>
const AckSchema: Describe<Acknowledge> = object({
  type: literal('ack'),
  ids: size(array(Id), 0, maxUnacknowledgedResponses),
})
const ByeSchema: Describe<Bye> = object({ type: literal('bye') })

/** The schema of each message from a client, by `type`. */
export const schemas = {
  hello: HelloSchema,
  lock: LockSchema,
  lockAll: LockSetSchema,
  upgrade: UpgradeSchema,
  downgrade: DowngradeSchema,
  endScope: EndScopeSchema,
  unlock: UnlockSchema,
  refresh: RefreshSchema,
  campaign: CampaignSchema,
  proclaim: ProclaimSchema,
  barrier: BarrierSchema,
  once: OnceSchema,
  complete: CompleteSchema,
  cancel: CancelSchema,
  query: QuerySchema,
  watch: WatchSchema,
  unwatch: UnwatchSchema,
  stats: StatsSchema,
  revoke: RevokeSchema,
  auth: AuthSchema,
  pong: PongSchema,
  ack: AckSchema,
  bye: ByeSchema,
} as const satisfies { [T in ClientMessage['type']]: Describe<Extract<ClientMessage, { type: T }>> }
