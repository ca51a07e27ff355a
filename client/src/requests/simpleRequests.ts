/**
 * The requests `query`, `revoke`, `auth` and `stats`. Each of them is a `SimpleRequest`: a message,
 * the type of its response, and a function that reads the response. This file also checks the
 * options of these requests and of `watch`.
 */
import {
  type BarrierCallInfo,
  type Found,
  type HeldInfo,
  isIntegerInRange,
  isPrefix,
  type KeptResultInfo,
  type LockStats,
  maxIdOrSecretLength,
  maxQueryItems,
  maxReasonLength,
  maxTokenLength,
  type OptionNames,
  type QueryKind,
  refuseUnknownOptions,
  type SessionInfo,
  type Stats,
  type WaitingInfo,
} from '@holdfast/shared'
import {
  check,
  checkBoolean,
  checkInteger,
  checkKey,
  checkText,
  notAllowed,
} from '../platform/checks.js'
import { ProtocolViolation } from '../transport/connection.js'
import { messageText, type Selection, type WatchOptions } from '../transport/messages.js'
import { Request, type Response } from './requests.js'

/** Which lock `session.revoke` ends, and why. */
export interface RevokeOptions {
  /** The fence of the lock, which is the number of its grant; `query` shows the fence. */
  readonly fence: number
  /** The reason, 1 to 256 characters. The holder and the broker's audit log get the reason. */
  readonly reason: string
}

/** What `session.query` selects: one key, all keys with a prefix, or by default all keys. */
export interface QueryOptions {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /**
   * The result has at most this many locks, and at most this many waiting requests: 1 to 1,000.
   * Default 1,000.
   */
  readonly limit?: number | undefined
  /**
   * Asks for one page of keys, in the order in which JavaScript compares strings. The page begins
   * with the first key after this key; `''` asks for the first page. A page has all locks and all
   * waiting requests of each of its keys, with one exception. A key with more than `limit` locks or
   * waiting requests is alone on its page, and the page has at most `limit` of each. To get the
   * other locks of the key, use `afterFence`.
   *
   * `heldCount` and `waitingCount` of the result cover this page and all later pages. To get all
   * pages, repeat the query with the last key of the page as `after`. If the page has exactly
   * `limit` locks, and all are of one key, that key may have more locks. Then also pass the highest
   * fence of the page as `afterFence`. In this way, each lock that stays held during all these
   * queries is on exactly one page.
   */
  readonly after?: string | undefined
  /**
   * Only with `after`: the page begins with the key `after` itself, not with the next key. Of the
   * key `after`, the page has the locks whose fence is higher than `afterFence`.
   */
  readonly afterFence?: number | undefined
  /** The query lists locks. This is the default. */
  readonly kind?: 'locks' | undefined
}

/**
 * What `session.query` selects with `kind: 'barriers'` (the calls that wait at barriers) or with
 * `kind: 'results'` (the kept results). At a barrier, calls of several sessions wait for each
 * other. A kept result is the value that a call of `session.once` computed, and that the broker
 * keeps for later calls of `once`. A record is either a call at a barrier or a kept result. A query
 * for records has no pages. A broker without the feature `queryKind` refuses such a query.
 */
export interface RecordQueryOptions<K extends 'barriers' | 'results' = 'barriers' | 'results'>
  extends Pick<QueryOptions, 'key' | 'prefix' | 'limit'> {
  readonly kind: K
}

/** Which session `session.query` shows with the kind `sessions`. */
export interface SessionQueryOptions {
  readonly kind: 'sessions'
  /** The id of the session, as queries and watches show it. */
  readonly session: string
}

/** The options of a query of any kind. */
export type AnyQueryOptions = Omit<QueryOptions, 'kind'> & {
  readonly kind?: QueryKind | undefined
  readonly session?: string | undefined
}

/** The result of `session.query` with the kind `barriers`. */
export interface BarrierQueryResult {
  /** At most `limit` calls. The calls of a barrier are in order of arrival. */
  readonly arrived: readonly BarrierCallInfo[]
  /** How many calls the query selects, including those beyond the limit. */
  readonly arrivedCount: number
}

