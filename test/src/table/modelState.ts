/** The state of the model of the lock table: flat lists that are searched from end to end. */
import type { Command, SessionLimits, StoredHolder } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import type {
  PlainAnswer,
  PlainBarrierCall,
  PlainLock,
  PlainRequest,
  PlainSession,
  PlainState,
} from './plainValues.js'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type ModelLock = Mutable<PlainLock>

type Resume = Extract<Command, { type: 'resume' }>
type Derived = 'held' | 'waiting' | 'barrierCalls' | 'answers' | 'lastResumeAttempt' | 'revocations'

export interface ModelSession extends Omit<Mutable<PlainSession>, Derived> {
  readonly name: string | undefined
  readonly limits: SessionLimits
  /** The last successful resume. */
  acceptedResume: Resume | undefined
  /** Every lock of the session that was revoked. */
  readonly allRevocations: { fence: number; note: string }[]
  /** Id, answer and request type, in order of answering; empty for a session without a grace. */
  answers: [number, PlainAnswer, string][]
}

/** Whether a resume shows a valid secret, and no later attempt has resumed before it. */
export function acceptsResume(
  session: ModelSession,
  { principal, proof, resumeAttempt }: Resume,
): boolean {
  const { acceptedResume, secret, nextSecret } = session
  const before = acceptedResume?.proof === proof ? acceptedResume.resumeAttempt : undefined
  const isLate = before !== undefined && resumeAttempt !== undefined && before >= resumeAttempt
  const isKnown = proof === secret || proof === nextSecret
  return session.grace > 0 && session.principal === principal && isKnown && !isLate
}

export class ModelState {
  fence = 0
  quiet = false
  readonly sessions: ModelSession[] = []
  /** In order of grant. */
  readonly locks: ModelLock[] = []
  /** In order of arrival. */
  readonly waitingRequests: PlainRequest[] = []
  /** The calls that wait at barriers, in order of arrival. */
  barrierCalls: PlainBarrierCall[] = []
  /** Keys that are held or waited for, in the order in which they came into use. */
  inUse: string[] = []

  canHold(key: string, mode: LockMode): boolean {
    return this.locks.every(
      (lock) => lock.key !== key || (lock.mode === 'shared' && mode === 'shared'),
    )
  }

  session(id: string): ModelSession | undefined {
    return this.sessions.find((session) => session.id === id)
  }

  lock(session: string, fence: number): ModelLock | undefined {
    return this.locks.find((lock) => lock.session === session && lock.fence === fence)
  }

  /** The lock with this key and fence, of any session. */
  lockOn(key: string, fence: number): ModelLock | undefined {
    return this.locks.find((lock) => lock.key === key && lock.fence === fence)
  }

  /**
   * A failure with the holders of the key: the oldest ones that fit, and at least one. The limits
   * are 16 holders, 16 KiB, and 256 KiB for all unacknowledged answers of the session.
   */
  failureWithHolders(
    asks: ModelSession,
    key: string,
    code: 'LOCK_HELD' | 'LOCK_TIMEOUT',
  ): PlainAnswer {
    const kept = asks.answers.flatMap(([, answer]) => ('holders' in answer ? answer.holders : []))
    const room = Math.min(16 * 1024, 256 * 1024 - sum(kept.map(sizeOf)))
    const [first, ...others] = this.locks
      .filter((lock) => lock.key === key)
      .map(({ session, metadata, fence, since }) => {
        const { name } = this.session(session)!
        return { session, name, metadata, fence, since }
      })
      .map((one) => (code === 'LOCK_HELD' ? one : { ...one, metadata: undefined }))
    const all = first === undefined ? [] : [first, ...others].slice(0, 16)
    const fitting = all.filter((_, i) => sum(all.slice(0, i + 1).map(sizeOf)) <= room)
    const least = first === undefined ? [] : [{ ...first, metadata: undefined }]
    return { kind: 'failed', code, holders: fitting.length === 0 ? least : fitting }
  }

  requestCount(session: string): number {
    const mine = (one: { session: string }) => one.session === session
    const lists = [this.locks, this.waitingRequests, this.barrierCalls]
    return sum(lists.map((list) => list.filter(mine).length))
  }

  /**
   * Moves a session to an owner. Returns its locks and requests with a deadline, which starts
   * again.
   */
  takeOwnership(
    session: ModelSession,
    ownerBroker: string,
  ): (PlainLock | PlainRequest | PlainBarrierCall)[] {
    const changesOwner = session.ownerBroker !== ownerBroker
    session.ownerBroker = ownerBroker
    const locks = this.locks.filter((one) => one.session === session.id && one.ttl !== undefined)
    for (const lock of locks) if (changesOwner) lock.generation += 1
    const waits = this.waitingRequests.filter(
      (one) => one.session === session.id && one.timeout !== undefined,
    )
    const calls = this.barrierCalls.filter(
      (call) => call.session === session.id && call.timeout !== undefined,
    )
    return [...locks.map((lock) => ({ ...lock })), ...waits, ...calls]
  }

  toPlain(): PlainState {
    return {
      fence: this.fence,
      heldCount: this.locks.length,
      waitingCount: this.waitingRequests.length,
      quiet: this.quiet,
      sessions: this.sessions.map(
        ({ name: _, limits: __, acceptedResume, allRevocations, answers, ...session }) => ({
          ...session,
          lastResumeAttempt:
            acceptedResume?.proof === session.secret ? acceptedResume?.resumeAttempt : undefined,
          held: this.locks.filter((lock) => lock.session === session.id).map((lock) => lock.fence),
          waiting: this.waitingRequests
            .filter((wait) => wait.session === session.id)
            .map((wait) => wait.id),
          barrierCalls: this.barrierCalls
            .filter((call) => call.session === session.id)
            .map((call) => call.id),
          revocations: session.grace > 0 ? allRevocations.slice(-16) : [],
          answers:
            session.grace > 0 ? answers.map(([id, answer]) => [id, answer] as const) : undefined,
        }),
      ),
      keys: [...this.inUse].sort().map((key) => ({
        key,
        holders: this.locks.filter((lock) => lock.key === key).map((lock) => ({ ...lock })),
        queue: this.waitingRequests.filter((wait) => wait.key === key).map((wait) => ({ ...wait })),
      })),
      barrierCalls: [...this.barrierCalls].sort((a, b) => a.key.localeCompare(b.key)),
    }
  }
}

/** Removes the first matching item. */
export function removeFirst<T>(list: T[], which: (item: T) => boolean): void {
  const index = list.findIndex(which)
  if (index !== -1) list.splice(index, 1)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

/** The estimated size of a holder: 100 bytes and its texts, a text beyond ASCII three times. */
function sizeOf(holder: Pick<StoredHolder, 'session' | 'name' | 'metadata'>): number {
  const { session, name, metadata } = holder
  const texts = [name === undefined ? '' : JSON.stringify(name), metadata ?? '']
  const sizes = texts.map((text) => text.length * (/[^\x20-\x7e]/.test(text) ? 3 : 1))
  return 100 + session.length + sum(sizes)
}
