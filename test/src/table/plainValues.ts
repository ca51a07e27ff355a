/**
 * Converts the effects and the state of a lock table to plain values. Tests compare these values
 * with those of a model or of another table, and print them in failure messages. Plain values do
 * not refer to records of the table, because these records may change later.
 */

import type {
  Answer,
  BarrierCall,
  CapacityMismatch,
  Effect,
  KeptResult,
  KeyState,
  Lock,
  LockTable,
  Request,
  Session,
  StoredHolder,
} from '@holdfast/server/core'
import type { ErrorCode, LockMode, NoticeType } from '@holdfast/shared'

export type PlainAnswer =
  | { readonly kind: 'granted' | 'upgraded' | 'refreshed'; readonly fence: number }
  | {
      readonly kind: 'unlocked' | 'downgraded' | 'scopeEnded' | 'revoked' | 'passed' | 'proclaimed'
    }
  | { readonly kind: 'result'; readonly fence: number; readonly value: string | undefined }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly holders?: StoredHolder[]
      readonly mismatch?: CapacityMismatch | undefined
    }

/** The optional terms of locks and requests. */
interface PlainKind {
  readonly permits: number | undefined
  readonly capacity: number | undefined
  /** The longest time from the grant to the end of the lock, even with refreshes, in ms. */
  readonly maxHold: number | undefined
  /** The notices that the client asked for. */
  readonly notify: readonly NoticeType[] | undefined
  /** All keys of the set to which the lock or request belongs; undefined for one key. */
  readonly set: readonly string[] | undefined
  /** Present for a `once` call. */
  readonly once: true | undefined
  /**
   * Present for a campaign (a request to become the leader) and for the lock of a leader. `value`
   * is JSON text.
   */
  readonly election: { readonly value?: string | undefined } | undefined
  /** Names the scope (one task of the session); undefined outside a scope. */
  readonly scope: number | undefined
}

export interface PlainLock extends PlainKind {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  /** The number of the grant. Every grant has a higher fence than all earlier grants. */
  readonly fence: number
  /** The fence of the newest upgrade; without an upgrade, the fence of the grant. */
  readonly presentFence: number
  /** How long the lock lasts after its grant or its last refresh, in ms. */
  readonly ttl: number | undefined
  /** Rises when the ttl starts again. An expiry of an earlier generation has no effect. */
  readonly generation: number
  readonly metadata: string | undefined
  /** When the lock was granted, in wall time. */
  readonly since: number
}

export interface PlainRequest extends PlainKind {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly ttl: number | undefined
  readonly timeout: number | undefined
  readonly metadata: string | undefined
  /** When the request was queued, in wall time. */
  readonly since: number
  /** The `fence` of the lock that this upgrade makes exclusive; undefined if not an upgrade. */
  readonly upgradeOf: number | undefined
}

/** A result that later `once` calls of the key get. */
export interface PlainKeptResult {
  readonly key: string
  /** The fence of the run that had this result. */
  readonly fence: number
  readonly value: string | undefined
  /** How long the table keeps the result, in ms. */
  readonly keep: number
  readonly ownerBroker: string
}

/** A result that some followers (`once` calls that waited for the run) have not got yet. */
export interface PlainDelivery {
  readonly fence: number
  readonly value: string | undefined
  /** The requests that have not got the result yet, as `session#id`. */
  readonly followers: readonly string[]
}

export interface PlainBarrierCall {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly parties: number
  readonly timeout: number | undefined
  readonly since: number
}

export interface PlainSession {
  readonly id: string
  readonly principal: string
  /** How long the session survives without a connection, in ms. */
  readonly grace: number
  /** The broker that runs the timers of the session. */
  readonly ownerBroker: string
  /** Counts the connections of the session, from 1. */
  readonly attachEpoch: number
  /** Whether the session has no connection. */
  readonly suspended: boolean
  readonly secret: string | undefined
  readonly nextSecret: string | undefined
  readonly lastResumeAttempt: number | undefined
  readonly lastId: number
  /** The fences of the held locks, in the order of their grants. */
  readonly held: readonly number[]
  /** The ids of the waiting requests, in the order of their arrival. */
  readonly waiting: readonly number[]
  /** The ids of the calls that wait at barriers, in the order of their arrival. */
  readonly barrierCalls: readonly number[]
  /** The newest revocations of locks of the session, in the order in which they happened. */
  readonly revocations: readonly { readonly fence: number; readonly note: string }[]
  /** The stored answers by request id; undefined for a session without a grace. */
  readonly answers: readonly (readonly [number, PlainAnswer])[] | undefined
}

