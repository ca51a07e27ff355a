/**
 * One entry for each message that a session may send: the permission that it needs, and what the
 * broker does with it. Most messages become a command for the log; the others are answered at once.
 * A new message of the protocol is one new entry here; without it, this file does not compile.
 */
import { type ClientMessage, type Hello, type LockRequest, maxQueryItems } from '@holdfast/shared'
import { type BrokerLimits, limitMessage } from '../config/limits.js'
import type { Operation } from '../config/permissions.js'
import { costOfMetadata, costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionPolicy, Denial } from '../connection/connectionPolicy.js'
import type { PacedMessages } from '../connection/sendQueue.js'
import type { Command } from '../core/index.js'
import type { RefusalNotice } from '../observability/observer.js'
import {
  foundChunks,
  type PacedChunks,
  pageChunks,
  watchingChunks,
} from '../protocol/chunkedResponses.js'
import { encodeFailed, encodeStats } from '../protocol/encode.js'
import { type Scope, Search } from './queries.js'
import { PageChoice } from './queryPage.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

/** A message on a connection that has a session. */
export type SessionMessage = Exclude<ClientMessage, Hello>

type MessageOf<T extends SessionMessage['type']> = Extract<SessionMessage, { readonly type: T }>

/** What the answers to messages are made from. */
export interface AnswerContext {
  readonly table: LiveTable
  readonly statistics: Statistics
  readonly watches: WatchRegistry
  readonly limits: BrokerLimits
  /** Checks the new token of a client. */
  readonly tokenExpiry: { renew(connection: Connection, message: MessageOf<'auth'>): void }
  /** Tells the observer, if there is one, that a message was refused. */
  report(connection: Connection, notice: RefusalNotice): void
}

export interface MessageHandler<M extends SessionMessage> {
  /** What the message makes the broker keep; the broker refuses such messages when it is full. */
  readonly adds: 'lock' | 'watch' | undefined
  /** Why the policy refuses the message; undefined if every session may send it. */
  readonly check: ((policy: ConnectionPolicy, message: M) => Denial | undefined) | undefined
  /** Makes the command for the log, with the wall clock in ms; undefined if the log has no part. */
  readonly command: ((connection: Connection, message: M, at: number) => Command) | undefined
  /** Answers at once; undefined for a message that becomes a command. */
  readonly answer:
    | ((context: AnswerContext, connection: Connection, message: M) => void)
    | undefined
}

type Check<M extends SessionMessage> = MessageHandler<M>['check']

/** A message that becomes a command. */
function command<M extends SessionMessage>(
  make: (connection: Connection, message: M, at: number) => Command,
  check?: Check<M>,
  adds?: 'lock',
): MessageHandler<M> {
  // All entries have the same fields in the same order, which keeps the lookups of the broker fast.
  return { adds, check, command: make, answer: undefined }
}

/** A message that is answered without the log. */
function answer<M extends SessionMessage>(
  give: (context: AnswerContext, connection: Connection, message: M) => void,
  check?: Check<M>,
  adds?: 'watch',
): MessageHandler<M> {
  return { adds, check, command: undefined, answer: give }
}