/** The result of `session.query` with the kind `results`. */
export interface KeptQueryResult {
  /** At most `limit` kept results. */
  readonly kept: readonly KeptResultInfo[]
  /** How many kept results the query selects, including those beyond the limit. */
  readonly keptCount: number
}

/** The result of `session.query` with the kind `sessions`. */
export interface SessionQueryResult {
  /** A list with the session as its only item; empty if there is no such session. */
  readonly sessions: readonly SessionInfo[]
  /** 1, or 0 if there is no such session. */
  readonly sessionsCount: number
}

/** The result of `session.query` with the kind `locks`, which is the default. */
export interface QueryResult {
  /** At most `limit` locks. */
  readonly held: readonly HeldInfo[]
  /** At most `limit` waiting requests. */
  readonly waiting: readonly WaitingInfo[]
  /** How many locks the query selects, including those beyond the limit. */
  readonly heldCount: number
  /** How many waiting requests the query selects, including those beyond the limit. */
  readonly waitingCount: number
}

// The names of all options; the value 1 has no meaning.
const revokeOptionNames: OptionNames<RevokeOptions> = { fence: 1, reason: 1 }
const selectionOptionNames: OptionNames<Selection> = { key: 1, prefix: 1 }
const watchOptionNames: OptionNames<WatchOptions> = { ...selectionOptionNames, queue: 1 }
const queryOptionNames: OptionNames<AnyQueryOptions> = {
  ...selectionOptionNames,
  limit: 1,
  after: 1,
  afterFence: 1,
  kind: 1,
  session: 1,
}
/**
 * For each kind of query, the names of the lists in the response. The count of the list `held` is
 * in the field `heldCount`, and so on.
 */
const listsOfKind = {
  locks: ['held', 'waiting'],
  barriers: ['arrived'],
  results: ['kept'],
  sessions: ['sessions'],
} as const

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkRevoke(key: unknown, options: RevokeOptions): RevokeOptions {
  checkKey(key)
  check(options !== undefined, 'revoke needs the options fence and reason')
  refuseUnknownOptions('revoke', options, revokeOptionNames)
  const { fence, reason } = options
  if (!isIntegerInRange(fence, 1)) throw notAllowed('fence', 'the fence of a lock', fence)
  checkText('reason', reason, maxReasonLength)
  return { fence, reason }
}