export interface PlainKey {
  readonly key: string
  readonly holders: readonly PlainLock[]
  readonly queue: readonly PlainRequest[]
  readonly delivery: PlainDelivery | undefined
  /** The waiting upgrade of a lock of the key. */
  readonly upgrade: PlainRequest | undefined
}

/** The whole state of a table. */
export interface PlainState {
  readonly fence: number
  readonly heldCount: number
  readonly waitingCount: number
  /** Whether the table grants only steals. */
  readonly quiet: boolean
  readonly sessions: readonly PlainSession[]
  /** Sorted by key. */
  readonly keys: readonly PlainKey[]
  /** Sorted by key; the calls of one barrier in order of arrival. */
  readonly barrierCalls: readonly PlainBarrierCall[]
  /** The kept results, oldest first. */
  readonly keptResults: readonly PlainKeptResult[]
}

export type PlainEffect =
  | { readonly kind: 'opened'; readonly session: string; readonly handshakeId: string }
  | {
      readonly kind: 'resumed'
      readonly session: string
      readonly handshakeId: string
      readonly attachEpoch: number
      readonly answers: readonly (readonly [number, PlainAnswer])[]
    }
  | { readonly kind: 'refused'; readonly handshakeId: string }
  /** `keep` is true if the session lives on for its whole lease, and not only for its grace. */
  | { readonly kind: 'suspended'; readonly session: string; readonly keep: boolean }
  | { readonly kind: 'ended'; readonly session: string; readonly reason: string }
  | { readonly kind: 'acknowledged'; readonly session: string }
  | { readonly kind: 'queued'; readonly request: PlainRequest }
  | { readonly kind: 'unfinished'; readonly request: PlainRequest }
  | { readonly kind: 'withdrawn'; readonly request: PlainRequest; readonly reason: string }
  | { readonly kind: 'granted'; readonly lock: PlainLock; readonly waited: boolean }
  | { readonly kind: 'upgraded'; readonly lock: PlainLock; readonly waited: boolean }
  | { readonly kind: 'downgraded'; readonly lock: PlainLock }
  | { readonly kind: 'released'; readonly lock: PlainLock; readonly reason: string }
  | { readonly kind: 'refreshed'; readonly lock: PlainLock }
  | {
      readonly kind: 'proclaimed'
      readonly lock: PlainLock
      readonly formerValue: string | undefined
    }
  | { readonly kind: 'deadlinesRestarted'; readonly session: string }
  | {
      readonly kind: 'kept' | 'keepRestarted' | 'forgotten'
      readonly kept: PlainKeptResult
    }
  | { readonly kind: 'arrived'; readonly call: PlainBarrierCall }
  | { readonly kind: 'departed'; readonly call: PlainBarrierCall; readonly reason: string }
  | {
      readonly kind: 'revoked'
      readonly lock: PlainLock
      /** The session that asked for the revocation. */
      readonly by: string
      readonly note: string
    }
  | {
      readonly kind: 'answer'
      readonly session: string
      readonly id: number
      readonly answer: PlainAnswer
      readonly repeat: boolean
    }

function plainLock(lock: Lock): PlainLock {
  const { id, key, mode, fence, presentFence, ttl, generation, metadata, since, extras } = lock
  const fences = { fence, presentFence }
  const ownFields = {
    session: lock.session.id,
    id,
    key,
    mode,
    ...fences,
    ttl,
    generation,
    metadata,
    since,
  }
  const set = extras?.set?.locks.map((member) => member.key)
  return { ...ownFields, ...plainExtras(extras), set }
}

function plainExtras(extras: Lock['extras']) {
  const { permits, capacity, maxHold, notify, once, scope } = extras ?? {}
  const election = extras?.election && { ...extras.election }
  return { permits, capacity, maxHold, notify, once, election, scope: scope?.number }
}

function plainRequest(request: Request): PlainRequest {
  const { id, key, mode, ttl, timeout, metadata, since, extras } = request
  const ownFields = { session: request.session.id, id, key, mode, ttl, timeout, metadata, since }
  const set = extras?.set?.requests.map((member) => member.key)
  return { ...ownFields, ...plainExtras(extras), set, upgradeOf: request.upgradedLock?.fence }
}

function plainKeptResult({ result, keep, ownerBroker }: KeptResult): PlainKeptResult {
  const { key, fence, value } = result
  return { key, fence, value, keep, ownerBroker }
}

function plainDelivery({ extras }: KeyState): PlainDelivery | undefined {
  const { requests, result } = extras?.delivery ?? {}
  if (requests === undefined || result === undefined) return undefined
  const followers = Array.from(requests, ({ session, id }) => `${session.id}#${id}`)
  return { fence: result.fence, value: result.value, followers }
}

