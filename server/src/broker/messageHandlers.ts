/**
 * One handler for each message that a client may send on a connection with a session. The `check`
 * of a handler checks the permission and the sizes of the message. The handler then either makes a
 * command, which the command log passes to the lock table, or sends an answer at once. The answers
 * that read the table are in `queryAnswers.ts`. If the protocol gets a new message, this file does
 * not compile until the message has a handler.
 *
 * The `attachEpoch` of a command is the number of its connection: 1 for the first connection of the
 * session, 2 for the second. The lock table ignores a command of an older connection. The `extras`
 * of a command are the terms that only few requests have, such as permits, a longest hold or a
 * scope (one task of the client). A set is one lock on several keys.
 */
import type { ClientMessage, Hello, LockItem, LockRequest } from '@holdfast/shared'
import { costOfMetadata, costOfNotifying, costOfSet, costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionPolicy, Denial } from '../connection/connectionPolicy.js'
import type { Command, ExtraTerms, SetItem } from '../core/index.js'
import { type HeartbeatTimers, onPong } from './heartbeat.js'
import {
  answerQuery,
  answerStats,
  answerWatch,
  checkReadOfKey,
  type QueryContext,
} from './queryAnswers.js'
import type { WatchRegistry } from './watchRegistry.js'

/** A message on a connection that has a session. */
export type SessionMessage = Exclude<ClientMessage, Hello>

type MessageOf<T extends SessionMessage['type']> = Extract<SessionMessage, { readonly type: T }>

/** The parts of the broker that a handler needs to answer a message. */
export interface AnswerContext extends QueryContext {
  readonly watchRegistry: QueryContext['watchRegistry'] & Pick<WatchRegistry, 'remove'>
  /** The timers of kept results, and the timers and deadlines of heartbeats. */
  readonly time: QueryContext['time'] & HeartbeatTimers
  /** Checks the new token of a client. */
  readonly tokenExpiry: { renew(connection: Connection, message: MessageOf<'auth'>): void }
}

export interface MessageHandler<M extends SessionMessage> {
  /**
   * What the message adds to the memory of the broker: a lock, the value of a leader or a watch.
   * Undefined if the message adds nothing. If the memory is full, the broker refuses a message that
   * adds something. A request for a lock and a call at a barrier count as `lock`.
   */
  readonly adds: 'lock' | 'value' | 'watch' | undefined
  /**
   * Returns why the policy refuses the message, or undefined if the policy allows the message. The
   * field is undefined for messages that need no permission.
   */
  readonly check:
    | ((policy: ConnectionPolicy, message: M, connection: Connection) => Denial | undefined)
    | undefined
  /**
   * Makes the command of the message; undefined for a message that the broker answers at once. `at`
   * is the time of the wall clock, in ms.
   */
  readonly command: ((connection: Connection, message: M, at: number) => Command) | undefined
  /** Answers at once; undefined for a message that becomes a command. */
  readonly answer:
    | ((context: AnswerContext, connection: Connection, message: M) => void)
    | undefined
}

type Check<M extends SessionMessage> = MessageHandler<M>['check']

/** Makes the handler of a message that becomes a command. */
function commandHandler<M extends SessionMessage>(
  makeCommand: (connection: Connection, message: M, at: number) => Command,
  check?: Check<M>,
  adds?: 'lock' | 'value',
): MessageHandler<M> {
  // All handlers have the same fields in the same order, so V8 keeps one fast shape for all
  // handlers.
  return { adds, check, command: makeCommand, answer: undefined }
}

/** Makes the handler of a message that the broker answers without a command. */
function answerHandler<M extends SessionMessage>(
  sendAnswer: (context: AnswerContext, connection: Connection, message: M) => void,
  check?: Check<M>,
  adds?: 'watch',
): MessageHandler<M> {
  return { adds, check, command: undefined, answer: sendAnswer }
}

const lockHandler = commandHandler(lockCommand, checkLock, 'lock')

const unlockHandler = commandHandler<MessageOf<'unlock'>>((connection, { id, fence }, at) => {
  const { session, attachEpoch } = connection
  return { type: 'unlock', session: session!.id, attachEpoch, id, fence, at }
})

