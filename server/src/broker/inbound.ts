/**
 * From messages to commands: what a client asks becomes something for the log, and what it only
 * wants to see is answered on the spot.
 */
import {
  type Acknowledge,
  type AuthRequest,
  type Bye,
  type Cancel,
  type ClientMessage,
  closeCodes,
  type LockRequest,
  type LockStats,
  maxQueryItems,
  type RefreshRequest,
  type RevokeRequest,
  type UnlockRequest,
  type WatchRequest,
} from '@holdfast/shared'
import { costOfMetadata, costs } from '../access/costs.js'
import type { Denial } from '../access/gate.js'
import { limitReason, limitSentence } from '../access/limits.js'
import type { NamedRefusal } from '../connection/arrived.js'
import type { Connection } from '../connection/connection.js'
import type { PacedMessages } from '../connection/outbox.js'
import type { Command, Session } from '../core/index.js'
import type { Sharing } from '../log/log.js'
import type { Observer, RefusalCause, RefusalNotice } from '../observe/observer.js'
import type { BrokerSettings } from '../options.js'
import { encodeFailed, encodeStats } from './encode.js'
import type { Scope, Search } from './inspect.js'
import type { MemoryAccount } from './memoryAccount.js'
import { canMove } from './moving.js'
import { PageChoice } from './page.js'
import { foundParts, type PacedParts, pageParts, watchingParts } from './parts.js'
import type { WatchRegistry } from './watchRegistry.js'

/** What a message may be answered from without going through the log. */
export interface View {
  stats(): LockStats
  /** Begins to look; nothing has been looked at yet. */
  search(scope: Scope): Search
}

export interface InboundParts {
  readonly submit: (command: Command) => void
  readonly wall: () => number
  readonly view: View
  readonly watchers: WatchRegistry
  readonly limits: BrokerSettings['limits']
  readonly memory: MemoryAccount
  /** If the log is shared. */
  readonly sharing: Sharing | undefined
  readonly observer: Observer | undefined
  /** Looks at a new token. */
  readonly renew: (connection: Connection, message: AuthRequest) => void
}

export class Inbound {
  readonly #submit: (command: Command) => void
  readonly #wall: () => number
  readonly #view: View
  readonly #watchers: WatchRegistry
  readonly #parts: InboundParts
  #draining = false

  constructor(parts: InboundParts) {
    this.#submit = parts.submit
    this.#wall = parts.wall
    this.#view = parts.view
    this.#watchers = parts.watchers
    this.#parts = parts
  }

  /** From now on nobody is given a place in a queue who would lose it. */
  startDraining(): void {
    this.#draining = true
  }

  /** What is asked here for the first time, of somebody who cannot wait for it elsewhere. */
  #isTooLate(session: Session, { id }: LockRequest): boolean {
    return id > session.lastId && !canMove(session, this.#parts.sharing)
  }