function plainBarrierCall(call: BarrierCall<Session>): PlainBarrierCall {
  const { session, id, barrier, timeout, since } = call
  const { key, parties } = barrier
  return { session: session.id, id, key, parties, timeout, since }
}

/** An answer without references to objects of the table. */
export function plainAnswer(answer: Answer): PlainAnswer {
  switch (answer.kind) {
    case 'granted':
      return { kind: 'granted', fence: answer.lock.fence }
    case 'upgraded':
    case 'refreshed':
      return { kind: answer.kind, fence: answer.fence }
    case 'result':
      return { kind: 'result', fence: answer.result.fence, value: answer.result.value }
    case 'unlocked':
    case 'downgraded':
    case 'scopeEnded':
    case 'revoked':
    case 'proclaimed':
    case 'passed':
      return { kind: answer.kind }
    case 'failed': {
      const { code, holders, mismatch } = answer
      return holders === undefined
        ? { kind: 'failed', code, mismatch }
        : { kind: 'failed', code, holders: holders.map((holder) => ({ ...holder })) }
    }
  }
}

function plainAnswers(answers: ReadonlyMap<number, Answer>): [number, PlainAnswer][] {
  return Array.from(answers, ([id, answer]) => [id, plainAnswer(answer)])
}

/** An effect without references to objects of the table. */
export function plainEffect(effect: Effect): PlainEffect {
  switch (effect.kind) {
    case 'opened':
      return { kind: 'opened', session: effect.session.id, handshakeId: effect.handshakeId }
    case 'resumed': {
      const { session, handshakeId, answers } = effect
      const { id, attachEpoch } = session
      return {
        kind: 'resumed',
        session: id,
        handshakeId,
        attachEpoch,
        answers: plainAnswers(answers),
      }
    }
    case 'refused':
      return { kind: 'refused', handshakeId: effect.handshakeId }
    case 'suspended':
      return { kind: 'suspended', session: effect.session.id, keep: effect.keep }
    case 'ended':
      return { kind: 'ended', session: effect.session.id, reason: effect.reason }
    case 'acknowledged':
      return { kind: 'acknowledged', session: effect.session.id }
    case 'queued':
    case 'unfinished':
      return { kind: effect.kind, request: plainRequest(effect.request) }
    case 'withdrawn':
      return { kind: 'withdrawn', request: plainRequest(effect.request), reason: effect.reason }
    case 'granted':
      return { kind: 'granted', lock: plainLock(effect.lock), waited: effect.request !== undefined }
    case 'upgraded':
      return {
        kind: 'upgraded',
        lock: plainLock(effect.lock),
        waited: effect.request !== undefined,
      }
    case 'downgraded':
      return { kind: 'downgraded', lock: plainLock(effect.lock) }
    case 'released':
      return { kind: 'released', lock: plainLock(effect.lock), reason: effect.reason }
    case 'refreshed':
      return { kind: 'refreshed', lock: plainLock(effect.lock) }
    case 'proclaimed': {
      const { lock, formerValue } = effect
      return { kind: 'proclaimed', lock: plainLock(lock), formerValue }
    }
    case 'deadlinesRestarted':
      return { kind: 'deadlinesRestarted', session: effect.session.id }
    case 'kept':
    case 'keepRestarted':
    case 'forgotten':
      return { kind: effect.kind, kept: plainKeptResult(effect.kept) }
    case 'arrived':
      return { kind: 'arrived', call: plainBarrierCall(effect.call) }
    case 'departed':
      return { kind: 'departed', call: plainBarrierCall(effect.call), reason: effect.reason }
    case 'revoked': {
      const { lock, by, note } = effect
      return { kind: 'revoked', lock: plainLock(lock), by: by.id, note }
    }
    case 'answer': {
      const { session, id, answer, repeat } = effect
      return { kind: 'answer', session: session.id, id, answer: plainAnswer(answer), repeat }
    }
  }
}

function plainSession(session: Session): PlainSession {
  const { id, principal, grace, ownerBroker, attachEpoch, suspended, lastId } = session
  const { secret, nextSecret, lastResumeAttempt } = session
  return {
    id,
    principal,
    grace,
    ownerBroker,
    attachEpoch,
    suspended,
    secret,
    nextSecret,
    lastResumeAttempt,
    lastId,
    held: session.held.values().map(({ fence }) => fence),
    waiting: session.waiting.values().map(({ id }) => id),
    barrierCalls: session.barrierCalls.values().map(({ id }) => id),
    revocations: session.revocations,
    answers: session.answers && plainAnswers(session.answers),
  }
}

