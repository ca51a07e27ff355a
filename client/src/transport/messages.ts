/**
 * Writes the messages of the client as JSON text. `lock` and `unlock` are written by a template and
 * not by `JSON.stringify`, because a client may send a hundred thousand such messages a second.
 * Messages with metadata or a value have a template too, because the metadata or the value is JSON
 * text already. A template is safe, because the client has checked all fields before.
 *
 * A fence is a number that rises with each grant. A scope is one logical task of a session. Locks
 * with permits make their key a semaphore with a capacity. A set is one lock on several keys.
 */
import {
  type ClientMessage,
  type Contended,
  integerText,
  type LockItem,
  type LockMode,
  type Queued,
} from '@holdfast/shared'

/** The parameters of special kinds of locks: permits, several keys, `once`, elections, scopes. */
export interface SpecialParams {
  readonly permits?: number | undefined
  readonly capacity?: number | undefined
  /**
   * True for the lock of a run. A run is one call of the function that the caller passed to
   * `session.once`.
   */
  readonly once?: true | undefined
  /** The id of the scope; undefined outside a scope. */
  readonly scope?: number | undefined
  /** The keys of a set; undefined for a lock of one key. */
  readonly items?: readonly LockItem[] | undefined
  /**
   * Present only for a campaign, which is a request to become the leader of an election. `value` is
   * the value that the leader will publish, as JSON text.
   */
  readonly election?: { readonly value: string | undefined } | undefined
}

/**
 * The parameters that only few requests have: `maxHold` and callbacks. The broker needs to know
 * `maxHold`, and whether the client has the callbacks.
 */
export interface LimitAndCallbacks {
  /** The lock ends this long after its grant, in ms; undefined for no such limit. */
  readonly maxHold: number | undefined
  /** Called once if the request has to wait. */
  readonly onQueued: ((queued: QueuedNotice) => void) | undefined
  /** Called when other requests wait for the held lock, at most once a second. */
  readonly onContended: ((contended: ContendedNotice) => void) | undefined
}

/** The argument of `onQueued`. */
export type QueuedNotice = Omit<Queued, 'type' | 'id'>
/** The argument of `onContended`. */
export type ContendedNotice = Omit<Contended, 'type' | 'fence'>

/** The checked parameters of a lock request; `metadata` is JSON text. */
export interface LockParams {
  /** The key; for a set, the first key. */
  readonly key: string
  readonly mode: LockMode
  /** The lock expires this long after its grant or last refresh, in ms; undefined for no ttl. */
  readonly ttl: number | undefined
  /** Whether the broker takes the lock from its holders. */
  readonly steal: boolean
  readonly metadata: string | undefined
  /** Undefined for an ordinary lock. */
  readonly special?: SpecialParams | undefined
  /** The `maxHold` and the callbacks of the request; undefined if the request has neither. */
  readonly limitAndCallbacks?: LimitAndCallbacks | undefined
}

/** Which locks a query or a watch selects: all locks if `key` and `prefix` are absent. */
export interface Selection {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

/** The options of `session.watch`. */
export interface WatchOptions extends Selection {
  /** Whether the watch also shows the requests that wait. Default false. */
  readonly queue?: boolean | undefined
}

/** Writes a message with these fields. Leaves undefined fields out. */
export function messageText<T extends ClientMessage['type']>(
  type: T,
  fields: Omit<Extract<ClientMessage, { type: T }>, 'type'>,
): string {
  return JSON.stringify({ type, ...fields })
}

/**
 * Writes the message that requests a lock: `lock`, `lockAll`, `once` or `campaign`.
 *
 * @param timeout How long the request may still wait, in ms; undefined without a timeout.
 */
export function lockText(id: number, params: LockParams, timeout: number | undefined): string {
  let text =
    params.special?.items === undefined
      ? beginOneKeyText(id, params)
      : beginLockSetText(id, params.special)
  if (params.ttl !== undefined) text += `,"ttl":${params.ttl}`
  if (timeout !== undefined) text += `,"timeout":${timeout}`
  if (params.special?.scope !== undefined) text += `,"scope":${params.special.scope}`
  if (params.steal) text += ',"steal":true'
  if (params.metadata !== undefined) text += `,"metadata":${params.metadata}`
  if (params.limitAndCallbacks !== undefined) text += limitAndNotifyText(params.limitAndCallbacks)
  return `${text}}`
}

function limitAndNotifyText({ maxHold, onQueued, onContended }: LimitAndCallbacks): string {
  const notices = [onQueued && '"queued"', onContended && '"contended"'].filter(Boolean)
  const notifyField = notices.length === 0 ? '' : `,"notify":[${notices.join()}]`
  return maxHold === undefined ? notifyField : `,"maxHold":${maxHold}${notifyField}`
}

/** Begins the message of a lock on one key: the type, the id, the key and special fields. */
function beginOneKeyText(id: number, { key, mode, special }: LockParams): string {
  // When a template literal converts a number, V8 caches the text. In frequent messages,
  // `integerText` avoids this cache and so saves memory.
  const fields = `,"id":${integerText(id)},"key":${JSON.stringify(key)}`
  if (special?.once) return `{"type":"once"${fields}`
  if (special?.election !== undefined) {
    const { value } = special.election
    const valueField = value === undefined ? '' : `,"value":${value}`
    return `{"type":"campaign"${fields}${valueField}`
  }
  const text = `{"type":"lock"${fields}`
  if (special?.capacity !== undefined)
    return `${text},"permits":${special.permits},"capacity":${special.capacity}`
  // The mode `exclusive` is the default of the protocol.
  return mode === 'shared' ? `${text},"mode":"shared"` : text
}

function beginLockSetText(id: number, { items }: SpecialParams): string {
  return `{"type":"lockAll","id":${id},"items":${JSON.stringify(items)}`
}

/** The outcome of a run (see {@link SpecialParams.once}). */
export interface Completion {
  /** The value that the function returned, as JSON text; undefined for the value `undefined`. */
  readonly value: string | undefined
  /** For how long the broker gives the value to later callers, in ms. */
  readonly keep: number | undefined
}

export function completeText(id: number, fence: number, { value, keep }: Completion): string {
  let text = `{"type":"complete","id":${id},"fence":${fence}`
  if (value !== undefined) text += `,"value":${value}`
  if (keep !== undefined) text += `,"keep":${keep}`
  return `${text}}`
}

/** @param value JSON text; undefined to publish no value */
export function proclaimText(id: number, fence: number, value: string | undefined): string {
  const valueField = value === undefined ? '' : `,"value":${value}`
  return `{"type":"proclaim","id":${id},"fence":${fence}${valueField}}`
}

export function unlockText(id: number, fence: number): string {
  return `{"type":"unlock","id":${integerText(id)},"fence":${integerText(fence)}}`
}

export const byeText = messageText('bye', {})
