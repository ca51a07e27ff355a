/**
 * The lock table as simply as it can be said: three flat lists, searched from end to end, and one
 * rule after the other as PROTOCOL.md and the words of the effects have them. It shares no code and
 * no idea with the real table, which is what makes their agreement worth something.
 *
 * Several things that follow from one command come in this order: what left its queue, what was
 * released, who was granted (key by key, in the order in which they were left), the answer.
 */
import type { Command } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import { letsIn, type ModelSession, ModelState, remove } from './modelState.js'
import type { PlainAnswer, PlainEffect, PlainLock, PlainRequest, PlainState } from './plain.js'

type Of<T extends Command['type']> = Extract<Command, { type: T }>

export class Model {
  readonly #is = new ModelState()
  #effects: PlainEffect[] = []
  readonly #grantsAtOnce: number
  /** How many this command may still grant to. */
  #grantsLeft = 0
  /** Keys where somebody has to wait for the next command because of that. */
  #unfinished: string[] = []

  constructor(grantsAtOnce: number) {
    this.#grantsAtOnce = grantsAtOnce
  }

  state(): PlainState {
    return this.#is.toPlain()
  }

  apply(command: Command): PlainEffect[] {
    this.#effects = []
    this.#grantsLeft = this.#grantsAtOnce
    this.#unfinished = []
    switch (command.type) {
      case 'raise':
        if (command.fence > this.#is.fence) this.#is.fence = command.fence
        break
      case 'quiet':
        this.#is.quiet = command.quiet
        for (const key of this.#is.inUse) this.#serve(key, command.at)
        break
      case 'restart':
        this.#restart(command)
        this.#unfinished.push(...this.#is.inUse)
        break
      case 'serve':
        for (const key of command.keys) this.#serve(key, command.at)
        break
      case 'open':
        this.#open(command)
        break
      case 'resume':
        this.#resume(command)
        break
      case 'end':
        if (this.#is.session(command.session)?.attachEpoch === command.attachEpoch) {
          this.#end(command.session, command.reason, command.at)
        }
        break
      case 'timeout':
        this.#giveUp(command.session, command.request, 'timeout', 'LOCK_TIMEOUT', command.at)
        break
      case 'expire': {
        const lock = this.#is.lock(command.session, command.fence)
        if (lock !== undefined && lock.generation === command.generation) {
          this.#release([lock], 'expired')
          this.#serve(lock.key, command.at)
        }
        break
      }
      default:
        this.#hear(command)
    }
    const used = [...this.#is.locks, ...this.#is.waits].map((one) => one.key)
    this.#is.inUse = [...new Set([...this.#is.inUse.filter((key) => used.includes(key)), ...used])]
    for (const key of new Set(this.#unfinished)) {
      const first = this.#is.waits.find((wait) => wait.key === key)
      const isReady = first !== undefined && this.#is.canHold(key, first.mode) && !this.#is.quiet
      if (isReady) this.#effects.push({ kind: 'more', request: first })
    }
    return this.#effects
  }

  /** A command from a client: counts only on the connection that its session is on now. */
  #hear(
    command: Of<
      'suspend' | 'lock' | 'unlock' | 'refresh' | 'revoke' | 'cancel' | 'ack' | 'confirm'
    >,
  ): void {
    const session = this.#is.session(command.session)
    if (session === undefined || session.suspended || session.attachEpoch !== command.attachEpoch)
      return
    if (command.type === 'suspend') {
      this.#suspend(session, command)
      return
    }
    // It speaks, so it has read its welcome: the former secret has done its duty.
    if (session.nextSecret !== undefined) session.secret = session.nextSecret
    session.nextSecret = undefined
    if (command.type === 'confirm') return
    if (command.type === 'cancel') {
      this.#giveUp(session.id, command.request, 'aborted', 'ABORTED', command.at)
    } else if (command.type === 'ack') {
      session.answers = session.answers.filter(([id]) => !command.ids.includes(id))
      this.#effects.push({ kind: 'acknowledged', session: session.id })
    } else if (command.id <= session.lastId) {
      this.#repeat(session, command.id, command.type)
    } else if (session.grace > 0 && session.answers.length >= session.limits.answers) {
      this.#refuse(session, command.id, 'QUOTA_EXCEEDED')
    } else if (command.type === 'lock') {
      this.#request(session, command)
    } else {
      this.#useFence(session, command)
    }
  }

  // -------------------------------------------------------------------------------- sessions

  #open(command: Of<'open'>): void {
    this.#is.sessions.push({
      id: command.session,
      principal: command.principal,
      name: command.name,
      grace: command.grace,
      limits: command.limits,
      home: command.ownerBroker,
      secret: command.secret,
      ...{ attachEpoch: 1, suspended: false, nextSecret: undefined, lastId: 0, answers: [] },
      shown: undefined,
      revoked: [],
    })
    this.#effects.push({ kind: 'opened', session: command.session, attempt: command.handshakeId })
  }