const handlers: { readonly [T in SessionMessage['type']]: MessageHandler<MessageOf<T>> } = {
  lock: lockHandler,
  unlock: unlockHandler,

  lockAll: commandHandler(lockSetCommand, checkLockSet, 'lock'),

  upgrade: commandHandler((connection, { id, fence, timeout }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'upgrade', session: session!.id, attachEpoch, id, fence, timeout, at }
  }, checkUpgrade),

  downgrade: commandHandler((connection, { id, fence }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'downgrade', session: session!.id, attachEpoch, id, fence, at }
  }),

  endScope: commandHandler((connection, { id, scope }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'endScope', session: session!.id, attachEpoch, id, scope, at }
  }),

  refresh: commandHandler((connection, { id, fence, ttl }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'refresh', session: session!.id, attachEpoch, id, fence, ttl, at }
  }),

  cancel: commandHandler((connection, { request }, at) => {
    const { session, attachEpoch } = connection
    return { type: 'cancel', session: session!.id, attachEpoch, request, at }
  }),

  barrier: commandHandler(
    (connection, { id, key, parties, timeout }, at) => {
      const { session, attachEpoch } = connection
      // Charges each call for the answers to all calls. Only the last call at the barrier causes
      // these answers, but this handler does not know which call is the last.
      connection.charge(costOfNotifying(parties))
      const fields = { session: session!.id, attachEpoch, id, key, parties, timeout, at }
      return { type: 'barrier', ...fields }
    },
    (policy, { key }) =>
      policy.checkPermission('lock', key) ?? policy.checkSize(key, /* metadata */ undefined),
    'lock',
  ),

  once: commandHandler(
    (connection, { id, key, ttl, timeout, metadata }, at) => {
      const { session, attachEpoch } = connection
      const terms = { key, ttl, timeout, metadata: jsonText(connection, metadata) }
      return { type: 'once', session: session!.id, attachEpoch, id, ...terms, at }
    },
    (policy, { key, metadata }) =>
      policy.checkPermission('lock', key) ?? policy.checkSize(key, metadata),
    'lock',
  ),

  // With `complete` a client sends the result of a `once`. The field `adds` is undefined, because
  // the lock table itself limits the memory for kept results.
  complete: commandHandler((connection, { id, fence, value, keep }, at) => {
    const { session, attachEpoch } = connection
    const fields = { session: session!.id, attachEpoch, id, fence, keep, at }
    return { type: 'complete', ...fields, value: jsonText(connection, value) }
  }),

  campaign: commandHandler(
    (connection, { id, key, value, timeout, metadata }, at) => ({
      type: 'lock',
      session: connection.session!.id,
      attachEpoch: connection.attachEpoch,
      id,
      key,
      mode: 'exclusive',
      ttl: undefined,
      timeout,
      steal: false,
      metadata: jsonText(connection, metadata),
      at,
      extras: { election: { value: jsonText(connection, value) } },
    }),
    (policy, { key, value, metadata }) =>
      policy.checkPermission('lock', key) ??
      policy.checkSize(key, metadata) ??
      // The value of a leader has the same limit as metadata.
      policy.checkSize(key, value),
    'lock',
  ),

  proclaim: commandHandler(
    (connection, { id, fence, value }, at) => {
      const { session, attachEpoch } = connection
      const fields = { session: session!.id, attachEpoch, id, fence, at }
      return { type: 'proclaim', ...fields, value: jsonText(connection, value) }
    },
    // The key was checked when the leader was a candidate, so only the size of the value is checked
    // here. The key '' stands for no key.
    (policy, { value }) => policy.checkSize('', value),
    'value',
  ),

  revoke: commandHandler(
    // In a command, `reason` is why a session ends. The text of the operator is the `note`.
    (connection, { id, key, fence, reason: note }, at) => {
      const { session, attachEpoch } = connection
      return { type: 'revoke', session: session!.id, attachEpoch, id, key, fence, note, at }
    },
    (policy, { key }) => policy.checkPermission('revoke', key),
  ),

  ack: commandHandler((connection, { ids }, at) => {
    // The broker also acknowledges this message, but only after the lock table has applied the
    // command.
    connection.acks.defer()
    const { session, attachEpoch } = connection
    return { type: 'ack', session: session!.id, attachEpoch, ids, at }
  }),

  bye: commandHandler((connection, _message, at) => {
    const { session, attachEpoch } = connection
    return { type: 'end', session: session!.id, attachEpoch, reason: 'goodbye', at }
  }),

  pong: answerHandler(({ time }, connection, { idle }) => {
    // The answer to a `pong` is an `ack`.
    connection.acks.send()
    onPong(time, connection, idle === true)
  }),

  // The statistics belong to no key, so the key is ''.
  stats: answerHandler(answerStats, (policy) => policy.checkPermission('stats', '')),

  query: answerHandler(answerQuery, checkReadOfKey('query')),

  watch: answerHandler(answerWatch, checkReadOfKey('watch'), 'watch'),

  unwatch: answerHandler(({ watchRegistry }, connection, message) =>
    watchRegistry.remove(connection, message.watch),
  ),

  auth: answerHandler(({ tokenExpiry }, connection, message) => {
    connection.charge(costs.auth)
    tokenExpiry.renew(connection, message)
  }),
}

/** The handler of a message. */
export function handlerOf({ type }: SessionMessage): MessageHandler<SessionMessage> {
  // Most messages have one of these two types, and comparing two strings is faster than a lookup.
  const handler = type === 'lock' ? lockHandler : type === 'unlock' ? unlockHandler : handlers[type]
  // The handler accepts exactly this type of message, but the compiler cannot infer that.
  return handler as unknown as MessageHandler<SessionMessage>
}