const handlers: { readonly [T in SessionMessage['type']]: MessageHandler<MessageOf<T>> } = {
  lock: command(lockCommand, checkLock, 'lock'),

  unlock: command((connection, { id, fence }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'unlock', session: session!.id, attachEpoch, id, fence, at }
  }),

  refresh: command((connection, { id, fence, ttl }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'refresh', session: session!.id, attachEpoch, id, fence, ttl, at }
  }),

  cancel: command((connection, { request }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'cancel', session: session!.id, attachEpoch, request, at }
  }),

  revoke: command(
    (connection, { id, key, fence, reason: note }, at) => {
      const { session, attachEpoch } = connection
      return { type: 'revoke', session: session!.id, attachEpoch, id, key, fence, note, at }
    },
    (policy, { key }) => policy.check('revoke', key),
  ),

  ack: command((connection, { ids }, at) => {
    connection.deferAck()
    const { session, attachEpoch } = connection
    return { type: 'ack', session: session!.id, attachEpoch, ids, at }
  }),

  bye: command((connection, _message, at) => {
    const { session, attachEpoch } = connection
    return { type: 'end', session: session!.id, attachEpoch, reason: 'goodbye', at }
  }),

  pong: answer((_context, connection) => connection.acknowledge()),

  stats: answer(
    ({ statistics, table }, connection, { id }) =>
      connection.send(encodeStats(id, statistics.snapshot(table.current.heldCount))),
    (policy) => policy.check('stats', ''),
  ),

  query: answer(query, checkKey('query')),

  watch: answer(watch, checkKey('watch'), 'watch'),

  unwatch: answer(({ watches }, connection, message) => watches.remove(connection, message.watch)),

  auth: answer(({ tokenExpiry }, connection, message) => {
    connection.charge(costs.auth)
    tokenExpiry.renew(connection, message)
  }),
}

/** The entry of a message. */
export function handlerOf(message: SessionMessage): MessageHandler<SessionMessage> {
  // The entry takes messages of exactly this type, which the compiler cannot conclude.
  return handlers[message.type] as unknown as MessageHandler<SessionMessage>
}

function lockCommand(connection: Connection, message: LockRequest, at: number): Command {
  const metadata = message.metadata === undefined ? undefined : JSON.stringify(message.metadata)
  if (metadata !== undefined) connection.charge(costOfMetadata(metadata.length))
  return {
    type: 'lock',
    session: connection.session!.id,
    attachEpoch: connection.attachEpoch,
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

function checkLock(policy: ConnectionPolicy, message: LockRequest): Denial | undefined {
  const { key, mode, steal, metadata } = message
  const operation = steal ? 'steal' : mode === 'shared' ? 'share' : 'lock'
  return policy.check(operation, key) ?? policy.checkSize(key, metadata)
}

/** Without a key, a query and a watch show only the keys that the client may see. */
function checkKey(
  operation: Operation,
): (
  policy: ConnectionPolicy,
  message: { readonly key?: string | undefined },
) => Denial | undefined {
  return (policy, { key }) => (key === undefined ? undefined : policy.check(operation, key))
}

function query(
  { table }: AnswerContext,
  connection: Connection,
  message: MessageOf<'query'>,
): void {
  const { id, key, prefix, limit = maxQueryItems, after, afterFence } = message
  const scope = { key, prefix, sees: visibleKeys(connection, 'query') }
  const search = new Search(table.current, scope)
  const chunks =
    after === undefined
      ? foundChunks(id, search, limit)
      : pageChunks(id, search, new PageChoice({ after, afterFence }, limit))
  connection.stream(endingSearch(search, chunks), true)
}

function watch(
  { table, watches, limits, report }: AnswerContext,
  connection: Connection,
  { id, key, prefix }: MessageOf<'watch'>,
): void {
  const most = limits.watchesPerSession
  if (!watches.has(connection, id) && watches.countOf(connection) >= most) {
    connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', limitMessage('watchesPerSession', most)))
    report(connection, { cause: 'watches_per_session', operation: 'watch', key })
    return
  }
  const scope: Scope = { key, prefix, sees: visibleKeys(connection, 'watch') }
  // The state comes first: every later event is sent after it, however long the state takes.
  const search = new Search(table.current, scope)
  connection.stream(endingSearch(search, watchingChunks(id, search, maxQueryItems)), true)
  watches.add(connection, id, scope, search)
}

/** Which keys a client may see, by its permissions at the time of looking; undefined for all. */
function visibleKeys(
  connection: Connection,
  operation: 'query' | 'watch',
): ((key: string) => boolean) | undefined {
  const { policy } = connection
  return policy === undefined ? undefined : (key) => policy.may(operation, key)
}

/** An answer that gives up its search when its connection is closed. */
function endingSearch(search: Search, chunks: PacedChunks): PacedMessages {
  return {
    next: () => chunks.next(),
    return: () => {
      search.end()
      return { done: true, value: undefined }
    },
  }
}