/** Returns the whole state of a table. */
export function plainState(table: Omit<LockTable, 'apply'>): PlainState {
  const keys = Array.from(table.keys.values(), (keyState) => ({
    key: keyState.key,
    holders: Array.from(keyState.holders, plainLock),
    queue: Array.from(keyState.queue, plainRequest),
    delivery: plainDelivery(keyState),
    upgrade: keyState.extras?.upgrade && plainRequest(keyState.extras.upgrade),
  }))
  return {
    fence: table.fence,
    heldCount: table.heldCount,
    waitingCount: table.waitingCount,
    quiet: table.quiet,
    sessions: Array.from(table.sessions.values(), plainSession),
    keys: keys.sort((a, b) => (a.key < b.key ? -1 : 1)),
    barrierCalls: Array.from(table.barriers.values())
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .flatMap(({ calls }) => Array.from(calls, plainBarrierCall)),
    keptResults: Array.from(table.keptResults.values(), plainKeptResult),
  }
}

/** A short text of an answer, for failure messages and for `TableDriver`. */
function answerText(answer: PlainAnswer): string {
  switch (answer.kind) {
    case 'granted':
    case 'upgraded':
    case 'refreshed':
      return `${answer.kind} f${answer.fence}`
    case 'result':
      return `result f${answer.fence} ${answer.value}`
    case 'unlocked':
    case 'downgraded':
    case 'scopeEnded':
    case 'revoked':
    case 'proclaimed':
    case 'passed':
      return answer.kind
    case 'failed': {
      const holders = answer.holders?.map((holder) => `${holder.session} f${holder.fence}`)
      return holders === undefined ? answer.code : `${answer.code} by ${holders.join(', ')}`
    }
  }
}

/**
 * Formats an effect as a short text for readable tests. `granted b#2 k f7` means that request 2 of
 * session `b` was granted key `k` with fence 7. `g` stands before a generation, and `@` before an
 * attach epoch. `repeat` in place of `answer` marks a repeated answer, or a refusal that the
 * table does not store.
 */
export function formatEffect(effect: PlainEffect): string {
  switch (effect.kind) {
    case 'opened':
      return `opened ${effect.session}`
    case 'resumed': {
      const answers = effect.answers.map(([id, answer]) => `#${id} ${answerText(answer)}`)
      return [`resumed ${effect.session} @${effect.attachEpoch}`, ...answers].join('; ')
    }
    case 'refused':
      return `refused ${effect.handshakeId}`
    case 'suspended':
      return `suspended ${effect.session}${effect.keep ? ', kept' : ''}`
    case 'ended':
      return `ended ${effect.session} ${effect.reason}`
    case 'acknowledged':
      return `acknowledged ${effect.session}`
    case 'queued':
      return `queued ${effect.request.session}#${effect.request.id} ${effect.request.key}`
    case 'unfinished':
      return `unfinished ${effect.request.key}`
    case 'withdrawn': {
      const { session, id, key } = effect.request
      return `withdrawn ${session}#${id} ${key} ${effect.reason}`
    }
    case 'granted': {
      const { session, id, key, fence } = effect.lock
      return `granted ${session}#${id} ${key} f${fence}`
    }
    case 'upgraded': {
      const { session, key, fence, presentFence } = effect.lock
      return `upgraded ${session} ${key} f${fence} to f${presentFence}`
    }
    case 'downgraded': {
      const { session, key, fence } = effect.lock
      return `downgraded ${session} ${key} f${fence}`
    }
    case 'released': {
      const { session, key, fence } = effect.lock
      return `released ${session} ${key} f${fence} ${effect.reason}`
    }
    case 'deadlinesRestarted':
      return `deadlinesRestarted ${effect.session}`
    case 'refreshed':
      return `refreshed ${effect.lock.session} f${effect.lock.fence} g${effect.lock.generation}`
    case 'proclaimed': {
      const { session, fence, election } = effect.lock
      return `proclaimed ${session} f${fence} ${effect.formerValue} -> ${election?.value}`
    }
    case 'revoked':
      return `revoked f${effect.lock.fence} by ${effect.by}: ${effect.note}`
    case 'kept':
    case 'keepRestarted':
    case 'forgotten':
      return `${effect.kind} ${effect.kept.key} f${effect.kept.fence}`
    case 'arrived':
      return `arrived ${effect.call.session}#${effect.call.id} ${effect.call.key}`
    case 'departed': {
      const { session, id, key } = effect.call
      return `departed ${session}#${id} ${key} ${effect.reason}`
    }
    case 'answer': {
      const { session, id, answer, repeat } = effect
      return `${repeat ? 'repeat' : 'answer'} ${session}#${id} ${answerText(answer)}`
    }
  }
}
