/**
 * The model of the lock table, as simple as possible. The model searches flat lists from end to end
 * and follows the rules of PROTOCOL.md one by one. The model shares no code and no algorithm with
 * the real table, so the model and the table are unlikely to have the same mistake.
 *
 * Each part of the model has the rules of some commands: `modelSessions.ts`, `modelRequests.ts`,
 * `modelBarriers.ts` and `modelUpgrades.ts`. This file passes each command to its part, and has the
 * rules of the other commands. `modelGranter.ts` grants and releases locks for all parts.
 *
 * A command emits its withdrawals first, then releases, then grants, and its answer last. The
 * grants come key by key, in the order in which the keys were affected. The `once` calls that wait
 * for a result are withdrawn and answered among the grants.
 *
 * Terms: a fence is the number of a grant. A grace is how long a session survives without a
 * connection. A ttl is how long a lock lasts without a refresh. A quiet table grants only steals. A
 * set is one lock on several keys. A scope is one logical task of a session.
 */
import type {
  ClientCommand,
  Command,
  CompleteOnce,
  Proclaim,
  Refresh,
  RevokeLock,
  SuspendSession,
  Unlock,
} from '@holdfast/server/core'
import { ModelAnswers } from './modelAnswers.js'
import { ModelBarriers } from './modelBarriers.js'
import { ModelGranter } from './modelGranter.js'
import { ModelRequests } from './modelRequests.js'
import { ModelResults } from './modelResults.js'
import { ModelSessions } from './modelSessions.js'
import { keysOf, type ModelSession, ModelState } from './modelState.js'
import { ModelUpgrades } from './modelUpgrades.js'
import type { PlainEffect, PlainLock, PlainState } from './plainValues.js'

export class Model {
  readonly #state = new ModelState()
  readonly #answers: ModelAnswers
  readonly #barriers: ModelBarriers
  readonly #results: ModelResults
  readonly #upgrades: ModelUpgrades
  readonly #granter: ModelGranter
  readonly #requests: ModelRequests
  readonly #sessions: ModelSessions
  /** The effects of the current command. */
  #effects: PlainEffect[] = []

  /** @param grantsPerCommand The largest number of waiters that one command grants. */
  constructor(grantsPerCommand: number) {
    const state = this.#state
    const effect = (newEffect: PlainEffect) => {
      this.#effects.push(newEffect)
    }
    const answers = new ModelAnswers(state, effect)
    const results = new ModelResults(state, effect)
    const barriers = new ModelBarriers(state, {
      effect,
      answer: (session, id, answer) => answers.answer(session, id, answer, 'barrier'),
      refuse: (session, id) => answers.refuse(session, id, 'QUOTA_EXCEEDED'),
      refuseParties: (session, id, mismatch) =>
        answers.refuse(session, id, 'CAPACITY_MISMATCH', mismatch),
    })
    // `granter` is made below, before any command calls these functions.
    const upgrades = new ModelUpgrades(state, {
      effect,
      answer: (session, id, answer, type) => answers.answer(session, id, answer, type),
      refuse: (session, id, code) => answers.refuse(session, id, code),
      release: (locks, reason) => granter.release(locks, reason),
      grantWaiters: (keys, at) => granter.grantWaiters(keys, at),
    })
    const granter = new ModelGranter(state, grantsPerCommand, {
      answers,
      results,
      upgrades,
      effect,
    })
    this.#answers = answers
    this.#results = results
    this.#barriers = barriers
    this.#upgrades = upgrades
    this.#granter = granter
    this.#requests = new ModelRequests(state, { answers, results, granter, effect })
    this.#sessions = new ModelSessions(state, { barriers, results, granter, effect })
  }

  /** The state of the model, for the comparison with the table. */
  state(): PlainState {
    return this.#state.toPlain()
  }