  /** A message on a connection that a session is on, or why it is none. */
  take(connection: Connection, message: ClientMessage | NamedRefusal): void {
    const { sharing, observer } = this.#parts
    if (sharing !== undefined && !this.#hasRoom(sharing, connection, message)) return
    if (message.type !== 'refusal') observer?.received(message.type)
    if (connection.gate !== undefined && !this.#passes(connection, message)) return
    if (this.#lacksMemory(connection, message)) return
    switch (message.type) {
      case 'refusal':
        connection.send(encodeFailed(message.id, message.code, message.message))
        break
      case 'lock':
        // What was asked before has its answer, which is no other now.
        if (this.#draining && this.#isTooLate(connection.session!, message)) {
          connection.send(encodeFailed(message.id, 'UNAVAILABLE', 'the broker is going away'))
          return
        }
        this.#submit(this.#command(connection, message))
        break
      case 'unlock':
      case 'refresh':
      case 'cancel':
      case 'revoke':
      case 'bye':
        this.#submit(this.#command(connection, message))
        break
      case 'ack':
        connection.oweAcknowledgement()
        this.#submit(this.#command(connection, message))
        break
      case 'pong':
        connection.acknowledge()
        break
      case 'stats':
        connection.send(encodeStats(message.id, this.#view.stats()))
        break
      case 'query': {
        const { id, key, prefix, limit = maxQueryItems, after, afterFence } = message
        const search = this.#view.search({ key, prefix, sees: seesOf(connection, 'query') })
        const parts =
          after === undefined
            ? foundParts(id, search, limit)
            : pageParts(id, search, new PageChoice({ after, afterFence }, limit))
        connection.stream(ended(search, parts), true)
        break
      }
      case 'auth':
        connection.charge(costs.auth)
        this.#parts.renew(connection, message)
        break
      case 'watch':
        this.#watch(connection, message)
        break
      case 'unwatch':
        this.#watchers.remove(connection, message.watch)
        break
    }
  }

  /** Whether this is new work, for which there is no memory; if so, its sender has been told. */
  #lacksMemory(connection: Connection, message: ClientMessage | NamedRefusal): boolean {
    const { type } = message
    if ((type !== 'lock' && type !== 'watch') || !this.#parts.memory.isFull) return false
    // What was asked before has its answer.
    if (type === 'lock' && message.id <= connection.session!.lastId) return false
    const sentence = limitSentence('memoryBytes', this.#parts.limits.memoryBytes)
    connection.send(encodeFailed(message.id, 'QUOTA_EXCEEDED', sentence))
    this.#report(connection, { cause: 'memoryBytes', operation: type, key: message.key })
    return true
  }

  /** Whether the log has room for this; if not, its sender has been told. */
  #hasRoom(
    { load }: Sharing,
    connection: Connection,
    message: ClientMessage | NamedRefusal,
  ): boolean {
    if (load === 'overfull') {
      connection.cut(closeCodes.overloaded)
      return false
    }
    if (load === 'room' || message.type !== 'lock') return true
    connection.send(encodeFailed(message.id, 'UNAVAILABLE', 'the log is out of reach'))
    return false
  }

  #watch(connection: Connection, { id, key, prefix }: WatchRequest): void {
    const most = this.#parts.limits.watchesPerSession
    const isOneMore = !this.#watchers.has(connection, id)
    if (isOneMore && this.#watchers.countOf(connection) >= most) {
      const sentence = limitSentence('watchesPerSession', most)
      connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', sentence))
      this.#report(connection, { cause: 'watchesPerSession', operation: 'watch', key })
      return
    }
    const scope = { key, prefix, sees: seesOf(connection, 'watch') }
    // The state first: what happens from here on is said after it, however long it takes to send.
    const search = this.#view.search(scope)
    connection.stream(ended(search, watchingParts(id, search, maxQueryItems)), true)
    this.#watchers.add(connection, id, scope, search)
  }

  /** Whether this message may come in; if not, its sender has been told. */
  #passes(connection: Connection, message: ClientMessage | NamedRefusal): boolean {
    const gate = connection.gate!
    if (!gate.spend(connection.handledAt)) {
      const most = this.#parts.limits.messagesPerSecond
      this.#report(connection, { cause: 'messagesPerSecond' })
      connection.cut({ ...closeCodes.quota, reason: limitReason('messagesPerSecond', most) })
      return false
    }
    const denial = message.type === 'refusal' ? undefined : gate.judge(message)
    if (denial === undefined) return true
    const { id, key } = message as { readonly id: number; readonly key?: string | undefined }
    connection.send(encodeFailed(id, denial.code, denial.message))
    this.#report(connection, { cause: causeOf(denial), operation: message.type, key })
    return false
  }

  #report(connection: Connection, notice: RefusalNotice): void {
    this.#parts.observer?.refused({
      ...notice,
      remoteAddress: connection.remoteAddress,
      session: connection.session?.id,
      principal: connection.session?.principal,
    })
  }

  #command(
    connection: Connection,
    message:
      | LockRequest
      | UnlockRequest
      | RefreshRequest
      | RevokeRequest
      | Cancel
      | Acknowledge
      | Bye,
  ): Command {
    const session = connection.session!.id
    const attach = connection.attach
    const at = this.#wall()
    switch (message.type) {
      case 'lock': {
        const metadata =
          message.metadata === undefined ? undefined : JSON.stringify(message.metadata)
        if (metadata !== undefined) connection.charge(costOfMetadata(metadata.length))
        return {
          type: 'lock',
          session,
          attach,
          id: message.id,
          key: message.key,
          mode: message.mode ?? 'exclusive',
          ttl: message.ttl,
          timeout: message.timeout,
          steal: message.steal ?? false,
          metadata,
          at,
        }
      }
      case 'unlock':
        return { type: 'unlock', session, attach, id: message.id, fence: message.fence, at }
      case 'refresh': {
        const { id, fence, ttl } = message
        return { type: 'refresh', session, attach, id, fence, ttl, at }
      }
      case 'revoke': {
        const { id, key, fence, reason: note } = message
        return { type: 'revoke', session, attach, id, key, fence, note, at }
      }
      case 'cancel':
        return { type: 'cancel', session, attach, request: message.request, at }
      case 'ack':
        return { type: 'ack', session, attach, ids: message.ids, at }
      case 'bye':
        return { type: 'end', session, attach, reason: 'goodbye', at }
    }
  }
}

/** What a connection may see, as its permissions are at the time of looking. */
function seesOf(
  connection: Connection,
  operation: 'query' | 'watch',
): ((key: string) => boolean) | undefined {
  const { gate } = connection
  return gate === undefined ? undefined : (key) => gate.may(operation, key)
}

/** An answer that gives up its search when its connection does not want it any more. */
function ended(search: Search, parts: PacedParts): PacedMessages {
  return {
    next: () => parts.next(),
    return: () => {
      search.end()
      return { done: true, value: undefined }
    },
  }
}

function causeOf({ limit }: Denial): RefusalCause {
  return limit ?? 'forbidden'
}
