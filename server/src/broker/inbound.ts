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
import type { Denial } from '../access/requestPolicy.js'
import { limitMessage, limitReason } from '../config/limits.js'
import type { BrokerSettings } from '../config/options.js'
import { costOfMetadata, costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { InvalidRequest } from '../connection/invalidRequest.js'
import type { PacedMessages } from '../connection/sendQueue.js'
import type { Command, Session } from '../core/index.js'
import type { Membership } from '../log/log.js'
import type { Observer, RefusalCause, RefusalNotice } from '../observability/observer.js'
import {
  foundChunks,
  type PacedChunks,
  pageChunks,
  watchingChunks,
} from '../protocol/chunkedResponses.js'
import { encodeFailed, encodeStats } from '../protocol/encode.js'
import type { MemoryAccount } from './memoryAccount.js'
import { canFailOver } from './moving.js'
import type { Scope, Search } from './queries.js'
import { PageChoice } from './queryPage.js'
import type { WatchRegistry } from './watchRegistry.js'

/** What a message may be answered from without going through the log. */
export interface Queries {
  stats(): LockStats
  /** Begins to look; nothing has been looked at yet. */
  search(scope: Scope): Search
}

export interface InboundDeps {
  readonly submit: (command: Command) => void
  readonly wall: () => number
  readonly view: Queries
  readonly watchers: WatchRegistry
  readonly limits: BrokerSettings['limits']
  readonly memory: MemoryAccount
  /** If the log is shared. */
  readonly membership: Membership | undefined
  readonly observer: Observer | undefined
  /** Looks at a new token. */
  readonly renew: (connection: Connection, message: AuthRequest) => void
}

export class Inbound {
  readonly #submit: (command: Command) => void
  readonly #wall: () => number
  readonly #view: Queries
  readonly #watchers: WatchRegistry
  readonly #deps: InboundDeps
  #draining = false
  /** Connections whose `welcome` was confirmed; the log may not have come as far yet. */
  readonly #confirmed = new WeakSet<Connection>()

  constructor(deps: InboundDeps) {
    this.#submit = deps.submit
    this.#wall = deps.wall
    this.#view = deps.view
    this.#watchers = deps.watchers
    this.#deps = deps
  }

  /** From now on nobody is given a place in a queue who would lose it. */
  startDraining(): void {
    this.#draining = true
  }

  /** What is asked here for the first time, of somebody who cannot wait for it elsewhere. */
  #isTooLate(session: Session, { id }: LockRequest): boolean {
    return id > session.lastId && !canFailOver(session, this.#deps.membership)
  }

  /** A message on a connection that a session is on, or why it is none. */
  handle(connection: Connection, message: ClientMessage | InvalidRequest): void {
    const { membership, observer } = this.#deps
    if (connection.session!.nextSecret !== undefined) this.#confirmWelcome(connection, message)
    if (membership !== undefined && !this.#hasRoom(membership, connection, message)) return
    if (message.type !== 'refusal') observer?.onMessage(message.type)
    if (connection.policy !== undefined && !this.#isAllowed(connection, message)) return
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
        connection.deferAck()
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
            ? foundChunks(id, search, limit)
            : pageChunks(id, search, new PageChoice({ after, afterFence }, limit))
        connection.stream(ended(search, parts), true)
        break
      }
      case 'auth':
        connection.charge(costs.auth)
        this.#deps.renew(connection, message)
        break
      case 'watch':
        this.#watch(connection, message)
        break
      case 'unwatch':
        this.#watchers.remove(connection, message.watch)
        break
    }
  }

  /**
   * A valid message shows that the client has read the newest `welcome`, so the former resume
   * secret ends. `ack` and `bye` need no command for that, because the table gets one for them
   * anyway.
   */
  #confirmWelcome(connection: Connection, { type }: ClientMessage | InvalidRequest): void {
    if (type === 'refusal' || type === 'ack' || type === 'bye') return
    if (this.#confirmed.has(connection)) return
    this.#confirmed.add(connection)
    const { session, attachEpoch } = connection
    this.#submit({ type: 'confirm', session: session!.id, attachEpoch, at: this.#wall() })
  }

  /** Whether this is new work, for which there is no memory; if so, its sender has been told. */
  #lacksMemory(connection: Connection, message: ClientMessage | InvalidRequest): boolean {
    const { type } = message
    if ((type !== 'lock' && type !== 'watch') || !this.#deps.memory.isFull) return false
    // What was asked before has its answer.
    if (type === 'lock' && message.id <= connection.session!.lastId) return false
    const sentence = limitMessage('memoryBytes', this.#deps.limits.memoryBytes)
    connection.send(encodeFailed(message.id, 'QUOTA_EXCEEDED', sentence))
    this.#report(connection, { cause: 'memoryBytes', operation: type, key: message.key })
    return true
  }

  /** Whether the log has room for this; if not, its sender has been told. */
  #hasRoom(
    { load }: Membership,
    connection: Connection,
    message: ClientMessage | InvalidRequest,
  ): boolean {
    if (load === 'overfull') {
      connection.abort(closeCodes.overloaded)
      return false
    }
    if (load === 'room' || message.type !== 'lock') return true
    connection.send(encodeFailed(message.id, 'UNAVAILABLE', 'the log is out of reach'))
    return false
  }

  #watch(connection: Connection, { id, key, prefix }: WatchRequest): void {
    const most = this.#deps.limits.watchesPerSession
    const isOneMore = !this.#watchers.has(connection, id)
    if (isOneMore && this.#watchers.countOf(connection) >= most) {
      const sentence = limitMessage('watchesPerSession', most)
      connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', sentence))
      this.#report(connection, { cause: 'watchesPerSession', operation: 'watch', key })
      return
    }
    const scope = { key, prefix, sees: seesOf(connection, 'watch') }
    // The state first: what happens from here on is said after it, however long it takes to send.
    const search = this.#view.search(scope)
    connection.stream(ended(search, watchingChunks(id, search, maxQueryItems)), true)
    this.#watchers.add(connection, id, scope, search)
  }

  /** Whether this message may come in; if not, its sender has been told. */
  #isAllowed(connection: Connection, message: ClientMessage | InvalidRequest): boolean {
    const gate = connection.policy!
    if (!gate.consume(connection.handledAt)) {
      const most = this.#deps.limits.messagesPerSecond
      this.#report(connection, { cause: 'messagesPerSecond' })
      connection.abort({ ...closeCodes.quota, reason: limitReason('messagesPerSecond', most) })
      return false
    }
    const denial = message.type === 'refusal' ? undefined : gate.check(message)
    if (denial === undefined) return true
    const { id, key } = message as { readonly id: number; readonly key?: string | undefined }
    connection.send(encodeFailed(id, denial.code, denial.message))
    this.#report(connection, { cause: causeOf(denial), operation: message.type, key })
    return false
  }

  #report(connection: Connection, notice: RefusalNotice): void {
    this.#deps.observer?.onRefused({
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
    const attach = connection.attachEpoch
    const at = this.#wall()
    switch (message.type) {
      case 'lock': {
        const metadata =
          message.metadata === undefined ? undefined : JSON.stringify(message.metadata)
        if (metadata !== undefined) connection.charge(costOfMetadata(metadata.length))
        return {
          type: 'lock',
          session,
          attachEpoch: attach,
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
        return {
          type: 'unlock',
          session,
          attachEpoch: attach,
          id: message.id,
          fence: message.fence,
          at,
        }
      case 'refresh': {
        const { id, fence, ttl } = message
        return { type: 'refresh', session, attachEpoch: attach, id, fence, ttl, at }
      }
      case 'revoke': {
        const { id, key, fence, reason: note } = message
        return { type: 'revoke', session, attachEpoch: attach, id, key, fence, note, at }
      }
      case 'cancel':
        return { type: 'cancel', session, attachEpoch: attach, request: message.request, at }
      case 'ack':
        return { type: 'ack', session, attachEpoch: attach, ids: message.ids, at }
      case 'bye':
        return { type: 'end', session, attachEpoch: attach, reason: 'goodbye', at }
    }
  }
}

/** What a connection may see, as its permissions are at the time of looking. */
function seesOf(
  connection: Connection,
  operation: 'query' | 'watch',
): ((key: string) => boolean) | undefined {
  const { policy } = connection
  return policy === undefined ? undefined : (key) => policy.may(operation, key)
}

/** An answer that gives up its search when its connection does not want it any more. */
function ended(search: Search, parts: PacedChunks): PacedMessages {
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
