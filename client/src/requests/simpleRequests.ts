/** What a session may ask that is not about locks of its own. */
import {
  type Found,
  type HeldInfo,
  type LockStats,
  maxQueryItems,
  type ServerMessage,
  type Stats,
  type WaitingInfo,
} from '@holdfast/shared'
import type { QueryOptions } from '../options.js'
import { messageText } from '../transport/messages.js'
import { ProtocolViolation } from '../transport/violation.js'
import { Request } from './requests.js'

/** What `session.query` resolves with. */
export interface QueryResult {
  /** At most as many as the limit; so are those that wait. */
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  /** How many locks matched, within the limit or not. */
  readonly heldCount: number
  readonly waitingCount: number
}

export class SimpleRequest<T> extends Request<T> {
  readonly answer: ServerMessage['type']
  readonly stored: boolean
  readonly key: string | undefined
  readonly #write: (id: number) => string
  readonly #read: (answer: ServerMessage) => T

  constructor(
    answer: ServerMessage['type'],
    stored: boolean,
    write: (id: number) => string,
    read: (answer: ServerMessage) => T = () => undefined as T,
    key?: string | undefined,
  ) {
    super()
    this.answer = answer
    this.stored = stored
    this.#write = write
    this.#read = read
    this.key = key
  }

  text(): string {
    return this.#write(this.id)
  }

  /** Takes the answer or a part of it; true if it was the last. */
  onResponse(answer: ServerMessage): boolean {
    const value = this.#read(answer)
    if ((answer as Partial<Found>).more) return false
    this.resolve(value)
    return true
  }
}

/**
 * Ends somebody's lock. It outlives the session that asks: the fence names one lock for ever, so
 * asked twice it does nothing the second time.
 */
export function revokeRequest(key: string, fence: number, reason: string): SimpleRequest<void> {
  const write = (id: number) => messageText('revoke', { id, key, fence, reason })
  return new SimpleRequest<void>('revoked', true, write, undefined, key)
}

/** Shows a new token. */
export function authRequest(token: string): SimpleRequest<void> {
  return new SimpleRequest('authenticated', false, (id) => messageText('auth', { id, token }))
}

export function statsRequest(): SimpleRequest<LockStats> {
  return new SimpleRequest(
    'stats',
    false,
    (id) => messageText('stats', { id }),
    (answer) => (answer as Stats).stats,
  )
}

export function queryRequest(options: QueryOptions): SimpleRequest<QueryResult> {
  let held: HeldInfo[]
  let waiting: WaitingInfo[]
  const write = (id: number) => {
    // Asked again after a drop, it begins again.
    held = []
    waiting = []
    return messageText('query', { id, ...options })
  }
  const read = (answer: ServerMessage) => {
    const part = answer as Found
    const most = Math.max(held.length + part.held.length, waiting.length + part.waiting.length)
    if (most > maxQueryItems)
      throw new ProtocolViolation(`found lists more than ${maxQueryItems} items`)
    held.push(...part.held)
    waiting.push(...part.waiting)
    return { held, waiting, heldCount: part.heldCount, waitingCount: part.waitingCount }
  }
  return new SimpleRequest<QueryResult>('found', false, write, read, options.key)
}
