/**
 * Converts the effects and the state of a real lock table to plain values (see `plainValues.ts`).
 * An effect refers to records of the table, which change with later commands. So convert each
 * effect before the next command.
 */
import type {
  Answer,
  BarrierCall,
  Effect,
  KeptResult,
  KeyState,
  Lock,
  LockTable,
  Request,
  Session,
} from '@holdfast/server/core'
import type {
  PlainAnswer,
  PlainBarrierCall,
  PlainDelivery,
  PlainEffect,
  PlainKeptResult,
  PlainLock,
  PlainRequest,
  PlainSession,
  PlainState,
} from './plainValues.js'

function plainLock(lock: Lock): PlainLock {
  const { id, key, mode, fence, presentFence, ttl, generation, metadata, since, extras } = lock
  const ownFields = {
    session: lock.session.id,
    id,
    key,
    mode,
    fence,
    presentFence,
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

/** The result of a `once` that a key still delivers to its followers; undefined if none. */
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
function plainAnswer(answer: Answer): PlainAnswer {
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
      // No answer has both holders and a mismatch.
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
      // The effect has a request only if this request waited.
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
  const { id, principal, grace, ownerBroker, attachEpoch, ownerEpoch } = session
  const { suspended, lastId, secret, nextSecret, lastResumeAttempt } = session
  return {
    id,
    principal,
    grace,
    ownerBroker,
    attachEpoch,
    ownerEpoch,
    suspended,
    secret,
    nextSecret,
    lastResumeAttempt,
    lastId,
    held: session.held.values().map((lock) => lock.fence),
    waiting: session.waiting.values().map((request) => request.id),
    barrierCalls: session.barrierCalls.values().map((call) => call.id),
    revocations: session.revocations,
    answers: session.answers && plainAnswers(session.answers),
  }
}

/**
 * Returns the whole state of a table, with keys and barriers sorted by key. The parameter needs no
 * `apply`, because a broker exposes its table without this method.
 */
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
