/**
 * What the client sends, as text. Written by template rather than by `JSON.stringify` of an object:
 * the fields are few, checked, and known, and a lock is asked for a hundred thousand times a
 * second.
 */
import type { Hello, LockMode } from '@holdfast/shared'

/** What a lock request asks for, checked; metadata is JSON text. */
export interface LockTerms {
  readonly key: string
  readonly mode: LockMode
  readonly ttl: number | undefined
  readonly steal: boolean
  readonly metadata: string | undefined
}

/** Which locks a query or a watch is about; neither field: all. */
export interface Selection {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

export function helloText(hello: Omit<Hello, 'type'>): string {
  return JSON.stringify({ type: 'hello', ...hello })
}

export function lockText(id: number, terms: LockTerms, timeout: number | undefined): string {
  let text = `{"type":"lock","id":${id},"key":${JSON.stringify(terms.key)}`
  if (terms.mode === 'shared') text += ',"mode":"shared"'
  if (terms.ttl !== undefined) text += `,"ttl":${terms.ttl}`
  if (timeout !== undefined) text += `,"timeout":${timeout}`
  if (terms.steal) text += ',"steal":true'
  if (terms.metadata !== undefined) text += `,"metadata":${terms.metadata}`
  return `${text}}`
}

export function unlockText(id: number, fence: number): string {
  return `{"type":"unlock","id":${id},"fence":${fence}}`
}

export function refreshText(id: number, fence: number, ttl: number | undefined): string {
  const wanted = ttl === undefined ? '' : `,"ttl":${ttl}`
  return `{"type":"refresh","id":${id},"fence":${fence}${wanted}}`
}

export function revokeText(id: number, key: string, fence: number, reason: string): string {
  return JSON.stringify({ type: 'revoke', id, key, fence, reason })
}

export function authText(id: number, token: string): string {
  return JSON.stringify({ type: 'auth', id, token })
}

export function cancelText(request: number): string {
  return `{"type":"cancel","request":${request}}`
}

export function queryText(id: number, selection: Selection, limit: number | undefined): string {
  return JSON.stringify({ type: 'query', id, ...selection, limit })
}

export function watchText(id: number, selection: Selection): string {
  return JSON.stringify({ type: 'watch', id, ...selection })
}

export function unwatchText(watch: number): string {
  return `{"type":"unwatch","watch":${watch}}`
}

export function statsText(id: number): string {
  return `{"type":"stats","id":${id}}`
}

export function pongText(n: number): string {
  return `{"type":"pong","n":${n}}`
}

export function ackText(ids: readonly number[]): string {
  return `{"type":"ack","ids":[${ids.join(',')}]}`
}

export const byeText = '{"type":"bye"}'