  #resume(command: Of<'resume'>): void {
    const { session: id, ownerBroker, handshakeId, proof, secret } = command
    const session = this.#is.session(id)
    if (session === undefined || !letsIn(session, command)) {
      this.#effects.push({ kind: 'refused', attempt: handshakeId })
      return
    }
    session.shown = command
    session.secret = proof
    session.nextSecret = secret
    session.attachEpoch += 1
    session.suspended = false
    if (session.home !== ownerBroker) this.#adopt(session, ownerBroker)
    const { attachEpoch, answers } = session
    this.#effects.push({
      kind: 'resumed',
      session: id,
      attempt: handshakeId,
      attachEpoch,
      answers: answers.map(([request, answer]) => [request, answer] as const),
    })
  }

  #suspend(session: ModelSession, { keep, at }: Of<'suspend'>): void {
    if (session.grace === 0 && !keep) {
      this.#end(session.id, 'dropped', at)
      return
    }
    this.#setAside(session, keep, at)
  }

  #setAside(session: ModelSession, keep: boolean, at: number): void {
    session.suspended = true
    // Nobody can come back for what it waits for.
    const left = session.grace === 0 ? this.#leave(session.id) : []
    for (const key of left) this.#serve(key, at)
    this.#effects.push({ kind: 'suspended', session: session.id, keep })
  }

  /** Nobody there is connected any more, and whatever was to happen has its whole time again. */
  #restart({ formerOwner, ownerBroker, at }: Of<'restart'>): void {
    const all = this.#is.sessions.filter(
      (one) => formerOwner === undefined || formerOwner === one.home,
    )
    for (const session of all) this.#adopt(session, ownerBroker)
    for (const session of all) this.#setAside(session, true, at)
  }

  #adopt(session: ModelSession, home: string): void {
    const records = this.#is.begin(session, home)
    this.#effects.push(...records.map((record) => ({ kind: 'adopted', record }) as const))
  }

  #end(id: string, reason: string, at: number): void {
    const left = this.#leave(id)
    const held = this.#is.locks.filter((lock) => lock.session === id)
    this.#release(held, 'ended')
    for (const key of [...left, ...held.map((lock) => lock.key)]) this.#serve(key, at)
    remove(this.#is.sessions, (session) => session.id === id)
    this.#effects.push({ kind: 'ended', session: id, reason })
  }

  /** Takes a session out of every queue; returns the keys. */
  #leave(id: string): string[] {
    const waits = this.#is.waits.filter((wait) => wait.session === id)
    for (const request of waits) {
      remove(this.#is.waits, (wait) => wait === request)
      this.#effects.push({ kind: 'withdrawn', request, reason: 'ended' })
    }
    return waits.map((wait) => wait.key)
  }

  // -------------------------------------------------------------------------------- requests

  #request(session: ModelSession, command: Of<'lock'>): void {
    const { id, key, mode, ttl, timeout, metadata, at } = command
    const holders = this.#is.locks.filter((lock) => lock.key === key)
    const queue = this.#is.waits.filter((wait) => wait.key === key)
    const free = this.#is.canHold(key, mode) && queue.length === 0 && !this.#is.quiet
    if (this.#is.load(session.id) >= session.limits.locks) {
      this.#refuse(session, id, 'QUOTA_EXCEEDED')
      return
    }
    const request = { session: session.id, id, key, mode, ttl, timeout, metadata, since: at }
    if (command.steal || free) {
      session.lastId = id
      if (command.steal) this.#release(holders, 'stolen')
      this.#grant(request, false, at)
    } else if (timeout === 0) {
      session.lastId = id
      this.#answer(session, id, this.#is.blame(session, key, 'LOCK_HELD'), 'lock')
    } else if (queue.length >= session.limits.waitersPerKey) {
      this.#refuse(session, id, 'QUOTA_EXCEEDED')
    } else {
      session.lastId = id
      this.#is.waits.push(request)
      this.#effects.push({ kind: 'queued', request })
    }
  }

  /** A request that waits comes to nothing. */
  #giveUp(id: string, request: number, reason: string, code: ErrorCode, at: number): void {
    const wait = this.#is.waits.find((one) => one.session === id && one.id === request)
    if (wait === undefined) return
    const session = this.#is.session(id)!
    const isTimeout = code === 'LOCK_TIMEOUT'
    const answer = isTimeout
      ? this.#is.blame(session, wait.key, code)
      : ({ kind: 'failed', code } as const)
    remove(this.#is.waits, (one) => one === wait)
    this.#effects.push({ kind: 'withdrawn', request: wait, reason })
    this.#serve(wait.key, at)
    this.#answer(session, request, answer, 'lock')
  }

  // ----------------------------------------------------------------------------------- locks

  #useFence(session: ModelSession, command: Of<'unlock' | 'refresh' | 'revoke'>): void {
    session.lastId = command.id
    const own = this.#is.lock(session.id, command.fence)
    const lock = command.type === 'revoke' ? this.#is.lockOn(command.key, command.fence) : own
    if (lock === undefined) {
      const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
      this.#answer(session, command.id, answer, command.type)
    } else if (command.type !== 'refresh') {
      const [by, kind] = [session.id, command.type === 'revoke' ? 'revoked' : 'unlocked'] as const
      const note = command.type === 'revoke' ? command.note : ''
      if (kind === 'revoked') {
        this.#effects.push({ kind, lock: { ...lock }, by, note })
        this.#is.session(lock.session)!.revoked.push({ fence: lock.fence, note })
      }
      this.#release([lock], kind)
      this.#serve(lock.key, command.at)
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
      remove(this.#is.locks, (one) => one === lock)
      this.#effects.push({ kind: 'released', lock: { ...lock }, reason })
    }
  }

  /** First come, first served: as long as whoever is first can hold, it holds. */
  #serve(key: string, at: number): void {
    for (;;) {
      const first = this.#is.waits.find((wait) => wait.key === key)
      if (first === undefined || !this.#is.canHold(key, first.mode) || this.#is.quiet) return
      if (this.#grantsLeft === 0) {
        this.#unfinished.push(key)
        return
      }
      this.#grantsLeft -= 1
      remove(this.#is.waits, (wait) => wait === first)
      this.#grant(first, true, at)
    }
  }

  #grant(request: PlainRequest, waited: boolean, at: number): void {
    const { session, id, key, mode, ttl, metadata } = request
    this.#is.fence += 1
    const fence = this.#is.fence
    const lock = { session, id, key, mode, fence, ttl, generation: 0, metadata, since: at }
    this.#is.locks.push(lock)
    this.#store(this.#is.session(session)!, id, { kind: 'granted', fence }, 'lock')
    this.#effects.push({ kind: 'granted', lock: { ...lock }, waited })
  }

  // --------------------------------------------------------------------------------- answers

  #answer(session: ModelSession, id: number, answer: PlainAnswer, asked: string): void {
    this.#store(session, id, answer, asked)
    this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: false })
  }

  #store(session: ModelSession, id: number, answer: PlainAnswer, asked: string): void {
    if (session.grace > 0) session.answers.push([id, answer, asked])
  }

  #refuse(session: ModelSession, id: number, code: ErrorCode): void {
    const answer = { kind: 'failed', code } as const
    this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: true })
  }

  /** An id that was used before: the same type of request gets the same answer, if it has one. */
  #repeat(session: ModelSession, id: number, type: string): void {
    const stored = session.answers.find(([one]) => one === id)
    const waits = this.#is.waits.some((wait) => wait.session === session.id && wait.id === id)
    if (stored !== undefined && stored[2] === type) {
      const [, answer] = stored
      this.#effects.push({ kind: 'answer', session: session.id, id, answer, repeat: true })
    } else if (!(waits && type === 'lock')) {
      this.#refuse(session, id, 'BAD_MESSAGE')
    }
  }
}
