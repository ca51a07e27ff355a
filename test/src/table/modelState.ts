/**
 * All that the model of the lock table remembers: flat lists, searched from end to end.
 */
import type { Command, SessionLimits, StoredHolder } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import type { PlainAnswer, PlainLock, PlainRequest, PlainSession, PlainState } from './plain.js'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type ModelLock = Mutable<PlainLock>

type Resume = Extract<Command, { type: 'resume' }>
type Derived = 'held' | 'waiting' | 'answers' | 'lastTry' | 'revocations'

export interface ModelSession extends Omit<Mutable<PlainSession>, Derived> {
  readonly name: string | undefined
  readonly limits: SessionLimits
  /** What it was taken up with last. */
  shown: Resume | undefined
  /** Every lock of it that an operator has ended. */
  readonly revoked: { fence: number; note: string }[]
  /**
   * Id, answer, and what was requested, in order of answering. Stays empty for a session that
   * cannot come back.
   */
  answers: [number, PlainAnswer, string][]
}

/** Whether this is its client, by the order in which that has asked. */
export function letsIn(
  session: ModelSession,
  { principal, proof, resumeAttempt: number }: Resume,
): boolean {
  const { shown, secret, nextSecret } = session
  const before = shown?.proof === proof ? shown.resumeAttempt : undefined
  const isLate = before !== undefined && number !== undefined && before >= number
  const isKnown = proof === secret || proof === nextSecret
  return session.grace > 0 && session.principal === principal && isKnown && !isLate
}

export class ModelState {
  fence = 0
  quiet = false
  readonly sessions: ModelSession[] = []
  /** In order of grant. */
  readonly locks: ModelLock[] = []
  /** In order of asking. */
  readonly waits: PlainRequest[] = []
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

  /** Whoever holds it. */
  lockOn(key: string, fence: number): ModelLock | undefined {
    return this.locks.find((lock) => lock.key === key && lock.fence === fence)
  }

  /**
   * A failure with those who hold the key: the oldest, as many as fit, and one in any case. What
   * fits is 16, 16 KiB, and 256 KiB for all that the session has not acknowledged.
   */
  blame(asks: ModelSession, key: string, code: 'LOCK_HELD' | 'LOCK_TIMEOUT'): PlainAnswer {
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

  load(session: string): number {
    const mine = (one: { session: string }) => one.session === session
    return this.locks.filter(mine).length + this.waits.filter(mine).length
  }

  /** Somebody keeps its time anew: what is limited in time, and returned, has all of it again. */
  begin(session: ModelSession, home: string): (PlainLock | PlainRequest)[] {
    const moves = session.home !== home
    session.home = home
    const locks = this.locks.filter((one) => one.session === session.id && one.ttl !== undefined)
    for (const lock of locks) if (moves) lock.generation += 1
    const waits = this.waits.filter(
      (one) => one.session === session.id && one.timeout !== undefined,
    )
    return [...locks.map((lock) => ({ ...lock })), ...waits]
  }

  toPlain(): PlainState {
    return {
      fence: this.fence,
      heldCount: this.locks.length,
      waitingCount: this.waits.length,
      quiet: this.quiet,
      sessions: this.sessions.map(
        ({ name: _, limits: __, shown, revoked, answers, ...session }) => ({
          ...session,
          lastTry: shown?.proof === session.secret ? shown?.resumeAttempt : undefined,
          held: this.locks.filter((lock) => lock.session === session.id).map((lock) => lock.fence),
          waiting: this.waits.filter((wait) => wait.session === session.id).map((wait) => wait.id),
          revocations: session.grace > 0 ? revoked.slice(-16) : [],
          answers:
            session.grace > 0 ? answers.map(([id, answer]) => [id, answer] as const) : undefined,
        }),
      ),
      keys: [...this.inUse].sort().map((key) => ({
        key,
        holders: this.locks.filter((lock) => lock.key === key).map((lock) => ({ ...lock })),
        queue: this.waits.filter((wait) => wait.key === key).map((wait) => ({ ...wait })),
      })),
    }
  }
}

/** Takes out the first of these. */
export function remove<T>(list: T[], which: (item: T) => boolean): void {
  const index = list.findIndex(which)
  if (index !== -1) list.splice(index, 1)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

/** What a holder weighs: 100, and what is written of it, a character beyond ASCII as three. */
function sizeOf(holder: Pick<StoredHolder, 'session' | 'name' | 'metadata'>): number {
  const { session, name, metadata } = holder
  const texts = [name === undefined ? '' : JSON.stringify(name), metadata ?? '']
  const sizes = texts.map((text) => text.length * (/[^\x20-\x7e]/.test(text) ? 3 : 1))
  return 100 + session.length + sum(sizes)
}
