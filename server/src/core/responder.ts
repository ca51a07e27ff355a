/**
 * Answers the requests of sessions: emits each answer as an effect, and stores the answer until the
 * client acknowledges the answer. A session that no client can resume has no stored answers. A
 * request whose id was used before gets its first answer again.
 *
 * All files that execute requests share this class.
 */
import type { ErrorCode } from '@holdfast/shared'
import { isAnswerTo } from './answers.js'
import type { ChangeListener } from './changeListener.js'
import type { SessionLimits } from './commands.js'
import type { Effect } from './effects.js'
import type { CapacityMismatch } from './permits.js'
import type { CycleEntry, RequestType } from './plainRecords.js'
import type { Answer, Session } from './records.js'

/** A command that has an answer. */
export interface AnsweredCommand {
  readonly id: number
  readonly type: RequestType | 'lockAll' | 'once' | 'complete'
}

/**
 * The request type of this command in {@link isAnswerTo}. A grant can answer `lock`, `lockAll` and
 * `once`, so these three types count as `lock`. A `complete` gets the answers of an `unlock`.
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
  /** Learns of each change in advance, while a snapshot is under way; otherwise undefined. */
  changeListener: ChangeListener | undefined

  /**
   * Whether the request is new and may change the table. If its id was used before, answers the
   * request with its first answer. If the client has not acknowledged enough answers, answers with
   * `QUOTA_EXCEEDED`.
   */
  accepts(session: Session, command: AnsweredCommand): boolean {
    return !this.#answerIfRepeat(session, command) && !this.#refuseIfOverQuota(session, command.id)
  }

  /** Gives a request its first answer, and stores the answer if a client can resume the session. */
  answer(session: Session, id: number, answer: Answer): void {
    this.bytes += session.storeAnswer(id, answer)
    this.effects.push({ kind: 'answer', session, id, answer, repeat: false })
  }

  /**
   * Answers a request that changed nothing, without storing the answer. Such an answer has
   * `repeat: true`, like a repeated answer, which is not stored again either.
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
   * Refuses to change the mode of a lock whose mode is fixed, or whose upgrade waits already. Also
   * refuses a second request of a scope (one task of the client) while its first request waits.
   */
  refuseFault(session: Session, id: number, fault: 'fixedMode' | 'busyScope'): void {
    const answer: Answer = { kind: 'failed', code: 'BAD_MESSAGE', fault }
    this.effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }

  /**
   * Refuses a request for permits with another capacity than the key has. Also refuses a call with
   * another number of parties than the barrier has.
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
   * Returns whether the id of this request was used before. If so, repeats the stored answer, or
   * sends nothing while the first request waits. Fails the request with `BAD_MESSAGE` if there is
   * neither a stored answer nor a waiting request, or if the first request was of another type.
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
