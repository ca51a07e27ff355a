/**
 * The answers of the model of the lock table. A repeated request gets the stored answer to the
 * first request with its id. An effect with `repeat: true` repeats a stored answer, or is a
 * refusal, which the model does not store.
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

  /** Answers a request, and stores the answer in case the client repeats the request. */
  answer(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    this.store(session, id, answer, requestType)
    this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: false })
  }

  /** Stores an answer, if the session can resume. A client repeats requests only after a resume. */
  store(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    if (session.grace > 0) session.answers.push([id, answer, requestType])
  }

  /** Refuses a request without storing the answer. */
  refuse(session: ModelSession, id: number, code: ErrorCode, mismatch?: CapacityMismatch): void {
    const answer = { kind: 'failed', code, mismatch } as const
    this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: true })
  }

  /**
   * Handles a request with an id that an earlier request had. If both requests have the same type,
   * repeats the stored answer, or does nothing if the earlier request still waits. Otherwise
   * refuses the new request.
   *
   * @param type The type of the new request: `lock` also for `lockAll` and `once`, and `unlock`
   *   also for `complete`.
   */
  repeat(session: ModelSession, id: number, type: string): void {
    const stored = session.answers.find(([answeredId]) => answeredId === id)
    const storedType = stored?.[2]
    const isEarlierRequest = (waiter: { session: string; id: number }) =>
      waiter.session === session.id && waiter.id === id
    const isWaiting =
      type === 'barrier'
        ? this.#state.barrierCalls.some(isEarlierRequest)
        : (type === 'lock' && this.#state.waitingRequests.some(isEarlierRequest)) ||
          (type === 'upgrade' && this.#state.upgrades.some(isEarlierRequest))
    if (stored !== undefined && storedType === type) {
      const [, answer] = stored
      this.#effect({ kind: 'answer', session: session.id, id, answer, repeat: true })
    } else if (!isWaiting) {
      this.refuse(session, id, 'BAD_MESSAGE')
    }
  }
}
