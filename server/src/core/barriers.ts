/**
 * Barriers: calls wait at a barrier until there are as many calls as the barrier has parties. Then
 * all these calls pass the barrier in one step, and the next call begins a new barrier with the
 * same key.
 *
 * Barriers have a namespace of their own: a barrier and a lock may have the same key. A barrier
 * exists only while calls wait at it. The first call sets the number of parties.
 */
import type { ErrorCode } from '@holdfast/shared'
import { Barrier, BarrierCall } from './barrierCalls.js'
import type { ArriveAtBarrier } from './clientCommands.js'
import type { DepartReason } from './effects.js'
import { OrderedList, type Walk } from './orderedList.js'
import type { Answer, Session } from './records.js'
import type { Responder } from './responder.js'
import { barrierBytes, barrierCallBytes, textBytes } from './weights.js'

const passed: Answer = { kind: 'passed' }

/** All barriers with at least one waiting call. */
export class BarrierTable {
  readonly #byKey = new Map<string, Barrier<Session>>()
  /** The same barriers, for walks. A walk marks its place in the list with an empty barrier. */
  readonly #inOrder = new OrderedList(() => new Barrier<Session>('', 0))
  #callCount = 0
  /** Bytes of all barriers and calls, as `weights.ts` estimates them. */
  #bytes = 0

  /** How many barriers have a waiting call. */
  get size(): number {
    return this.#byKey.size
  }

  /** How many calls wait at all barriers. */
  get callCount(): number {
    return this.#callCount
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: string): Barrier<Session> | undefined {
    return this.#byKey.get(key)
  }

  /** All barriers, in the order of their first calls. */
  values(): IterableIterator<Barrier<Session>> {
    return this.#byKey.values()
  }

  /** Starts a walk over all barriers. The walk may pause while the barriers change. */
  walk(): Walk<Barrier<Session>> {
    return this.#inOrder.walk()
  }

  /**
   * Adds a call to the barrier of this key. The first call makes the barrier. Does not make the
   * checks of {@link arrive}, so that a table can also restore the calls of a snapshot.
   */
  add(session: Session, call: Pick<ArriveAtBarrier, 'id' | 'key' | 'parties' | 'timeout' | 'at'>) {
    const { id, key, parties, timeout, at } = call
    let barrier = this.#byKey.get(key)
    if (barrier === undefined) {
      barrier = new Barrier(key, parties)
      this.#byKey.set(key, barrier)
      this.#inOrder.append(barrier)
      this.#bytes += bytesOf(barrier)
    }
    const barrierCall = new BarrierCall(barrier, session, id, timeout, at)
    barrier.calls.add(barrierCall)
    session.addBarrierCall(barrierCall)
    this.#callCount++
    this.#bytes += barrierCallBytes
    return barrierCall
  }

  /**
   * Executes a call that is no repetition of an earlier request. A call beyond a limit, or with
   * another number of parties, changes nothing. Every other call waits, fails with an answer that
   * the table stores, or lets all calls pass because it is the last party.
   */
  arrive(responder: Responder, session: Session, command: ArriveAtBarrier): void {
    const { id, key, parties, timeout } = command
    const { limits } = session
    const barrier = this.#byKey.get(key)
    // A call at a barrier counts against the limit of locks too.
    if (session.lockCount >= limits.locks) {
      responder.refuse(session, id, 'QUOTA_EXCEEDED', 'locks')
      return
    }
    if (session.barrierCalls.size >= (limits.barriers ?? Number.POSITIVE_INFINITY)) {
      responder.refuse(session, id, 'QUOTA_EXCEEDED', 'barriers')
      return
    }
    if (barrier !== undefined && barrier.parties !== parties) {
      // The error is `CAPACITY_MISMATCH`, as for permits. Its capacities are numbers of parties.
      const mismatch = { key, capacityInUse: barrier.parties, requestedCapacity: parties }
      responder.refuseCapacity(session, id, mismatch, 'barrier')
      return
    }
    session.lastId = id
    const isLastParty = (barrier?.calls.size ?? 0) + 1 === parties
    if (timeout === 0 && !isLastParty) {
      fail(responder, session, id, 'LOCK_TIMEOUT')
      return
    }
    if (barrier !== undefined) responder.changeListener?.beforeBarrierChange(barrier)
    const call = this.add(session, command)
    responder.effects.push({ kind: 'arrived', call })
    if (!isLastParty) return
    // The loop needs a copy, because each departure removes a call from `calls`.
    for (const waitingCall of [...call.barrier.calls]) {
      this.#depart(responder, waitingCall, 'passed')
      responder.answer(waitingCall.session, waitingCall.id, passed)
    }
  }

  /**
   * Ends a waiting call, because its client cancelled the call or the timeout of the call is over.
   * Does nothing if the call does not wait, or if its session is undefined.
   */
  giveUp(
    responder: Responder,
    session: Session | undefined,
    id: number,
    reason: 'aborted' | 'timeout',
  ): void {
    const call = session?.barrierCalls.get(id)
    if (call === undefined) return
    this.#depart(responder, call, reason)
    fail(responder, call.session, id, reason === 'aborted' ? 'ABORTED' : 'LOCK_TIMEOUT')
  }

  /** Ends all calls of a session that has ended, or that is suspended and cannot be resumed. */
  endCallsOf(responder: Responder, session: Session): void {
    // The method `values` of an `IdTable` returns a new array, so the loop may remove calls.
    for (const call of session.barrierCalls.values()) this.#depart(responder, call, 'ended')
  }

  /** Removes a call from its barrier. Removes the barrier with its last call. */
  #depart(responder: Responder, call: BarrierCall<Session>, reason: DepartReason): void {
    const { barrier, session } = call
    responder.changeListener?.beforeBarrierChange(barrier)
    // The session changes too: the session loses the call, and may store its answer.
    responder.changeListener?.beforeSessionChange(session)
    barrier.calls.delete(call)
    session.barrierCalls.remove(call)
    this.#callCount--
    this.#bytes -= barrierCallBytes
    if (barrier.calls.size === 0) {
      this.#byKey.delete(barrier.key)
      this.#inOrder.remove(barrier)
      this.#bytes -= bytesOf(barrier)
    }
    responder.effects.push({ kind: 'departed', call, reason })
  }
}

/** Answers a call at a barrier with an error. */
function fail(responder: Responder, session: Session, id: number, code: ErrorCode): void {
  responder.answer(session, id, { kind: 'failed', code, request: 'barrier' })
}

function bytesOf({ key }: Barrier<Session>): number {
  return barrierBytes + textBytes(key)
}
