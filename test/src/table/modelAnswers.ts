/**
 * The answers of the model of the lock table. A repeated request gets the answer to the first
 * request with its id. An effect has `repeat: true` if its answer uses up no new id, which is true
 * of repetitions and refusals.
 */
import type { CapacityMismatch } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import type { ModelSession, ModelState } from './modelState.js'
import type { PlainAnswer, PlainEffect } from './plainValues.js'

export class ModelAnswers {
  readonly #state: ModelState
  readonly #effect: (effect: PlainEffect) => void

  constructor(state: ModelState, effect: (effect: PlainEffect) => void) {
    this.#state = state
    this.#effect = effect
  }

  /** Answers a request, and stores the answer for a repetition. */
  answer(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    this.store(session, id, answer, requestType)
    this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: false })
  }

  /** Stores an answer for a repetition, if the session can resume. */
  store(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    if (session.grace > 0) session.answers.push([id, answer, requestType])
  }

  /** Refuses a request without storing the answer. */
  refuse(session: ModelSession, id: number, code: ErrorCode, mismatch?: CapacityMismatch): void {
    const answer = { kind: 'failed', code, mismatch } as const
    this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: true })
  }

  /**
   * Repeats the stored answer to a request id, if the repeated request has the same type. Does
   * nothing if the first request still waits, and otherwise refuses the repeated request.
   */
  repeat(session: ModelSession, id: number, type: string): void {
    const stored = session.answers.find(([answeredId]) => answeredId === id)
    const storedType = stored?.[2]
    const hasThisId = (waiter: { session: string; id: number }) =>
      waiter.session === session.id && waiter.id === id
    const isWaiting =
      type === 'barrier'
        ? this.#state.barrierCalls.some(hasThisId)
        : (type === 'lock' && this.#state.waitingRequests.some(hasThisId)) ||
          (type === 'upgrade' && this.#state.upgrades.some(hasThisId))
    if (stored !== undefined && storedType === type) {
      const [, answer] = stored
      this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: true })
    } else if (!isWaiting) {
      this.refuse(session, id, 'BAD_MESSAGE')
    }
  }
}
