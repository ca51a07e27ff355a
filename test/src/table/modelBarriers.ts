/**
 * The barriers of the model of the lock table: one flat list of the calls that wait, and the rules
 * of PROTOCOL.md one by one. All calls with one key wait at one barrier. Each call names the same
 * number of `parties`. When this number of calls have arrived, they pass together.
 */
import type { ArriveAtBarrier, CapacityMismatch } from '@holdfast/server/core'
import type { ModelSession, ModelState } from './modelState.js'
import type { PlainAnswer, PlainBarrierCall, PlainEffect } from './plainValues.js'

/** The functions of the model that the barriers need. */
export interface ModelOutput {
  effect(effect: PlainEffect): void
  answer(session: ModelSession, id: number, answer: PlainAnswer): void
  /** Refuses a call because of a limit of the session. */
  refuse(session: ModelSession, id: number): void
  /**
   * Refuses a call because the waiting calls have another number of parties. The mismatch has these
   * two numbers in its fields for capacities.
   */
  refuseParties(session: ModelSession, id: number, mismatch: CapacityMismatch): void
}

export class ModelBarriers {
  readonly #state: ModelState
  readonly #output: ModelOutput

  constructor(state: ModelState, output: ModelOutput) {
    this.#state = state
    this.#output = output
  }

  /** Handles a call with a new id: refuses or answers the call, or lets the call wait. */
  arrive(session: ModelSession, command: ArriveAtBarrier): void {
    const { id, key, parties, timeout, at } = command
    const state = this.#state
    const waitingCalls = state.barrierCalls.filter((call) => call.key === key)
    const ownCalls = state.barrierCalls.filter((call) => call.session === session.id)
    // Barrier calls count toward the limit `locks`, and also have a limit of their own.
    if (
      state.lockLimitUsage(session.id) >= session.limits.locks ||
      ownCalls.length >= session.limits.barriers!
    ) {
      this.#output.refuse(session, id)
      return
    }
    const [first] = waitingCalls
    if (first !== undefined && first.parties !== parties) {
      this.#output.refuseParties(session, id, {
        key,
        capacityInUse: first.parties,
        requestedCapacity: parties,
      })
      return
    }
    session.lastId = id
    const mustWait = waitingCalls.length < parties - 1
    if (timeout === 0 && mustWait) {
      this.#output.answer(session, id, { kind: 'failed', code: 'LOCK_TIMEOUT' })
      return
    }
    const call = { session: session.id, id, key, parties, timeout, since: at }
    state.barrierCalls.push(call)
    this.#output.effect({ kind: 'arrived', call })
    if (mustWait) return
    for (const passing of [...waitingCalls, call]) {
      this.#depart(passing, 'passed')
      this.#output.answer(state.findSession(passing.session)!, passing.id, { kind: 'passed' })
    }
  }

  /** Ends a call that the client or a timer gives up, if this call waits. */
  giveUp(sessionId: string, id: number, reason: 'aborted' | 'timeout'): void {
    const call = this.#state.barrierCalls.find(
      (waiting) => waiting.session === sessionId && waiting.id === id,
    )
    if (call === undefined) return
    this.#depart(call, reason)
    const code = reason === 'aborted' ? 'ABORTED' : 'LOCK_TIMEOUT'
    this.#output.answer(this.#state.findSession(sessionId)!, id, { kind: 'failed', code })
  }

  /** Ends all calls of a session that has ended, or that no client can resume. */
  leave(sessionId: string): void {
    for (const call of this.#state.barrierCalls.filter(({ session }) => session === sessionId)) {
      this.#depart(call, 'ended')
    }
  }

  #depart(call: PlainBarrierCall, reason: string): void {
    this.#state.barrierCalls = this.#state.barrierCalls.filter((waiting) => waiting !== call)
    this.#output.effect({ kind: 'departed', call, reason })
  }
}
