/**
 * Answers the requests of sessions: emits each answer as an effect, and stores the answer until the
 * client acknowledges the answer. A session that no client can resume has no stored answers. A
 * request whose id was used before gets its first answer again.
 *
 * All files that execute requests share one `Responder`.
 */
import type { ErrorCode } from '@holdfast/shared'
import type { ChangeListener } from './changeListener.js'
import type { Effect } from './effects.js'
import type { CapacityMismatch } from './permits.js'
import type { CycleEntry, RequestType } from './plainRecords.js'
import type { Answer, Session } from './records.js'
import type { SessionLimits } from './sessionCommands.js'
import { isAnswerTo, storeAnswer } from './storedAnswers.js'

/** A command that has an answer. */
export interface AnsweredCommand {
  readonly id: number
  readonly type: RequestType | 'lockAll' | 'once' | 'complete'
}

/**
 * The request type to which the answers of this command belong, for {@link isAnswerTo}. A grant can
 * answer `lock`, `lockAll` and `once`, so these three types count as `lock`. A `complete` gets the
 * answers of an `unlock`.
 */
function requestTypeOfCommand({ type }: AnsweredCommand): RequestType {
  if (type === 'lockAll' || type === 'once') return 'lock'
  return type === 'complete' ? 'unlock' : type
}

export class Responder {
  /** The effects of the current command so far, in order. */
  effects: Effect[] = []
  /** Bytes of the stored answers of all sessions, as `weights.ts` estimates them. */
  bytes = 0
  /** Defined while a gradual snapshot is made. Call the listener before a record changes. */
  changeListener: ChangeListener | undefined

  /**
   * Returns whether the request is new and may change the table. Otherwise handles the request as a
   * repeat, or refuses the request because the client has too many answers to acknowledge.
   */
  accepts(session: Session, command: AnsweredCommand): boolean {
    return !this.#answerIfRepeat(session, command) && !this.#refuseIfOverQuota(session, command.id)
  }

  /** Gives a request its first answer, and stores the answer if a client can resume the session. */
  answer(session: Session, id: number, answer: Answer): void {
    this.bytes += storeAnswer(session, id, answer)
    this.effects.push({ kind: 'answer', session, id, answer, repeat: false })
  }

  /**
   * Answers a request that changed nothing. `repeat` is true, because the table does not store this
   * answer (see `effects.ts`).
   */
  refuse(session: Session, id: number, code: ErrorCode, limit?: keyof SessionLimits): void {
    const answer: Answer =
      limit === undefined ? { kind: 'failed', code } : { kind: 'failed', code, limit }
    this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }

  /** Refuses a request because it causes a deadlock. `cycle` has the requests of the deadlock. */
  refuseDeadlock(session: Session, id: number, cycle: readonly CycleEntry[]): void {
    const answer: Answer = { kind: 'failed', code: 'DEADLOCK', cycle }
    this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }

  /**
   * Refuses a request because of one of these faults:
   * - `fixedMode`: the mode of the lock can never change, or its upgrade waits already.
   * - `busyScope`: another request of the same scope (one task of the client) waits.
   */
  refuseFault(session: Session, id: number, fault: 'fixedMode' | 'busyScope'): void {
    const answer: Answer = { kind: 'failed', code: 'BAD_MESSAGE', fault }
    this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }

  /**
   * Refuses a request for permits with another capacity than the key has. Also refuses a call at a
   * barrier with another number of parties than the barrier has.
   *
   * @param request The type of the request; undefined for a request for permits.
   */
  refuseCapacity(
    session: Session,
    id: number,
    mismatch: CapacityMismatch,
    request?: 'barrier',
  ): void {
    const answer: Answer = { kind: 'failed', code: 'CAPACITY_MISMATCH', request, mismatch }
    this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }

  /**
   * Returns false if the id is new. If an earlier request had this id, returns true and does one of
   * the following:
   * - Repeats the stored answer if the earlier request has the same type.
   * - Sends nothing if the earlier request has the same type and still waits.
   * - Otherwise fails the request with `BAD_MESSAGE`.
   */
  #answerIfRepeat(session: Session, command: AnsweredCommand): boolean {
    const { id } = command
    if (id > session.lastId) return false
    const type = requestTypeOfCommand(command)
    const answer = session.answers?.get(id)
    if (answer !== undefined && isAnswerTo(answer, type)) {
      this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
    } else if (!session.isWaiting(id, type)) {
      this.refuse(session, id, 'BAD_MESSAGE')
    }
    return true
  }

  /**
   * Refuses the request if the client has too many answers to acknowledge. Returns whether the
   * request is refused.
   */
  #refuseIfOverQuota(session: Session, id: number): boolean {
    if (session.answers === undefined || session.answers.size < session.limits.answers) return false
    this.refuse(session, id, 'QUOTA_EXCEEDED', 'answers')
    return true
  }
}
