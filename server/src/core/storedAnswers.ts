/**
 * The stored answers of the sessions. A client may lose the connection before it receives an
 * answer. So the table stores the answers of each session that its client can resume, until the
 * client acknowledges them. A request that the client repeats gets the stored answer again.
 *
 * The functions that change the stored answers return the change in bytes, as `weights.ts`
 * estimates it. The caller adds this change to `Responder.bytes`.
 */
import type { LockTerms, RequestType } from './plainRecords.js'
import { type Answer, KeyState, Lock, type Session } from './records.js'
import { answerBytes as bytesPerAnswer } from './weights.js'

/**
 * Each byte of JSON that describes a holder counts twice, because V8 may store two bytes for each
 * character.
 */
const memoryPerHolderByte = 2
/** {@link reduceStoredGrant} drops a longer key. */
const maxKeptKeyLength = 64

/** All sessions share these answers, so that a stored answer takes little memory. */
export const fixedAnswers = {
  unlocked: { kind: 'unlocked' },
  scopeEnded: { kind: 'scopeEnded' },
  downgraded: { kind: 'downgraded' },
  revoked: { kind: 'revoked' },
  proclaimed: { kind: 'proclaimed' },
  notHeld: {
    unlock: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'unlock' },
    refresh: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'refresh' },
    proclaim: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'proclaim' },
    revoke: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'revoke' },
    upgrade: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'upgrade' },
    downgrade: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'downgrade' },
  },
} as const satisfies Record<string, Answer | Record<string, Answer>>

/** For each kind of answer: the type of the requests that it answers. */
const requestTypeOfAnswer = {
  granted: 'lock',
  unlocked: 'unlock',
  upgraded: 'upgrade',
  downgraded: 'downgrade',
  scopeEnded: 'endScope',
  refreshed: 'refresh',
  proclaimed: 'proclaim',
  revoked: 'revoke',
  passed: 'barrier',
  // A `once` (a function that runs once for all callers of a key) counts as a `lock`, because it
  // has two kinds of answers. The caller that runs the function gets `granted`, as for a `lock`.
  // The other callers get `result`.
  result: 'lock',
} as const

/**
 * Whether an answer can belong to a request of this type. In a snapshot of an older broker, a
 * `LOCK_NOT_HELD` lacks the type of its request, so the answer fits `unlock`, `refresh` and
 * `revoke`. Every other failure without a type is the answer to a `lock`.
 */
export function isAnswerTo(answer: Answer, type: RequestType): boolean {
  if (answer.kind !== 'failed') return requestTypeOfAnswer[answer.kind] === type
  if (answer.request !== undefined) return answer.request === type
  if (answer.code !== 'LOCK_NOT_HELD') return type === 'lock'
  // Older brokers have only these three types of requests that name a held lock.
  return type === 'unlock' || type === 'refresh' || type === 'revoke'
}

/**
 * If a client can resume the session, stores the answer to a request until the client acknowledges
 * the answer. Returns the additional bytes.
 */
export function storeAnswer(session: Session, id: number, answer: Answer): number {
  if (session.answers === undefined) return 0
  session.answers.set(id, answer)
  if (answer.kind === 'result') {
    session.storedResults++
    return bytesPerAnswer + answer.result.addReference()
  }
  const holderBytes = holderBytesOf(answer)
  session.storedHolderBytes += holderBytes
  return bytesPerAnswer + memoryPerHolderByte * holderBytes
}

/** Drops answers that the client has received. Returns the bytes that this frees. */
export function forgetAnswers(session: Session, ids: readonly number[]): number {
  const { answers } = session
  if (answers === undefined) return 0
  let bytes = 0
  for (const id of ids) {
    if (session.storedResults > 0) bytes += releaseResult(session, answers.get(id))
    // Most sessions have no answer that describes holders, and so need no lookup.
    const holderBytes = session.storedHolderBytes > 0 ? holderBytesOf(answers.get(id)) : 0
    if (!answers.delete(id)) continue
    session.storedHolderBytes -= holderBytes
    bytes += bytesPerAnswer + memoryPerHolderByte * holderBytes
  }
  return bytes
}

/**
 * Call when the session ends. Releases the results of `once` in the stored answers. Returns the
 * bytes of all stored answers, and of the results to which no other record refers.
 */
export function releaseResults(session: Session): number {
  let bytes = bytesOfAnswers(session)
  if (session.storedResults > 0)
    for (const answer of session.answers!.values()) bytes += releaseResult(session, answer)
  return bytes
}

/** Releases the result in an answer, if the answer has one. Returns the bytes that this frees. */
function releaseResult(session: Session, answer: Answer | undefined): number {
  if (answer?.kind !== 'result') return 0
  session.storedResults--
  return answer.result.removeReference()
}

/** Bytes of the stored answers, without the results of `once`, which sessions share. */
export function bytesOfAnswers({ answers, storedHolderBytes }: Session): number {
  const count = answers?.size ?? 0
  return count === 0 ? 0 : count * bytesPerAnswer + memoryPerHolderByte * storedHolderBytes
}

function holderBytesOf(answer: Answer | undefined): number {
  return answer?.kind === 'failed' ? (answer.holderBytes ?? 0) : 0
}

/**
 * Reduces the stored grant of a released lock to the id and fence of the lock, because a repeated
 * answer needs no more. This frees the metadata, a long key, and the other locks of a set.
 */
export function reduceStoredGrant(lock: Lock): void {
  const { session, id, metadata, key, extras } = lock
  if (metadata === undefined && extras === undefined && key.length <= maxKeptKeyLength) return
  const answer = session.answers?.get(id)
  if (answer?.kind !== 'granted' || answer.lock !== lock) return
  session.answers!.set(id, { kind: 'granted', lock: formerLock(session, id, lock.fence) })
}

/** The key of all locks that {@link formerLock} makes. The table does not store their real keys. */
const noKey = new KeyState('')

/** A released lock, reduced to the fields that its stored `granted` answer needs. */
export function formerLock(session: Session, id: number, fence: number): Lock {
  // The mode and `since` have no meaning.
  const terms: LockTerms = { id, mode: 'exclusive', ttl: undefined, metadata: undefined }
  return new Lock(noKey, session, terms, /* extras */ undefined, fence, /* since */ 0)
}