function lockCommand(connection: Connection, message: LockRequest, at: number): Command {
  const { capacity } = message
  const metadata = jsonText(connection, message.metadata)
  return {
    type: 'lock',
    session: connection.session!.id,
    attachEpoch: connection.attachEpoch,
    id: message.id,
    key: message.key,
    mode: capacity === undefined ? (message.mode ?? 'exclusive') : 'permits',
    ttl: message.ttl,
    timeout: message.timeout,
    steal: message.steal ?? false,
    metadata,
    at,
    extras: extrasOf(message),
  }
}

function lockSetCommand(
  connection: Connection,
  message: MessageOf<'lockAll'>,
  at: number,
): Command {
  const { id, items, ttl, timeout, metadata } = message
  connection.charge(costOfSet(items.length))
  return {
    type: 'lockAll',
    session: connection.session!.id,
    attachEpoch: connection.attachEpoch,
    id,
    items: items.map(
      (item): SetItem => ({ key: item.key, mode: modeOf(item), ...permitsOf(item) }),
    ),
    ttl,
    timeout,
    metadata: jsonText(connection, metadata),
    at,
    extras: commonTermsOf(message),
  }
}

/** The mode of an item of a set. A request with a capacity is a request for permits. */
function modeOf({ mode, capacity }: LockItem): SetItem['mode'] {
  return capacity === undefined ? (mode ?? 'exclusive') : 'permits'
}

/** The permits and the capacity of a request for permits; undefined for every other request. */
function permitsOf({
  permits = 1,
  capacity,
}: LockItem): Pick<SetItem, 'permits' | 'capacity'> | undefined {
  return capacity === undefined ? undefined : { permits, capacity }
}

/** The `extras` of a request for a lock on one key; undefined for an ordinary request. */
function extrasOf(message: LockRequest): ExtraTerms | undefined {
  const { capacity, maxHold, notify, scope } = message
  // Nearly all requests return here, with or without a scope.
  if (capacity === undefined && maxHold === undefined && notify === undefined)
    return scope === undefined ? undefined : { scope }
  const permits = permitsOf(message)
  const commonTerms = commonTermsOf(message)
  return permits && commonTerms ? { ...permits, ...commonTerms } : (permits ?? commonTerms)
}

/** A rare term of a request for one key or for a set. The term applies to all keys of a set. */
type CommonTerm = 'maxHold' | 'notify' | 'scope'

/**
 * The longest hold, the notices and the scope of a request for one key or for a set. Undefined
 * for a request with none of these terms.
 */
function commonTermsOf({
  maxHold,
  notify,
  scope,
}: Pick<LockRequest, CommonTerm>): Pick<ExtraTerms, CommonTerm> | undefined {
  const notices = notify?.length === 0 ? undefined : notify
  if (maxHold === undefined && notices === undefined && scope === undefined) return undefined
  return { maxHold, notify: notices, scope }
}

/**
 * The JSON text of a value: the metadata of a lock, the value of a leader, or the result of a
 * `once`. Charges the connection for the text.
 */
function jsonText(connection: Connection, value: unknown): string | undefined {
  if (value === undefined) return undefined
  const text = JSON.stringify(value)
  connection.charge(costOfMetadata(text.length))
  return text
}

function checkLock(policy: ConnectionPolicy, message: LockRequest): Denial | undefined {
  const { key, mode, steal, metadata } = message
  const operation = steal ? 'steal' : mode === 'shared' ? 'share' : 'lock'
  return policy.checkPermission(operation, key) ?? policy.checkSize(key, metadata)
}

/** Checks every key of a set. Each key needs the permission `lock`, whatever its mode. */
function checkLockSet(
  policy: ConnectionPolicy,
  { items, metadata }: MessageOf<'lockAll'>,
): Denial | undefined {
  const denial = policy.checkSetSize(items.length)
  if (denial !== undefined) return denial
  for (const { key } of items) {
    const keyDenial = policy.checkPermission('lock', key) ?? policy.checkSize(key, undefined)
    if (keyDenial !== undefined)
      return { ...keyDenial, message: `${JSON.stringify(key)}: ${keyDenial.message}` }
  }
  // The sizes of the keys are checked above, so only the metadata is checked here.
  return policy.checkSize('', metadata)
}

/** An upgrade needs the permission for an exclusive lock of the key. */
function checkUpgrade(
  policy: ConnectionPolicy,
  { fence }: MessageOf<'upgrade'>,
  { session }: Connection,
): Denial | undefined {
  const lock = session!.held.get(fence)
  // For an unknown lock, the lock table answers with an error.
  return lock === undefined ? undefined : policy.checkPermission('lock', lock.key)
}