  /** Applies a command and returns its effects. */
  apply(command: Command): PlainEffect[] {
    this.#effects = []
    this.#granter.beginCommand()
    switch (command.type) {
      case 'raiseFenceFloor':
        if (command.fence > this.#state.fence) this.#state.fence = command.fence
        break
      case 'quiet':
        this.#state.quiet = command.quiet
        for (const key of this.#state.keysInUse) this.#granter.grantWaiters([key], command.at)
        break
      case 'restart':
        this.#sessions.restart(command)
        // The broker that is gone may have left any key unfinished.
        this.#granter.suspectAllKeys()
        break
      case 'forgetResult':
        this.#results.forget(command.key, command.fence)
        break
      case 'grantUnfinishedKeys':
        for (const key of command.keys) this.#granter.grantWaiters([key], command.at)
        break
      case 'open':
        this.#sessions.open(command)
        break
      case 'resume':
        this.#sessions.resume(command)
        break
      case 'end':
        this.#sessions.end(command)
        break
      case 'timeout': {
        const { session, request, at } = command
        // The id is that of a barrier call, an upgrade or a lock request, so two of these calls do
        // nothing.
        this.#barriers.giveUp(session, request, 'timeout')
        this.#upgrades.giveUp(session, request, 'timeout', 'LOCK_TIMEOUT', at)
        this.#requests.withdraw(session, request, 'timeout', 'LOCK_TIMEOUT', at)
        break
      }
      case 'endHold': {
        const lock = this.#state.findLock(command.session, command.fence)
        const ownerEpoch = this.#state.findSession(command.session)?.ownerEpoch
        if (lock?.maxHold !== undefined && ownerEpoch === command.ownerEpoch)
          this.#endLock(lock, 'maxHold', command.at)
        break
      }
      case 'expire': {
        const lock = this.#state.findLock(command.session, command.fence)
        const ownerEpoch = this.#state.findSession(command.session)?.ownerEpoch
        if (lock?.generation === command.generation && ownerEpoch === command.ownerEpoch)
          this.#endLock(lock, 'expired', command.at)
        break
      }
      default:
        this.#applySessionCommand(command)
    }
    // Keys that stay in use keep their places, and new keys come last.
    const usedKeys = [...this.#state.locks, ...this.#state.waitingRequests].map(({ key }) => key)
    this.#state.keysInUse = [
      ...new Set([...this.#state.keysInUse.filter((key) => usedKeys.includes(key)), ...usedKeys]),
    ]
    this.#granter.reportUnfinishedKeys()
    return this.#effects
  }

  /**
   * Applies a command of a client. The model ignores a command that did not come on the present
   * connection of its session.
   */
  #applySessionCommand(command: ClientCommand | SuspendSession): void {
    const session = this.#state.findSession(command.session)
    if (session === undefined || session.suspended || session.attachEpoch !== command.attachEpoch)
      return
    if (command.type === 'suspend') {
      this.#sessions.suspendOrEnd(session, command)
      return
    }
    // A message on this connection proves that the client has read `nextSecret`. The former secret
    // is now invalid.
    if (session.nextSecret !== undefined) session.secret = session.nextSecret
    session.nextSecret = undefined
    if (command.type === 'confirm') return
    if (command.type === 'cancel') {
      this.#barriers.giveUp(session.id, command.request, 'aborted')
      this.#upgrades.giveUp(session.id, command.request, 'aborted', 'ABORTED', command.at)
      this.#requests.withdraw(session.id, command.request, 'aborted', 'ABORTED', command.at)
    } else if (command.type === 'ack') {
      session.answers = session.answers.filter(([id]) => !command.ids.includes(id))
      this.#effects.push({ kind: 'acknowledged', session: session.id })
    } else if (command.id <= session.lastId) {
      // A stored answer has the type `lock` for a set or `once`, and `unlock` for a `complete`.
      const { type } = command
      const isSetOrOnce = type === 'lockAll' || type === 'once'
      this.#answers.repeat(
        session,
        command.id,
        isSetOrOnce ? 'lock' : type === 'complete' ? 'unlock' : type,
      )
    } else if (session.grace > 0 && session.answers.length >= session.limits.answers) {
      this.#answers.refuse(session, command.id, 'QUOTA_EXCEEDED')
    } else if (command.type === 'lock') {
      this.#requests.lock(session, command)
    } else if (command.type === 'lockAll') {
      this.#requests.lockAll(session, command)
    } else if (command.type === 'once') {
      this.#requests.once(session, command)
    } else if (command.type === 'complete') {
      this.#complete(session, command)
    } else if (command.type === 'barrier') {
      this.#barriers.arrive(session, command)
    } else if (command.type === 'proclaim') {
      this.#proclaim(session, command)
    } else if (command.type === 'upgrade') {
      this.#upgrades.upgrade(session, command)
    } else if (command.type === 'endScope') {
      this.#upgrades.endScope(session, command)
    } else if (command.type === 'downgrade') {
      this.#upgrades.downgrade(session, command)
    } else {
      this.#applyToLock(session, command)
    }
  }

  /** Applies a command that ends or refreshes a lock. */
  #applyToLock(session: ModelSession, command: Unlock | Refresh | RevokeLock): void {
    session.lastId = command.id
    const ownLock = this.#state.findLock(session.id, command.fence)
    const lock =
      command.type === 'revoke' ? this.#state.findLockOfKey(command.key, command.fence) : ownLock
    if (lock === undefined) {
      const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
      this.#answers.answer(session, command.id, answer, command.type)
    } else if (command.type !== 'refresh') {
      const kind = command.type === 'revoke' ? 'revoked' : 'unlocked'
      const note = command.type === 'revoke' ? command.note : ''
      if (kind === 'revoked') {
        this.#effects.push({ kind, lock: { ...lock }, by: session.id, note })
        this.#state.findSession(lock.session)!.allRevocations.push({ fence: lock.fence, note })
      }
      this.#endLock(lock, kind, command.at)
      this.#answers.answer(session, command.id, { kind }, command.type)
    } else {
      lock.generation += 1
      lock.ttl = command.ttl ?? lock.ttl
      this.#effects.push({ kind: 'refreshed', lock: { ...lock } })
      const answer = { kind: 'refreshed', fence: lock.fence } as const
      this.#answers.answer(session, command.id, answer, 'refresh')
    }
  }

  /** Ends the run of a `once`. `value` is the answer to each `once` that now waits for the key. */
  #complete(session: ModelSession, command: CompleteOnce): void {
    const { id, fence, value, keep, at } = command
    session.lastId = id
    const lock = this.#state.findLock(session.id, fence)
    if (lock?.once !== true) {
      this.#answers.answer(session, id, { kind: 'failed', code: 'LOCK_NOT_HELD' }, 'unlock')
      return
    }
    this.#granter.release([lock], 'unlocked')
    this.#results.complete(session, { key: lock.key, fence, value, keep })
    this.#granter.grantWaiters([lock.key], at)
    this.#answers.answer(session, id, { kind: 'unlocked' }, 'unlock')
  }

  /** Changes the value that the leader of an election announces. The leader keeps its lock. */
  #proclaim(session: ModelSession, { id, fence, value }: Proclaim): void {
    session.lastId = id
    const lock = this.#state.findLock(session.id, fence)
    if (lock?.election === undefined) {
      this.#answers.answer(session, id, { kind: 'failed', code: 'LOCK_NOT_HELD' }, 'proclaim')
      return
    }
    const formerValue = lock.election.value
    lock.election = { value }
    this.#effects.push({ kind: 'proclaimed', lock: { ...lock }, formerValue })
    this.#answers.answer(session, id, { kind: 'proclaimed' }, 'proclaim')
  }

  /** Ends a lock, or the whole set that the lock is a member of, and grants the waiters. */
  #endLock({ fence }: PlainLock, reason: string, at: number): void {
    const locks = this.#state.locksOf(fence)
    this.#granter.release(locks, reason)
    this.#granter.grantWaiters(keysOf(locks), at)
  }
}
