/**
 * The options of lock requests and refreshes, and their checks. A ttl is the time after which a
 * lock expires, and a refresh starts the ttl anew. Locks with permits share the capacity of their
 * key, as on a semaphore. A set is one lock on several keys.
 */
import {
  HoldfastError,
  isIntegerInRange,
  type LockItem,
  type LockMode,
  maxCapacity,
  maxMetadataBytes,
  maxSetKeys,
  type OptionNames,
  refuseUnknownOptions,
  utf8Length,
} from '@holdfast/shared'
import {
  check,
  checkBoolean,
  checkFunction,
  checkInteger,
  checkKey,
  checkMs,
  checkSignal,
  isMode,
  isObject,
  shown,
  wrongMode,
} from '../platform/checks.js'
import type {
  ContendedNotice,
  LimitAndCallbacks,
  LockParams,
  QueuedNotice,
  SpecialParams,
} from '../transport/messages.js'

/**
 * The options of `session.tryLockAll`. `tryLock`, `lock` and `lockAll` have these options too, and
 * `singleflightLock` has all of them except `onContended`.
 */
export interface TryLockSetOptions {
  /**
   * The lock expires this long after its grant or last refresh, in ms. Default: the lock never
   * expires.
   */
  readonly ttl?: number | undefined
  /** An abort of this signal cancels the request, which is then rejected with `ABORTED`. */
  readonly signal?: AbortSignal | undefined
  /** Any JSON value, at most 4 KiB as text and 64 levels deep; other sessions can see it. */
  readonly metadata?: unknown
  /**
   * The lock is lost this long after its grant, in ms, even if the lock is refreshed. The loss has
   * the reason `'maxHold'`. The operator of the broker may have set a lower limit. Default: the
   * limit of the operator, if there is one.
   */
  readonly maxHold?: number | undefined
  /**
   * Called when requests wait behind the lock. The argument has `waiting`, the number of requests
   * that wait. For a lock on several keys, `waiting` counts the requests of the busiest key.
   * Called at most once a second for each lock, and only after the call that requested the lock has
   * resolved.
   */
  readonly onContended?: ((contended: ContendedNotice) => void) | undefined
}

/** The option that `lock` and `lockAll` have because their requests may wait. */
interface WaitingOptions {
  /**
   * Called once if the request has to wait. The argument has `ahead`, the number of requests that
   * wait before this request, and `holders`, as in the error `LOCK_HELD`. Not called if the
   * connection is lost before the broker's notice arrives.
   */
  readonly onQueued?: ((queued: QueuedNotice) => void) | undefined
}

/** The options of `session.lockAll`. */
export interface LockSetOptions extends TryLockSetOptions, WaitingOptions {
  /** As in {@link LockOptions}. */
  readonly timeout?: number | undefined
}

/** The options of `session.tryLock`. */
export interface TryLockOptions extends TryLockSetOptions {
  /**
   * Several sessions may hold `'shared'` locks of a key at the same time. Default `'exclusive'`.
   * With a `capacity`, the mode is `'permits'`, and this option must be left out.
   */
  readonly mode?: Exclude<LockMode, 'permits'> | undefined
  /** How many permits the lock needs, 1 to `capacity`. Only with `capacity`. Default 1. */
  readonly permits?: number | undefined
  /**
   * How many permits all locks of the key may have together, 1 to 1,000,000. All users of a key
   * must give the same capacity: a request with another capacity is rejected with
   * `CAPACITY_MISMATCH`.
   */
  readonly capacity?: number | undefined
}

/** One key of `session.lockAll`. A string is a key whose lock is exclusive. */
export type LockSetItem = string | LockItem

/** The options of `session.lock`. */
export interface LockOptions extends TryLockOptions, WaitingOptions {
  /**
   * After this time, in ms, the request is rejected with `LOCK_TIMEOUT`. With 0, the request does
   * not wait, like a request of `tryLock`. Default: the request waits for ever.
   */
  readonly timeout?: number | undefined
  /**
   * Takes the lock from its present holders. The request precedes all waiting requests. Only in
   * exclusive mode and without `timeout`. Default false.
   */
  readonly steal?: boolean | undefined
}

