/**
 * What the client sends, as text. What is sent for each lock is written by template rather than by
 * `JSON.stringify` of an object: the fields are few, checked, and known, and a lock is asked for a
 * hundred thousand times a second.
 */
import type { ClientMessage, LockMode } from '@holdfast/shared'

/** What a lock request asks for, checked; metadata is JSON text. */
export interface LockParams {
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

/** A message with these fields; one that is undefined is left out. */
export function messageText<T extends ClientMessage['type']>(
  type: T,
  fields: Omit<Extract<ClientMessage, { type: T }>, 'type'>,
): string {
  return JSON.stringify({ type, ...fields })
}

export function lockText(id: number, terms: LockParams, timeout: number | undefined): string {
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

export const byeText = messageText('bye', {})
