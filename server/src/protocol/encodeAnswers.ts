/**
 * Encodes the answers to requests as JSON text. Each answer has the `id` of its request. Frequent
 * answers use templates, because a template is several times faster than `JSON.stringify`. Numbers,
 * codes and session ids in a template need no escaping. `chunkedResponses.ts` encodes long answers.
 *
 * A *fence* is the number of a grant; a later grant has a higher fence. `clientMessages.ts` of the
 * package `shared` explains the other terms, such as ttl, scope, once and barrier.
 */
import {
  type ErrorCode,
  errorCodes,
  integerText,
  type LockStats,
  type RefusedDeadlock,
  type SessionInfo,
  type CycleEntry as VisibleCycleEntry,
} from '@holdfast/shared'
import { limitMessage, limitNameOf } from '../config/limits.js'
import type {
  Answer,
  CycleEntry,
  SessionLimits,
  SharedResult,
  StoredHolder,
} from '../core/index.js'
import { encodeHolders } from './encodeLockInfo.js'

const busyScopeMessage =
  'a scope has one request at a time: wait for the answer to its former request'

const fixedModeMessage =
  'locks of several keys, locks with permits, and locks of a `campaign` or `once` cannot be upgraded or downgraded, and only one upgrade of a lock may wait'

const usedIdMessage = 'the id was used before; use a higher id for a new request'

/**
 * Encodes an answer of the lock table.
 *
 * @param startTime When the ttl and the maxHold of a granted lock started, in ms; undefined for a
 *   lock that has neither, and for other answers.
 * @param limits The limits of the session, for the error message about a limit that the session has
 *   reached.
 * @param isVisible Whether the client may query a key; undefined if the client may query all keys.
 */
export function encodeAnswer(
  id: number,
  answer: Answer,
  startTime: number | undefined,
  limits?: SessionLimits,
  isVisible?: (key: string) => boolean,
): string {
  switch (answer.kind) {
    case 'granted':
      return encodeGranted(id, answer.lock.fence, startTime)
    case 'upgraded':
      // An upgrade does not restart the ttl and the maxHold, so the answer has no start time.
      return encodeGranted(id, answer.fence, undefined)
    case 'downgraded':
      return `{"type":"downgraded","id":${id}}`
    case 'scopeEnded':
      return `{"type":"scopeEnded","id":${id}}`
    case 'unlocked':
      return encodeUnlocked(id)
    case 'refreshed':
      return `{"type":"refreshed","id":${id}}`
    case 'proclaimed':
      return `{"type":"proclaimed","id":${id}}`
    case 'revoked':
      return `{"type":"revoked","id":${id}}`
    case 'passed':
      return `{"type":"passed","id":${id}}`
    case 'result':
      return encodeResult(id, answer.result)
    case 'failed':
      if (answer.code === 'CAPACITY_MISMATCH') return encodeMismatch(id, answer)
      if (answer.code === 'DEADLOCK') return encodeDeadlock(id, answer.cycle!, isVisible)
      if (answer.fault !== undefined)
        return encodeFailed(
          id,
          answer.code,
          answer.fault === 'busyScope' ? busyScopeMessage : fixedModeMessage,
        )
      // Without a fault, the lock table answers BAD_MESSAGE only if the id was used before.
      return answer.code === 'BAD_MESSAGE'
        ? encodeFailed(id, answer.code, usedIdMessage)
        : encodeFailed(id, answer.code, limitMessageFor(answer.limit, limits), answer.holders)
  }
}

/**
 * @param startTime When the ttl and the maxHold of the lock started, in ms; undefined for a lock
 *   that has neither.
 */
export function encodeGranted(id: number, fence: number, startTime: number | undefined): string {
  return startTime === undefined
    ? `{"type":"granted","id":${integerText(id)},"fence":${integerText(fence)}}`
    : `{"type":"granted","id":${integerText(id)},"fence":${integerText(fence)},"at":${Math.floor(startTime)}}`
}

export function encodeUnlocked(id: number): string {
  return `{"type":"unlocked","id":${integerText(id)}}`
}