/** The options of `session.singleflightLock`. */
export type SingleflightOptions = Omit<
  LockOptions,
  'steal' | 'permits' | 'capacity' | 'onQueued' | 'onContended'
>

/** The options of `lock.refresh`. */
export interface RefreshOptions {
  /** When aborted, `refresh` rejects with `ABORTED`; the broker may still refresh the lock. */
  readonly signal?: AbortSignal | undefined
}

/** The options of `lock.autoRefresh`. */
export interface AutoRefreshOptions {
  /**
   * Time from sending one refresh to sending the next refresh, in ms, 1 to 2^31 - 1. The sum of
   * `interval` and `timeout` must be less than the ttl.
   */
  readonly interval: number
  /** How long each refresh may take, in ms, 1 to 2^31 - 1. */
  readonly timeout: number
}

/** The checked options of a lock request. */
export interface CheckedLock {
  readonly params: LockParams
  readonly timeout: number | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * Only `session.locks` (the Web Locks API) makes keys with this reserved prefix, from lock names;
 * see `webLocks/names.ts`.
 */
export const reservedPrefix = '~name:'

/** Names of options. The values 1 have no meaning. */
const commonOptionNames = { ttl: 1, signal: 1, metadata: 1, maxHold: 1 } as const
const singleflightOptionNames: OptionNames<SingleflightOptions> = {
  ...commonOptionNames,
  timeout: 1,
  mode: 1,
}
export const tryLockSetOptionNames: OptionNames<TryLockSetOptions> = {
  ...commonOptionNames,
  onContended: 1,
}
const lockSetOptionNames: OptionNames<LockSetOptions> = {
  ...tryLockSetOptionNames,
  timeout: 1,
  onQueued: 1,
}
export const tryLockOptionNames: OptionNames<TryLockOptions> = {
  ...tryLockSetOptionNames,
  mode: 1,
  permits: 1,
  capacity: 1,
}
const lockOptionNames: OptionNames<LockOptions> = {
  ...tryLockOptionNames,
  timeout: 1,
  steal: 1,
  onQueued: 1,
}
const itemOptionNames: OptionNames<LockItem> = { key: 1, mode: 1, permits: 1, capacity: 1 }
const refreshOptionNames: OptionNames<RefreshOptions> = { signal: 1 }
const autoRefreshOptionNames: OptionNames<AutoRefreshOptions> = { interval: 1, timeout: 1 }

/** Whether the key has the prefix that is reserved for names of `session.locks`. */
export function isReserved(key: string): boolean {
  return key.startsWith(reservedPrefix)
}

/** The options of a call without options. `checkLock` recognises this object and checks less. */
export const noOptions: LockOptions = {}

/**
 * Checks the arguments of a lock request.
 *
 * @param method The method's name, for the error message.
 * @param isName Whether `session.locks` made the key from a lock name, so that the reserved prefix
 *   is allowed.
 * @throws HoldfastError `INVALID_KEY`, `INVALID_TTL`, `INVALID_TIMEOUT` or `INVALID_OPTION`
 */
export function checkLock(
  key: unknown,
  options: LockOptions,
  method = 'lock',
  isName = false,
): CheckedLock {
  checkUsableKey(key, isName)
  if (options === noOptions) return plainLock(key)
  refuseUnknownOptions(method, options, lockOptionNames)
  const { ttl, timeout, signal, metadata, steal = false } = options
  checkTtl(ttl)
  checkTimeout(timeout)
  checkSignal(signal)
  const special = checkPermits(options)
  const mode = special === undefined ? checkMode(options.mode) : 'permits'
  checkBoolean('steal', steal)
  check(
    !steal || (mode === 'exclusive' && timeout === undefined),
    'steal needs the mode exclusive and no timeout',
  )
  const limitAndCallbacks = checkLimitAndCallbacks(options)
  const params = {
    key,
    mode,
    ttl,
    steal,
    metadata: metadataText(metadata),
    special,
    limitAndCallbacks,
  }
  return { params, timeout, signal }
}

/**
 * The checked lock of a call without options. Has all properties, in the order of `checkLock`,
 * because V8 reads objects of one layout faster.
 */
function plainLock(key: string): CheckedLock {
  const params = {
    key,
    mode: 'exclusive' as const,
    ttl: undefined,
    steal: false,
    metadata: undefined,
    special: undefined,
    limitAndCallbacks: undefined,
  }
  return { params, timeout: undefined, signal: undefined }
}

/**
 * Checks the arguments of a request for several keys.
 *
 * @throws HoldfastError like `checkLock`
 */
export function checkLockSet(
  keys: unknown,
  options: LockSetOptions,
  method = 'lockAll',
): CheckedLock {
  check(Array.isArray(keys), `${method} takes an array of keys`)
  check(
    keys.length >= 1 && keys.length <= maxSetKeys,
    `${method} takes 1 to ${maxSetKeys} keys, not ${keys.length}`,
  )
  refuseUnknownOptions(method, options, lockSetOptionNames)
  // `map` would skip the holes of the array, but `checkItem` must refuse them.
  const items = Array.from(keys, (item: LockSetItem) => checkItem(item, method))
  const duplicate = items.find((item, i) => items.findIndex(({ key }) => key === item.key) < i)
  check(duplicate === undefined, `${method} got the key ${JSON.stringify(duplicate?.key)} twice`)
  const { ttl, timeout, signal, metadata } = options
  checkTtl(ttl)
  checkTimeout(timeout)
  checkSignal(signal)
  // The `Lock` object of a set shows the key, mode, permits and capacity of the first item. The
  // message to the broker has only `items`.
  const [{ key, mode = 'exclusive', permits, capacity }] = items as [LockItem]
  const firstMode: LockMode = capacity === undefined ? mode : 'permits'
  const special = { items, permits, capacity }
  const metadataJson = metadataText(metadata)
  const limitAndCallbacks = checkLimitAndCallbacks(options)
  const params = {
    key,
    mode: firstMode,
    ttl,
    steal: false,
    metadata: metadataJson,
    special,
    limitAndCallbacks,
  }
  return { params, timeout, signal }
}

/** Checks `maxHold` and the callbacks. Returns undefined for a request with none of them. */
function checkLimitAndCallbacks({
  maxHold,
  onQueued,
  onContended,
}: LockOptions): LimitAndCallbacks | undefined {
  if (maxHold === undefined && onQueued === undefined && onContended === undefined) return undefined
  if (maxHold !== undefined) checkMs('maxHold', maxHold, 1)
  if (onQueued !== undefined) checkFunction('onQueued', onQueued)
  if (onContended !== undefined) checkFunction('onContended', onContended)
  return { maxHold, onQueued, onContended }
}

/** Checks one key of a set. Returns the item that is sent. */
function checkItem(item: LockSetItem, method: string): LockItem {
  if (typeof item === 'string') {
    checkUsableKey(item, /* isName */ false)
    return { key: item }
  }
  check(isObject(item), `${method} takes keys, or objects with a key`)
  refuseUnknownOptions(`a key of ${method}`, item, itemOptionNames)
  const { key } = item
  checkUsableKey(key, /* isName */ false)
  const special = checkPermits(item)
  if (special !== undefined) return { key, ...special }
  return checkMode(item.mode) === 'exclusive' ? { key } : { key, mode: 'shared' }
}

/** Checks the mode of a key without a capacity, and returns the mode. */
function checkMode(mode: LockItem['mode']): LockMode {
  // Not `??`, because null must be refused.
  const chosenMode = mode === undefined ? 'exclusive' : mode
  if (isMode(chosenMode)) return chosenMode
  throw new HoldfastError('INVALID_OPTION', `${wrongMode}, not ${shown(chosenMode)}`)
}

/** Checks and returns the permits and the capacity of one key; undefined without a capacity. */
function checkPermits({
  mode,
  permits,
  capacity,
}: LockItem | LockOptions): SpecialParams | undefined {
  if (capacity === undefined) {
    check(permits === undefined, 'permits need a capacity')
    return undefined
  }
  check(
    mode === undefined,
    'a request with a capacity always has the mode "permits": leave out mode or capacity',
  )
  checkInteger('capacity', capacity, 1, maxCapacity)
  // Not `??`, because null must be refused.
  const wantedPermits = permits === undefined ? 1 : permits
  check(
    isIntegerInRange(wantedPermits, 1, capacity),
    `permits must be an integer from 1 to the capacity ${capacity}, not ${shown(wantedPermits)}`,
  )
  return { permits: wantedPermits, capacity }
}

/**
 * Checks the key of a request.
 *
 * @param isName Whether `session.locks` made the key from a lock name. Only such keys may have the
 *   reserved prefix.
 * @throws HoldfastError `INVALID_KEY`
 */
export function checkUsableKey(key: unknown, isName: boolean): asserts key is string {
  checkKey(key)
  check(
    isName || !isReserved(key),
    `keys that begin with ${reservedPrefix} are reserved for names of session.locks`,
    'INVALID_KEY',
  )
}

/** @throws HoldfastError like `checkLock` */
export function checkSingleflight(key: unknown, options: SingleflightOptions): CheckedLock {
  refuseUnknownOptions('singleflightLock', options, singleflightOptionNames)
  const checkedLock = checkLock(key, options)
  // The callers share one request, so the client measures the timeout of each caller. The timeout
  // 0 is refused, because only the broker can tell whether the lock is free at once.
  checkTimeout(checkedLock.timeout, 1)
  return checkedLock
}

function checkTtl(ttl: unknown): void {
  if (ttl !== undefined) checkMs('ttl', ttl, 1, 'INVALID_TTL')
}

/** @throws HoldfastError `INVALID_TIMEOUT` unless the timeout is undefined or at least `min` ms */
export function checkTimeout(timeout: unknown, min: 0 | 1 = 0): void {
  if (timeout !== undefined) checkMs('timeout', timeout, min, 'INVALID_TIMEOUT')
}

/** @throws HoldfastError `INVALID_TTL` or `INVALID_OPTION` */
export function checkRefresh(ttl: unknown, options: RefreshOptions): void {
  check(!isObject(ttl), 'refresh takes the ttl first, then options: refresh(ttl, { signal })')
  checkTtl(ttl)
  refuseUnknownOptions('refresh', options, refreshOptionNames)
  checkSignal(options.signal)
}

/**
 * Returns the checked interval and timeout. By default each is a third of the ttl.
 *
 * @throws HoldfastError `INVALID_INTERVAL`, `INVALID_TIMEOUT` or `INVALID_OPTION`
 */
export function checkAutoRefresh(
  options: AutoRefreshOptions | undefined,
  ttl: number | undefined,
): AutoRefreshOptions {
  refuseUnknownOptions('autoRefresh', options, autoRefreshOptionNames)
  check(
    options !== undefined || ttl !== undefined,
    'the lock has no ttl: give autoRefresh an interval and a timeout',
    'INVALID_INTERVAL',
  )
  // At least 1, so that a ttl of 1 or 2 ms fails at the last check, whose message names the ttl.
  const thirdOfTtl = Math.max(Math.floor((ttl ?? 0) / 3), 1)
  const { interval, timeout } = options ?? { interval: thirdOfTtl, timeout: thirdOfTtl }
  checkMs('interval', interval, 1, 'INVALID_INTERVAL')
  checkMs('timeout', timeout, 1, 'INVALID_TIMEOUT')
  check(
    ttl === undefined || interval + timeout < ttl,
    `interval + timeout must be below the ttl of ${ttl} ms, not ${interval + timeout} ms`,
    'INVALID_INTERVAL',
  )
  return { interval, timeout }
}

function metadataText(metadata: unknown): string | undefined {
  return jsonText('metadata', metadata, maxMetadataBytes)
}

/**
 * Converts a value to JSON text; undefined stays undefined. Only the broker checks how deeply the
 * value nests.
 *
 * @param name The name of the value in the error message.
 * @throws HoldfastError `INVALID_OPTION` if the value is not a JSON value, or is too large
 */
export function jsonText(name: string, value: unknown, maxBytes: number): string | undefined {
  if (value === undefined) return undefined
  let text: string | undefined
  let cause: unknown
  try {
    text = JSON.stringify(value)
  } catch (error) {
    cause = error
  }
  if (text !== undefined && utf8Length(text) <= maxBytes) return text
  const message = `${name} must be a JSON value of at most ${maxBytes} bytes`
  throw new HoldfastError('INVALID_OPTION', message, { cause })
}
