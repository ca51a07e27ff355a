/**
 * The messages of etcd's JSON gateway that a shared log needs. In these messages bytes are base64,
 * 64-bit integers are text, and fields that are zero or false are missing. A revision is the number
 * of a change: etcd numbers all changes of all keys in one order.
 */

export interface Header {
  readonly cluster_id?: string
  readonly revision?: string
}

export interface KeyValue {
  readonly key: string
  readonly value?: string
  readonly create_revision?: string
  readonly mod_revision?: string
}

export interface WatchAnswer {
  readonly header: Header
  readonly created?: boolean
  readonly canceled?: boolean
  readonly cancel_reason?: string
  readonly compact_revision?: string
  /** The changes. A change without a `type` is a put. */
  readonly events?: readonly { readonly type?: 'DELETE'; readonly kv: KeyValue }[]
}

export interface RangeAnswer {
  readonly header?: Header
  readonly kvs?: readonly KeyValue[]
  readonly more?: boolean
}

export interface TxnAnswer {
  readonly header: Header
  /** Whether all conditions held. */
  readonly succeeded?: boolean
  readonly responses?: readonly { readonly response_range?: RangeAnswer }[]
}

/** A condition of a transaction. */
export type Compare = Readonly<Record<string, string>>
/** One read or write of a transaction. */
export type Operation = Readonly<Record<string, object>>

/** A transaction: etcd executes `success` if all conditions hold, and `failure` otherwise. */
export interface Txn {
  readonly compare: readonly Compare[]
  readonly success: readonly Operation[]
  readonly failure?: readonly Operation[]
}

export function toBase64(text: string | Buffer): string {
  return (typeof text === 'string' ? Buffer.from(text) : text).toString('base64')
}

export function bytesFrom(base64 = ''): Buffer {
  return Buffer.from(base64, 'base64')
}

export function textFrom(base64 = ''): string {
  return bytesFrom(base64).toString()
}

/** A 64-bit integer as a number; a missing field is 0. */
export function numberFrom(text = '0'): number {
  return Number(text)
}

/**
 * The range of all keys with this prefix. A range ends before the key `range_end`. This key is the
 * prefix with its last character raised by one, so the key sorts after all keys with the prefix.
 */
export function allUnder(prefix: string): { readonly key: string; readonly range_end: string } {
  const lastIndex = prefix.length - 1
  const endKey = prefix.slice(0, lastIndex) + String.fromCharCode(prefix.charCodeAt(lastIndex) + 1)
  return { key: toBase64(prefix), range_end: toBase64(endKey) }
}

export function put(key: string, value: string | Buffer): Operation {
  return { request_put: { key: toBase64(key), value: toBase64(value) } }
}

export function read(key: string): Operation {
  return { request_range: { key: toBase64(key) } }
}

/** Removes all keys with this prefix. */
export function removeAll(prefix: string): Operation {
  return { request_delete_range: allUnder(prefix) }
}

export function remove(key: string): Operation {
  return { request_delete_range: { key: toBase64(key) } }
}

/** The condition that the key was last changed at this revision; a missing key has revision 0. */
export function isUnchanged(key: string, revision: number): Compare {
  const mod_revision = String(revision)
  return { key: toBase64(key), target: 'MOD', result: 'EQUAL', mod_revision }
}

/**
 * The condition that no key begins with this prefix. etcd compares the `create_revision` of each
 * such key with 0, and no key has this revision. Without such keys, etcd compares 0 with 0.
 */
export function isEmpty(prefix: string): Compare {
  return { ...allUnder(prefix), target: 'CREATE', result: 'EQUAL', create_revision: '0' }
}
