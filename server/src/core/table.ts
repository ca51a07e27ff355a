/**
 * The lock table: all sessions, locks and waiting requests of a broker, as a pure state machine.
 *
 * `apply(command)` changes the table and returns the effects. `apply` is synchronous and
 * deterministic. The table uses no socket, timer, clock, random number, id generator or log. So a
 * broker that replays the commands of its command log rebuilds the same table. All brokers that
 * share a command log have equal tables.
 *
 * This file itself executes `ack`, and the commands on held locks and on scopes. Other files
 * execute the other commands:
 * - `sessions.ts`: sessions begin, resume, are suspended and end.
 * - `requests.ts`: new requests are granted immediately, wait or are refused.
 * - `granter.ts`: locks and requests enter and leave the table, and waiters are granted.
 * - `barriers.ts`, `elections.ts` and `results.ts`: barriers, leaders and results of `once`.
 *
 * The rules of the table, and the methods that enforce each rule:
 * - Exclusion: a lock is granted only if `KeyState.admits` its mode (`RequestHandler.#requestLock`,
 *   `decideSet` in `lockSets.ts`, `Granter.#isReady`).
 * - First come, first served: no request except a steal or an upgrade is granted past a queue
 *   (`RequestHandler.#requestLock`, `decideSet`, `Granter.#grantWaitersOf`).
 * - The command that ends a lock or a request also grants the waiters behind it, in a loop and
 *   never by recursion (`Granter.release`, `Granter.withdraw`).
 * - A request whose id is repeated gets its first answer and is never executed twice
 *   (`Responder.accepts`).
 * - A command from a replaced connection changes nothing (`SessionTable.currentSession`).
 * - A set (a lock on several keys) is granted on all keys in one step, as soon as each request of
 *   the set is admitted and first in its queue (`Granter.#isReady`, `Granter.#grantSet`).
 * - A `once` asks for the value of a function. While another caller runs the function, the `once`
 *   waits in the queue. After the run, the `once` gets the value and leaves the queue. The other
 *   requests stay in their order (`LockTable.#complete`, `Granter.#answerFollowers`).
 * - One command grants a limited number of waiters; the command `grantUnfinishedKeys` grants the
 *   rest (`Granter.#grantWaitersOf`, `Granter.grantUnfinishedKeys`).
 * - An upgrade is granted when its lock is the only lock of the key, before all waiters
 *   (`decideUpgrade` in `upgrades.ts`, `Granter.#grantWaitersOf`).
 * - The fence (number) of a grant is higher than every earlier fence (`Granter.nextFence`,
 *   `Granter.#grantWaitersOf`, `Granter.#grantSet`, `Granter.grantUpgrade`).
 */
import { BarrierTable } from './barriers.js'
import type { ChangeListener } from './changeListener.js'
import type * as ClientCommands from './clientCommands.js'
import { type Command, type EndHold, type ExpireLock, unknownCommand } from './commands.js'
import type { Effect } from './effects.js'
import { proclaim } from './elections.js'
import { Granter, type LockTotals } from './granter.js'
import { KeyTable } from './keyTable.js'
import type { Walk } from './orderedList.js'
import type { Lock, Session } from './records.js'
import { RequestHandler } from './requests.js'
import { Responder } from './responder.js'
import { ResultTable } from './results.js'
import { SessionTable } from './sessions.js'
import type { KeptResult } from './sharedResults.js'
import { fixedAnswers, forgetAnswers } from './storedAnswers.js'
import { canChangeMode, requestTypeOfWaiter } from './upgrades.js'

/** The contents of a table that is restored from a snapshot. */
export interface TableContents {
  readonly sessions: Map<string, Session>
  readonly keys: KeyTable
  readonly barriers: BarrierTable
  readonly results: ResultTable
  readonly fence: number
  /** See {@link LockTable.quiet}. */
  readonly quiet: boolean
  readonly totals: LockTotals
}

/**
 * The maximum number of waiters that one command grants. Because of this limit, the table grants
 * 100,000 waiting shared requests in several short turns of the event loop.
 */
const defaultGrantsPerCommand = 1_000
/** The totals of a new table. */
const emptyTotals: LockTotals = { held: 0, waiting: 0, bytes: 0 }

export class LockTable {
  readonly #responder = new Responder()
  readonly #barriers: BarrierTable
  readonly #results: ResultTable
  readonly #granter: Granter
  readonly #sessions: SessionTable
  readonly #requests: RequestHandler

