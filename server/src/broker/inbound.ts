/**
 * From messages to commands: what a client asks becomes something for the log, and what it only
 * wants to see is answered on the spot.
 */
import {
  type Acknowledge,
  type Bye,
  type Cancel,
  type ClientMessage,
  type LockRequest,
  type LockStats,
  maxQueryItems,
  type RefreshRequest,
  type UnlockRequest,
  type WatchRequest,
} from '@holdfast/shared'
import type { Connection } from '../connection/connection.js'
import type { Command } from '../core/index.js'
import { encodeFailed, encodeStats } from './encode.js'
import type { Scope } from './inspect.js'
import { type Findings, foundParts, watchingParts } from './parts.js'
import type { Watchers } from './watchers.js'

/** What a message may be answered from without going through the log. */
export interface View {
  stats(): LockStats
  find(scope: Scope, limit: number): Findings
}

export interface InboundParts {
  readonly submit: (command: Command) => void
  readonly wall: () => number
  readonly view: View
  readonly watchers: Watchers
  readonly watchesPerSession: number
}

export class Inbound {
  readonly #submit: (command: Command) => void
  readonly #wall: () => number
  readonly #view: View
  readonly #watchers: Watchers
  readonly #watchesPerSession: number
  #draining = false

  constructor(parts: InboundParts) {
    this.#submit = parts.submit
    this.#wall = parts.wall
    this.#view = parts.view
    this.#watchers = parts.watchers
    this.#watchesPerSession = parts.watchesPerSession
  }

  /** From now on nobody is given a place in a queue. */
  startDraining(): void {
    this.#draining = true
  }

  /** A message on a connection that a session is on. */
  take(connection: Connection, message: ClientMessage): void {
    switch (message.type) {
      case 'lock':
        if (this.#draining) {
          connection.send(encodeFailed(message.id, 'UNAVAILABLE', 'the broker is going away'))
          return
        }
        this.#submit(this.#command(connection, message))
        break
      case 'unlock':
      case 'refresh':
      case 'cancel':
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
        const { id, key, prefix, limit } = message
        connection.stream(foundParts(id, this.#view.find({ key, prefix }, limit ?? maxQueryItems)))
        break
      }
      case 'watch':
        this.#watch(connection, message)
        break
      case 'unwatch':
        this.#watchers.remove(connection, message.watch)
        break
    }
  }

  #watch(connection: Connection, { id, key, prefix }: WatchRequest): void {
    if (this.#watchers.countOf(connection) >= this.#watchesPerSession) {
      connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', 'this session has too many watches'))
      return
    }
    // The state first: what happens from here on is said after it, however long it takes to send.
    connection.stream(watchingParts(id, this.#view.find({ key, prefix }, maxQueryItems)))
    this.#watchers.add(connection, id, { key, prefix })
  }

  #command(
    connection: Connection,
    message: LockRequest | UnlockRequest | RefreshRequest | Cancel | Acknowledge | Bye,
  ): Command {
    const session = connection.session!.id
    const attach = connection.attach
    const at = this.#wall()
    switch (message.type) {
      case 'lock':
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
          metadata: message.metadata === undefined ? undefined : JSON.stringify(message.metadata),
          at,
        }
      case 'unlock':
        return { type: 'unlock', session, attach, id: message.id, fence: message.fence, at }
      case 'refresh': {
        const { id, fence, ttl } = message
        return { type: 'refresh', session, attach, id, fence, ttl, at }
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