export function encodeFailed(
  id: number,
  code: ErrorCode,
  message: string = errorCodes[code],
  holders?: readonly StoredHolder[],
): string {
  const holdersField = holders === undefined ? '' : `,"holders":[${encodeHolders(holders)}]`
  const text = JSON.stringify(message)
  return `{"type":"failed","id":${id},"code":"${code}","message":${text}${holdersField}}`
}

function limitMessageFor(
  limit: keyof SessionLimits | undefined,
  limits: SessionLimits | undefined,
): string | undefined {
  const limitValue = limit && limits?.[limit]
  return limitValue === undefined ? undefined : limitMessage(limitNameOf(limit!), limitValue)
}

function encodeMismatch(
  id: number,
  { request: requestType, mismatch }: Extract<Answer, { kind: 'failed' }>,
): string {
  const { key, capacityInUse: capacity, requestedCapacity } = mismatch!
  const message =
    requestType === 'barrier'
      ? `the other calls at this barrier have ${capacity} parties, not ${requestedCapacity}`
      : `the key ${JSON.stringify(key)} is in use with the capacity ${capacity}, not ` +
        `${requestedCapacity}; use the same capacity`
  return JSON.stringify({ type: 'failed', id, code: 'CAPACITY_MISMATCH', message, capacity })
}

function encodeResult(id: number, { fence, value }: SharedResult): string {
  const valueField = value === undefined ? '' : `,"value":${value}`
  return `{"type":"result","id":${id},"fence":${fence}${valueField}}`
}

function encodeDeadlock(
  id: number,
  cycle: readonly CycleEntry[],
  isVisible: ((key: string) => boolean) | undefined,
): string {
  return JSON.stringify({
    type: 'failed',
    id,
    code: 'DEADLOCK',
    message: errorCodes.DEADLOCK,
    cycle: isVisible === undefined ? cycle : visibleCycle(cycle, isVisible),
  })
}

/**
 * @param isVisible Whether the client may query a key; undefined if the client may query all keys.
 *   The answer leaves out a deadlock if the client may query none of its keys.
 */
export function encodeStats(
  id: number,
  stats: LockStats,
  isVisible: ((key: string) => boolean) | undefined,
): string {
  const { deadlocks } = stats
  if (deadlocks === undefined || isVisible === undefined) {
    return JSON.stringify({ type: 'stats', id, stats })
  }
  const visibleDeadlocks = deadlocks.map((deadlock) => visibleDeadlock(deadlock, isVisible))
  const visible = {
    // Undefined if the newest deadlock is hidden, even if older deadlocks are visible.
    newestDeadlock: visibleDeadlocks[0],
    deadlocks: visibleDeadlocks.filter((deadlock) => deadlock !== undefined),
  }
  return JSON.stringify({ type: 'stats', id, stats: { ...stats, ...visible } })
}

/** The deadlock without the keys and names that are hidden; undefined if every key is hidden. */
function visibleDeadlock(
  { since, cycle }: RefusedDeadlock,
  isVisible: (key: string) => boolean,
): RefusedDeadlock | undefined {
  const shownCycle = visibleCycle(cycle, isVisible)
  return shownCycle.some(({ key }) => key !== undefined) ? { since, cycle: shownCycle } : undefined
}

/**
 * Hides the keys that the client may not query. An entry with such a key keeps only the fields
 * `session` and `scope`.
 */
function visibleCycle(
  cycle: readonly VisibleCycleEntry[],
  isVisible: (key: string) => boolean,
): VisibleCycleEntry[] {
  return cycle.map((waiter) => {
    const { key, session, scope } = waiter
    return key !== undefined && isVisible(key) ? waiter : { session, scope }
  })
}

/**
 * Encodes the answer to a query that asks about one session.
 *
 * @param info Undefined if there is no such session.
 */
export function encodeFoundSession(id: number, info: SessionInfo | undefined): string {
  // Every `found` has the lists of locks and requests, which are empty here.
  const emptyLists = { held: [], waiting: [], heldCount: 0, waitingCount: 0 }
  const sessions = info === undefined ? [] : [info]
  const sessionFields = { sessions, sessionsCount: sessions.length }
  return JSON.stringify({ type: 'found', id, ...emptyLists, ...sessionFields, more: false })
}

export function encodeAuthenticated(id: number): string {
  return `{"type":"authenticated","id":${id}}`
}