  /**
   * @param contents The contents to begin with. Default: none.
   * @param grantsPerCommand The maximum number of waiters that one command grants. This number must
   *   be equal at every broker.
   */
  constructor(contents?: TableContents, grantsPerCommand = defaultGrantsPerCommand) {
    const responder = this.#responder
    const { keys = new KeyTable(), fence = 0, quiet = false, totals = emptyTotals } = contents ?? {}
    const barriers = contents?.barriers ?? new BarrierTable()
    const results = contents?.results ?? new ResultTable()
    const granter = new Granter(
      responder,
      results,
      { keys, fence, quiet, ...totals },
      grantsPerCommand,
    )
    const deps = { responder, granter, barriers, results }
    const sessions = new SessionTable(deps, contents?.sessions ?? new Map())
    this.#barriers = barriers
    this.#results = results
    this.#granter = granter
    this.#sessions = sessions
    this.#requests = new RequestHandler({ ...deps, sessions })
  }

  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions.byId
  }

  /** The keys in use, each with its holders and its queue. */
  get keys(): Pick<KeyTable, 'size' | 'get' | 'values' | 'walk' | 'idleBytes'> {
    return this.#granter.keys
  }

  /** The barriers at which calls wait. */
  get barriers(): Pick<BarrierTable, 'size' | 'callCount' | 'get' | 'values' | 'walk'> {
    return this.#barriers
  }

  /**
   * Maps each key to the result that the table keeps for later `once` calls. The oldest result
   * comes first.
   */
  get keptResults(): ResultTable['kept'] {
    return this.#results.kept
  }

  /** Starts a walk over the kept results. The walk may pause while the results change. */
  walkKeptResults(): Walk<KeptResult> {
    return this.#results.walk()
  }

  /** The highest fence so far. */
  get fence(): number {
    return this.#granter.fence
  }

  /** The number of held locks. */
  get heldCount(): number {
    return this.#granter.heldCount
  }

  /** The number of waiting requests. */
  get waitingCount(): number {
    return this.#granter.waitingCount
  }

  /**
   * Bytes of memory for sessions, locks, requests, keys in use, barriers, results and stored
   * answers, as `weights.ts` estimates them. The number is equal at every broker.
   */
  get bytes(): number {
    const recordBytes = this.#sessions.bytes + this.#granter.bytes + this.#granter.keys.bytes
    return recordBytes + this.#barriers.bytes + this.#results.bytes + this.#responder.bytes
  }

  /**
   * The cost of all checks for deadlocks, as a number of visits. A check visits scopes (logical
   * tasks of clients) and sets (locks on several keys) that wait. This number is not part of the
   * state of the table. The broker charges the visits to the client that caused the check.
   */
  get visitCount(): number {
    return this.#requests.visitCount
  }

  /**
   * Whether the table grants only requests that steal a lock. True during the quiet start of a
   * broker that lost its table in a restart.
   */
  get quiet(): boolean {
    return this.#granter.quiet
  }

  /**
   * Calls a listener before each change of a record. A gradual snapshot adds a listener when it
   * begins, and removes the listener when it ends.
   *
   * @throws {Error} if the table has a listener already.
   */
  addChangeListener(listener: ChangeListener): void {
    if (this.#responder.changeListener !== undefined)
      throw new Error('another snapshot of this table is under way: end it first')
    this.#setChangeListener(listener)
  }

  /** Stops calling this listener. */
  removeChangeListener(listener: ChangeListener): void {
    if (this.#responder.changeListener === listener) this.#setChangeListener(undefined)
  }

  #setChangeListener(listener: ChangeListener | undefined): void {
    this.#responder.changeListener = listener
    this.#granter.onListenerChanged()
  }

  /** Executes a command. Returns its effects, in order. */
  apply(command: Command): readonly Effect[] {
    this.#responder.effects = []
    if (this.#responder.changeListener !== undefined) this.#beforeCommand(command)
    this.#execute(command)
    this.#granter.endCommand()
    return this.#responder.effects
  }

  /**
   * Tells the listener that the session of the command may change. Nearly every command changes
   * its session.
   */
  #beforeCommand(command: Command): void {
    if (!('session' in command)) return
    const session = this.#sessions.byId.get(command.session)
    if (session !== undefined) this.#responder.changeListener!.beforeSessionChange(session)
  }

  #execute(command: Command): void {
    switch (command.type) {
      case 'lock':
        this.#requests.lock(command)
        break
      case 'lockAll':
        this.#requests.lockAll(command)
        break
      case 'once':
        this.#requests.once(command)
        break
      case 'complete':
        this.#complete(command)
        break
      case 'upgrade':
        this.#upgrade(command)
        break
      case 'downgrade':
        this.#downgrade(command)
        break
      case 'endScope':
        this.#endScope(command)
        break
      case 'unlock':
        this.#unlock(command)
        break
      case 'refresh':
        this.#refresh(command)
        break
      case 'revoke':
        this.#revoke(command)
        break
      case 'barrier':
        this.#arriveAtBarrier(command)
        break
      case 'proclaim':
        this.#proclaim(command)
        break
      case 'cancel':
        this.#requests.cancel(command)
        break
      case 'ack':
        this.#acknowledge(command)
        break
      case 'confirm':
        // The only effect of a `confirm` is that of every command from a client: `currentSession`
        // makes the former secret invalid.
        this.#sessions.currentSession(command)
        break
      default:
        this.#executeOther(command)
    }
  }

  /** Executes a command that comes from a timer, the broker or a change of connection. */
  #executeOther(command: Exclude<Command, ClientCommands.ClientCommand>): void {
    switch (command.type) {
      case 'forgetResult':
        this.#results.forget(this.#responder, command)
        break
      case 'timeout':
        this.#requests.timeOut(command)
        break
      case 'expire':
      case 'endHold':
        this.#expire(command)
        break
      case 'open':
        this.#sessions.open(command)
        break
      case 'resume':
        this.#sessions.resume(command)
        break
      case 'suspend':
        this.#sessions.suspend(command)
        break
      case 'end':
        this.#sessions.end(command)
        break
      case 'quiet':
        this.#granter.setQuiet(command, this.#sessions.byId.values())
        break
      // A broker takes over the sessions of a broker that has ended, or of its own former run.
      case 'restart':
        this.#sessions.takeOver(command)
        break
      case 'raiseFenceFloor':
        this.#granter.raiseFenceFloor(command)
        break
      case 'grantUnfinishedKeys':
        this.#granter.grantUnfinishedKeys(command)
        break
      default:
        throw unknownCommand(command)
    }
  }

  #arriveAtBarrier(command: ClientCommands.ArriveAtBarrier): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session !== undefined) this.#barriers.arrive(this.#responder, session, command)
  }

  /**
   * The lock that the command names. Returns undefined if the session does not hold the lock, or if
   * `sessionOfNewRequest` returns no session. The caller then has nothing more to do, because the
   * command was answered or its connection was replaced.
   */
  #heldLock(
    command:
      | ClientCommands.Unlock
      | ClientCommands.Refresh
      | ClientCommands.UpgradeLock
      | ClientCommands.DowngradeLock,
  ): Lock | undefined {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return undefined
    const lock = session.held.get(command.fence)
    if (lock !== undefined) return lock
    session.lastId = command.id
    this.#responder.answer(session, command.id, fixedAnswers.notHeld[command.type])
    return undefined
  }

  #upgrade(command: ClientCommands.UpgradeLock): void {
    const lock = this.#heldLock(command)
    if (lock !== undefined) this.#requests.upgrade(lock, command)
  }

  #downgrade(command: ClientCommands.DowngradeLock): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    if (!canChangeMode(lock)) {
      this.#responder.refuseFault(session, command.id, 'fixedMode')
      return
    }
    session.lastId = command.id
    if (lock.mode === 'exclusive') {
      this.#responder.changeListener?.beforeKeyChange(lock.keyState)
      lock.mode = 'shared'
      this.#responder.effects.push({ kind: 'downgraded', lock })
      this.#granter.grantWaiters(lock.keyState, command.at)
    }
    this.#responder.answer(session, command.id, fixedAnswers.downgraded)
  }

  /** Ends a scope. Removes its request and its locks first, and grants waiters afterwards. */
  #endScope(command: ClientCommands.EndScope): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    session.lastId = command.id
    const scope = session.scopes?.get(command.scope)
    const request = scope?.waiting
    if (request !== undefined) {
      this.#granter.addToWorklist(request.keyState)
      this.#granter.removeRequest(request, 'aborted')
      this.#responder.answer(session, request.id, {
        kind: 'failed',
        code: 'ABORTED',
        request: requestTypeOfWaiter(request),
      })
    }
    // The locks end in the order of their fences, so that all brokers have the same order. A table
    // that was restored from a snapshot has the locks of a scope in another order.
    for (const lock of [...(scope?.locks ?? [])].sort((a, b) => a.fence - b.fence)) {
      // All locks of a set end together with its primary lock, the lock of the set's first key.
      if (!lock.isPrimary) continue
      this.#granter.addToWorklist(lock.keyState)
      this.#granter.removeLock(lock, 'unlocked')
    }
    this.#granter.grantWorklist(command.at)
    this.#responder.answer(session, command.id, fixedAnswers.scopeEnded)
  }

  #unlock(command: ClientCommands.Unlock): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    session.lastId = command.id
    // Grant the next waiter before this answer, because another client waits for the grant.
    this.#granter.release(lock, 'unlocked', command.at)
    this.#responder.answer(session, command.id, fixedAnswers.unlocked)
  }

  /**
   * Releases the lock of a `once`. Answers the followers (the waiting `once` calls) before it
   * grants the next lock request in the queue. Otherwise, a follower behind this request would
   * wait until the granted lock ends.
   */
  #complete(command: ClientCommands.CompleteOnce): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock?.extras?.once === undefined) {
      // In answers, a `complete` counts as an `unlock`.
      this.#responder.answer(session, command.id, fixedAnswers.notHeld.unlock)
      return
    }
    this.#granter.removeLock(lock, 'unlocked')
    this.#results.complete(this.#responder, lock, command)
    this.#granter.grantWaiters(lock.keyState, command.at)
    this.#responder.answer(session, command.id, fixedAnswers.unlocked)
  }

  #refresh(command: ClientCommands.Refresh): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    session.lastId = command.id
    this.#responder.changeListener?.beforeKeyChange(lock.keyState)
    if (command.ttl !== undefined) {
      // Check before the assignment, because the assignment makes the lock timed.
      if (!lock.isTimed) session.timedLockCount++
      lock.ttl = command.ttl
    }
    // From now on the table ignores an `expire` that was proposed before this refresh, because that
    // `expire` names the former generation.
    lock.generation++
    this.#responder.effects.push({ kind: 'refreshed', lock })
    this.#responder.answer(session, command.id, { kind: 'refreshed', fence: lock.fence })
  }

  #proclaim(command: ClientCommands.Proclaim): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    // `proclaim` returns the change in bytes. The granter counts these bytes, because the value
    // belongs to the leader's lock.
    if (session !== undefined) this.#granter.bytes += proclaim(this.#responder, session, command)
  }

  /**
   * Ends a lock only if its key and fence match the command, so that an operator cannot end a newer
   * lock by mistake.
   */
  #revoke(command: ClientCommands.RevokeLock): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    session.lastId = command.id
    const lock = this.#granter.findLock(command.key, command.fence)
    if (lock === undefined) {
      this.#responder.answer(session, command.id, fixedAnswers.notHeld.revoke)
      return
    }
    this.#responder.effects.push({ kind: 'revoked', lock, by: session, note: command.note })
    // `#beforeCommand` has announced only the change of the operator's session.
    this.#responder.changeListener?.beforeSessionChange(lock.session)
    this.#sessions.bytes += lock.session.storeRevocation(lock.fence, command.note)
    this.#granter.release(lock, 'revoked', command.at)
    this.#responder.answer(session, command.id, fixedAnswers.revoked)
  }

  #expire(command: ExpireLock | EndHold): void {
    const lock = this.#sessions.byId.get(command.session)?.held.get(command.fence)
    if (lock === undefined) return
    // A command with a former owner epoch is out of date, because the new owner broker counts the
    // ttl and the `maxHold` (the longest time to hold the lock) from a new start.
    if (lock.session.ownerEpoch !== (command.ownerEpoch ?? 0)) return
    if (command.type === 'endHold') {
      if (lock.extras?.maxHold !== undefined) this.#granter.release(lock, 'maxHold', command.at)
    } else if (lock.generation === command.generation)
      this.#granter.release(lock, 'expired', command.at)
  }

  #acknowledge(command: ClientCommands.AcknowledgeAnswers): void {
    const session = this.#sessions.currentSession(command)
    if (session === undefined) return
    this.#responder.bytes -= forgetAnswers(session, command.ids)
    this.#responder.effects.push({ kind: 'acknowledged', session })
  }
}
