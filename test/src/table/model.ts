/**
 * The model of the lock table, as simple as possible. It searches flat lists from end to end and
 * follows the rules of PROTOCOL.md one by one. The model shares no code and no idea with the real
 * table, so that the table and the model are unlikely to have the same mistake.
 *
 * The effects of one command come in this order: withdrawals, releases, grants (key by key, in the
 * order in which the keys were affected), the answer.
 *
 * Terms: a fence numbers a grant. A grace is how long a session survives without a connection. A
 * ttl is how long a lock lasts without a refresh. A quiet table grants only steals.
 */
import type { Command } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import { ModelBarriers } from './modelBarriers.js'
import { acceptsResume, type ModelSession, ModelState, removeFirst } from './modelState.js'
import type {
  PlainAnswer,
  PlainEffect,
  PlainLock,
  PlainRequest,
  PlainState,
} from './plainValues.js'

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>

export class Model {
  readonly #state = new ModelState()
  readonly #barriers = new ModelBarriers(this.#state, {
    effect: (effect) => this.#effects.push(effect),
    answer: (session, id, answer) => this.#answer(session, id, answer, 'barrier'),
    refuse: (session, id) => this.#refuse(session, id, 'QUOTA_EXCEEDED'),
  })
  #effects: PlainEffect[] = []
  readonly #grantsPerCommand: number
  /** The number of waiters that the present command may still grant. */
  #grantsLeft = 0
  /** The keys where more waiters could hold the lock than the present command may grant. */
  #unfinishedKeys: string[] = []

  constructor(grantsPerCommand: number) {
    this.#grantsPerCommand = grantsPerCommand
  }

  state(): PlainState {
    return this.#state.toPlain()
  }

  apply(command: Command): PlainEffect[] {
    this.#effects = []
    this.#grantsLeft = this.#grantsPerCommand
    this.#unfinishedKeys = []
    switch (command.type) {
      case 'raiseFenceFloor':
        if (command.fence > this.#state.fence) this.#state.fence = command.fence
        break
      case 'quiet':
        this.#state.quiet = command.quiet
        for (const key of this.#state.inUse) this.#grantWaiters(key, command.at)
        break
      case 'restart':
        this.#restart(command)
        this.#unfinishedKeys.push(...this.#state.inUse)
        break
      case 'grantUnfinishedKeys':
        for (const key of command.keys) this.#grantWaiters(key, command.at)
        break
      case 'open':
        this.#open(command)
        break
      case 'resume':
        this.#resume(command)
        break
      case 'end':
        if (this.#state.session(command.session)?.attachEpoch === command.attachEpoch) {
          this.#end(command.session, command.reason, command.at)
        }
        break
      case 'timeout':
        this.#barriers.giveUp(command.session, command.request, 'timeout')
        this.#withdraw(command.session, command.request, 'timeout', 'LOCK_TIMEOUT', command.at)
        break
      case 'expire': {
        const lock = this.#state.lock(command.session, command.fence)
        if (lock !== undefined && lock.generation === command.generation) {
          this.#release([lock], 'expired')
          this.#grantWaiters(lock.key, command.at)
        }
        break
      }
      default:
        this.#applySessionCommand(command)
    }
    const usedKeys = [...this.#state.locks, ...this.#state.waitingRequests].map(({ key }) => key)
    this.#state.inUse = [
      ...new Set([...this.#state.inUse.filter((key) => usedKeys.includes(key)), ...usedKeys]),
    ]
    for (const key of new Set(this.#unfinishedKeys)) {
      const first = this.#state.waitingRequests.find((wait) => wait.key === key)
      const isReady =
        first !== undefined && this.#state.canHold(key, first.mode) && !this.#state.quiet
      if (isReady) this.#effects.push({ kind: 'unfinished', request: first })
    }
    return this.#effects
  }

  /**
   * Applies a command of a client. The model ignores a command that did not come on the present
   * connection of its session.
   */
  #applySessionCommand(
    command: CommandOf<
      | 'suspend'
      | 'lock'
      | 'unlock'
      | 'refresh'
      | 'revoke'
      | 'barrier'
      | 'cancel'
      | 'ack'
      | 'confirm'
    >,
  ): void {
    const session = this.#state.session(command.session)
    if (session === undefined || session.suspended || session.attachEpoch !== command.attachEpoch)
      return
    if (command.type === 'suspend') {
      this.#suspend(session, command)
      return
    }
    // The client sends on this connection, so it has the new secret, and the former secret is
    // invalid.
    if (session.nextSecret !== undefined) session.secret = session.nextSecret
    session.nextSecret = undefined
    if (command.type === 'confirm') return
    if (command.type === 'cancel') {
      this.#barriers.giveUp(session.id, command.request, 'aborted')
      this.#withdraw(session.id, command.request, 'aborted', 'ABORTED', command.at)
    } else if (command.type === 'ack') {
      session.answers = session.answers.filter(([id]) => !command.ids.includes(id))
      this.#effects.push({ kind: 'acknowledged', session: session.id })
    } else if (command.id <= session.lastId) {
      this.#repeat(session, command.id, command.type)
    } else if (session.grace > 0 && session.answers.length >= session.limits.answers) {
      this.#refuse(session, command.id, 'QUOTA_EXCEEDED')
    } else if (command.type === 'lock') {
      this.#request(session, command)
    } else if (command.type === 'barrier') {
      this.#barriers.arrive(session, command)
    } else {
      this.#applyToLock(session, command)
    }
  }

  // -------------------------------------------------------------------------------- sessions

  #open(command: CommandOf<'open'>): void {
    this.#state.sessions.push({
      id: command.session,
      principal: command.principal,
      name: command.name,
      grace: command.grace,
      limits: command.limits,
      ownerBroker: command.ownerBroker,
      secret: command.secret,
      ...{ attachEpoch: 1, suspended: false, nextSecret: undefined, lastId: 0, answers: [] },
      acceptedResume: undefined,
      allRevocations: [],
    })
    this.#effects.push({
      kind: 'opened',
      session: command.session,
      handshakeId: command.handshakeId,
    })
  }

  #resume(command: CommandOf<'resume'>): void {
    const { session: id, ownerBroker, handshakeId, proof, secret } = command
    const session = this.#state.session(id)
    if (session === undefined || !acceptsResume(session, command)) {
      this.#effects.push({ kind: 'refused', handshakeId })
      return
    }
    session.acceptedResume = command
    session.secret = proof
    session.nextSecret = secret
    session.attachEpoch += 1
    session.suspended = false
    if (session.ownerBroker !== ownerBroker) this.#takeOwnership(session, ownerBroker)
    const { attachEpoch, answers } = session
    this.#effects.push({
      kind: 'resumed',
      session: id,
      handshakeId,
      attachEpoch,
      answers: answers.map(([request, answer]) => [request, answer] as const),
    })
  }

  #suspend(session: ModelSession, { keep, at }: CommandOf<'suspend'>): void {
    if (session.grace === 0 && !keep) {
      this.#end(session.id, 'dropped', at)
      return
    }
    this.#suspendSession(session, keep, at)
  }

  #suspendSession(session: ModelSession, keep: boolean, at: number): void {
    session.suspended = true
    // No client can resume the session and receive the answers to these requests.
    const keys = session.grace === 0 ? this.#withdrawAll(session.id) : []
    for (const key of keys) this.#grantWaiters(key, at)
    this.#effects.push({ kind: 'suspended', session: session.id, keep })
  }

  /**
   * Moves the sessions of a broker that is gone to a new owner broker. Their connections are lost,
   * and all their deadlines start again in full.
   */
  #restart({ formerOwner, ownerBroker, at }: CommandOf<'restart'>): void {
    const sessions = this.#state.sessions.filter(
      (session) => formerOwner === undefined || formerOwner === session.ownerBroker,
    )
    for (const session of sessions) this.#takeOwnership(session, ownerBroker)
    for (const session of sessions) this.#suspendSession(session, true, at)
  }

  #takeOwnership(session: ModelSession, ownerBroker: string): void {
    const withDeadlines = this.#state.takeOwnership(session, ownerBroker)
    this.#effects.push(
      ...withDeadlines.map(
        (lockOrRequest) => ({ kind: 'deadlineRestarted', lockOrRequest }) as const,
      ),
    )
  }

  #end(id: string, reason: string, at: number): void {
    const keys = this.#withdrawAll(id)
    const held = this.#state.locks.filter((lock) => lock.session === id)
    this.#release(held, 'ended')
    for (const key of [...keys, ...held.map((lock) => lock.key)]) this.#grantWaiters(key, at)
    removeFirst(this.#state.sessions, (session) => session.id === id)
    this.#effects.push({ kind: 'ended', session: id, reason })
  }

  /** Withdraws every request of a session. Returns the keys of these requests. */
  #withdrawAll(id: string): string[] {
    const requests = this.#state.waitingRequests.filter((wait) => wait.session === id)
    for (const request of requests) {
      removeFirst(this.#state.waitingRequests, (wait) => wait === request)
      this.#effects.push({ kind: 'withdrawn', request, reason: 'ended' })
    }
    this.#barriers.leave(id)
    return requests.map((wait) => wait.key)
  }

  // -------------------------------------------------------------------------------- requests

  #request(session: ModelSession, command: CommandOf<'lock'>): void {
    const { id, key, mode, ttl, timeout, metadata, at } = command
    const holders = this.#state.locks.filter((lock) => lock.key === key)
    const queue = this.#state.waitingRequests.filter((wait) => wait.key === key)
    const mayGrantNow = this.#state.canHold(key, mode) && queue.length === 0 && !this.#state.quiet
    if (this.#state.requestCount(session.id) >= session.limits.locks) {
      this.#refuse(session, id, 'QUOTA_EXCEEDED')
      return
    }
    const request = { session: session.id, id, key, mode, ttl, timeout, metadata, since: at }
    if (command.steal || mayGrantNow) {
      session.lastId = id
      if (command.steal) this.#release(holders, 'stolen')
      this.#grant(request, false, at)
    } else if (timeout === 0) {
      session.lastId = id
      this.#answer(session, id, this.#state.failureWithHolders(session, key, 'LOCK_HELD'), 'lock')
    } else if (queue.length >= session.limits.waitersPerKey) {
      this.#refuse(session, id, 'QUOTA_EXCEEDED')
    } else {
      session.lastId = id
      this.#state.waitingRequests.push(request)
      this.#effects.push({ kind: 'queued', request })
    }
  }

  /** Withdraws a waiting request, and answers the request with an error. */
  #withdraw(id: string, request: number, reason: string, code: ErrorCode, at: number): void {
    const wait = this.#state.waitingRequests.find(
      (waiting) => waiting.session === id && waiting.id === request,
    )
    if (wait === undefined) return
    const session = this.#state.session(id)!
    const isTimeout = code === 'LOCK_TIMEOUT'
    const answer = isTimeout
      ? this.#state.failureWithHolders(session, wait.key, code)
      : ({ kind: 'failed', code } as const)
    removeFirst(this.#state.waitingRequests, (waiting) => waiting === wait)
    this.#effects.push({ kind: 'withdrawn', request: wait, reason })
    this.#grantWaiters(wait.key, at)
    this.#answer(session, request, answer, 'lock')
  }

  // ----------------------------------------------------------------------------------- locks

  #applyToLock(session: ModelSession, command: CommandOf<'unlock' | 'refresh' | 'revoke'>): void {
    session.lastId = command.id
    const ownLock = this.#state.lock(session.id, command.fence)
    const lock =
      command.type === 'revoke' ? this.#state.lockOn(command.key, command.fence) : ownLock
    if (lock === undefined) {
      const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
      this.#answer(session, command.id, answer, command.type)
    } else if (command.type !== 'refresh') {
      const [by, kind] = [session.id, command.type === 'revoke' ? 'revoked' : 'unlocked'] as const
      const note = command.type === 'revoke' ? command.note : ''
      if (kind === 'revoked') {
        this.#effects.push({ kind, lock: { ...lock }, by, note })
        this.#state.session(lock.session)!.allRevocations.push({ fence: lock.fence, note })
      }
      this.#release([lock], kind)
      this.#grantWaiters(lock.key, command.at)
      this.#answer(session, command.id, { kind }, command.type)
    } else {
      lock.generation += 1
      lock.ttl = command.ttl ?? lock.ttl
      this.#effects.push({ kind: 'refreshed', lock: { ...lock } })
      const answer = { kind: 'refreshed', fence: lock.fence } as const
      this.#answer(session, command.id, answer, 'refresh')
    }
  }

  #release(locks: readonly PlainLock[], reason: string): void {
    for (const lock of locks) {
      removeFirst(this.#state.locks, (held) => held === lock)
      this.#effects.push({ kind: 'released', lock: { ...lock }, reason })
    }
  }

  /**
   * Grants the lock to the first waiter of the queue, as long as the first waiter can hold the
   * lock.
   */
  #grantWaiters(key: string, at: number): void {
    for (;;) {
      const first = this.#state.waitingRequests.find((wait) => wait.key === key)
      if (first === undefined || !this.#state.canHold(key, first.mode) || this.#state.quiet) return
      if (this.#grantsLeft === 0) {
        this.#unfinishedKeys.push(key)
        return
      }
      this.#grantsLeft -= 1
      removeFirst(this.#state.waitingRequests, (wait) => wait === first)
      this.#grant(first, true, at)
    }
  }

  #grant(request: PlainRequest, waited: boolean, at: number): void {
    const { session, id, key, mode, ttl, metadata } = request
    this.#state.fence += 1
    const fence = this.#state.fence
    const lock = { session, id, key, mode, fence, ttl, generation: 0, metadata, since: at }
    this.#state.locks.push(lock)
    this.#store(this.#state.session(session)!, id, { kind: 'granted', fence }, 'lock')
    this.#effects.push({ kind: 'granted', lock: { ...lock }, waited })
  }

  // --------------------------------------------------------------------------------- answers

  #answer(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    this.#store(session, id, answer, requestType)
    this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: false })
  }

  #store(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void {
    if (session.grace > 0) session.answers.push([id, answer, requestType])
  }

  #refuse(session: ModelSession, id: number, code: ErrorCode): void {
    const answer = { kind: 'failed', code } as const
    this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: true })
  }

  /** Repeats the stored answer to a request id, if the repeated request has the same type. */
  #repeat(session: ModelSession, id: number, type: string): void {
    const stored = session.answers.find(([answeredId]) => answeredId === id)
    const waitsLike = (wait: { session: string; id: number }) =>
      wait.session === session.id && wait.id === id
    const waits =
      type === 'barrier'
        ? this.#state.barrierCalls.some(waitsLike)
        : type === 'lock' && this.#state.waitingRequests.some(waitsLike)
    if (stored !== undefined && stored[2] === type) {
      const [, answer] = stored
      this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: true })
    } else if (!waits) {
      this.#refuse(session, id, 'BAD_MESSAGE')
    }
  }
}