/** @throws HoldfastError `INVALID_OPTION` */
export function checkToken(token: unknown): void {
  checkText('token', token, maxTokenLength)
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkQuery(options: AnyQueryOptions): AnyQueryOptions {
  refuseUnknownOptions('query', options, queryOptionNames)
  const { key, prefix, limit, after, afterFence, kind, session } = options
  const selection = checkSelection('query', { key, prefix }, selectionOptionNames)
  if (limit !== undefined) checkInteger('limit', limit, 1, maxQueryItems)
  // `isPrefix` accepts exactly the keys and the empty text.
  check(after === undefined || isPrefix(after), 'after must be a key, or empty', 'INVALID_KEY')
  if (afterFence !== undefined && !isIntegerInRange(afterFence, 1))
    throw notAllowed('afterFence', 'the fence of a lock', afterFence)
  check(afterFence === undefined || after !== undefined, 'afterFence needs "after"')
  if (kind !== undefined && !(typeof kind === 'string' && Object.hasOwn(listsOfKind, kind)))
    throw notAllowed('kind', 'locks, barriers, results or sessions', kind)
  const isLockQuery = kind === undefined || kind === 'locks'
  check(after === undefined || isLockQuery, 'only locks have pages')
  check((kind === 'sessions') === (session !== undefined), '"session" goes with kind "sessions"')
  if (session !== undefined) checkText('session', session, maxIdOrSecretLength)
  return { ...selection, limit, after, afterFence, kind, session }
}

/**
 * @param method The name of the method for the error message.
 * @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION`
 */
function checkSelection<T extends Selection>(
  method: string,
  selection: T,
  names: OptionNames<T>,
): Selection {
  check(selection !== undefined, `${method} needs a key or an object with options`)
  refuseUnknownOptions(method, selection, names)
  const { key, prefix } = selection
  if (key !== undefined) checkKey(key)
  check(prefix === undefined || isPrefix(prefix), 'no valid key has this prefix', 'INVALID_KEY')
  check(key === undefined || prefix === undefined, 'give a key or a prefix, not both')
  return { key, prefix }
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkWatch(keyOrOptions: string | WatchOptions): WatchOptions {
  const options = typeof keyOrOptions === 'string' ? { key: keyOrOptions } : keyOrOptions
  const selection = checkSelection('watch', options, watchOptionNames)
  checkBoolean('queue', options.queue)
  return { ...selection, queue: options.queue }
}

/** A request that consists of a message and a function that reads the response. */
export class SimpleRequest<T> extends Request<T> {
  readonly responseType: Response['type']
  readonly brokerStoresResponse: boolean
  readonly key: string | undefined
  readonly #write: (id: number) => string
  readonly #read: (response: Response) => T

  /**
   * @param brokerStoresResponse Whether the broker stores the response to this kind of request
   *   until the client acknowledges the response.
   * @param write Makes the text of the message with this id.
   * @param read Called with each part of the response. The promise resolves with what the call for
   *   the last part returns.
   */
  constructor(
    responseType: Response['type'],
    brokerStoresResponse: boolean,
    write: (id: number) => string,
    read: (response: Response) => T = () => undefined as T,
    key?: string | undefined,
  ) {
    super()
    this.responseType = responseType
    this.brokerStoresResponse = brokerStoresResponse
    this.#write = write
    this.#read = read
    this.key = key
  }

  text(): string {
    return this.#write(this.id)
  }

  onResponse(response: Response): boolean {
    const value = this.#read(response)
    // Only the response to a query has several parts.
    if ((response as Partial<Found>).more) return false
    this.resolve(value)
    return true
  }
}

/**
 * Makes the request that ends one lock, whichever session holds that lock. If the client's session
 * ends before the response arrives, and the client opens a new session, the client sends the
 * request again. A repeated request does no harm, because a fence never belongs to a second lock.
 */
export function revokeRequest(key: string, { fence, reason }: RevokeOptions): SimpleRequest<void> {
  const write = (id: number) => messageText('revoke', { id, key, fence, reason })
  return new SimpleRequest<void>(
    'revoked',
    /* brokerStoresResponse */ true,
    write,
    /* read */ undefined,
    key,
  )
}

/** Makes the request that sends a new token. */
export function authRequest(token: string): SimpleRequest<void> {
  return new SimpleRequest('authenticated', /* brokerStoresResponse */ false, (id) =>
    messageText('auth', { id, token }),
  )
}

/** Makes the request for the counters of the broker. */
export function statsRequest(): SimpleRequest<LockStats> {
  return new SimpleRequest(
    'stats',
    /* brokerStoresResponse */ false,
    (id) => messageText('stats', { id }),
    (response) => (response as Stats).stats,
  )
}

/**
 * The type of the result of a query of any kind. A result has only the lists of its kind. The type
 * names the lists of all kinds, so that code which reads a list of the result needs no cast.
 */
export type AnyQueryResult = QueryResult & BarrierQueryResult & KeptQueryResult & SessionQueryResult

/** Makes a query. */
export function queryRequest(options: AnyQueryOptions): SimpleRequest<AnyQueryResult> {
  let result: Record<string, unknown[] | number>
  const write = (id: number) => {
    // Discards the parts that arrived before the connection dropped, because the broker answers
    // a repeated query with all parts.
    result = {}
    return messageText('query', { id, ...options })
  }
  const read = (response: Response) => {
    const part = response as Found
    for (const name of listsOfKind[options.kind ?? 'locks']) {
      const items = [...((result[name] as unknown[]) ?? []), ...(part[name] ?? [])]
      if (items.length > maxQueryItems) {
        throw new ProtocolViolation(`"found" has more than ${maxQueryItems} items`)
      }
      result[name] = items
      // Only the count in the last part is complete.
      result[`${name}Count`] = part[`${name}Count`] ?? 0
    }
    return result as unknown as AnyQueryResult
  }
  return new SimpleRequest<AnyQueryResult>(
    'found',
    /* brokerStoresResponse */ false,
    write,
    read,
    options.key,
  )
}
