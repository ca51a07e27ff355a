/**
 * The state machine of the command log. The log puts commands in order and makes them durable. The
 * state machine applies each command to the lock table, and passes the effects to the clients, the
 * counters, the watches and the observer. An effect is one change that a command made. In a cluster
 * every broker applies the commands of all brokers, so most effects concern sessions of other
 * brokers.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { SessionQuota } from '../access/sessionQuota.js'
import { costs } from '../config/workCosts.js'
import {
  type Command,
  type Effect,
  GradualSnapshot,
  restoreGradually,
  type Session,
  type SnapshotItem,
} from '../core/index.js'
import { type Fences, highestNextFence } from '../log/fences.js'
import type { Membership, StateMachine, StateSnapshot } from '../log/log.js'
import { Digest, ItemDigest } from '../log/replicated/digest.js'
import type { Observer } from '../observability/observer.js'
import type { OwnerBroker } from './handshake.js'
import type { Outbound } from './outbound.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

export interface StateMachineDeps {
  readonly liveTable: LiveTable
  readonly fences: Fences
  readonly statistics: Statistics
  readonly sessionQuota: SessionQuota
  readonly outbound: Outbound
  readonly observer: Observer | undefined
  readonly watchRegistry: WatchRegistry
  readonly thisBroker: OwnerBroker
  /** Undefined if this broker uses its log alone. */
  readonly membership: Membership | undefined
  readonly listener: StateMachineListener
  /**
   * The cell of this broker, such as `1/4`: the first of four independent clusters that divide the
   * keys among themselves. Undefined if the broker serves all keys.
   */
  readonly cell: string | undefined
}

/** The broker implements this interface to learn when it must start and stop serving clients. */
export interface StateMachineListener {
  /** This broker is a member of its cluster now. */
  onServe(): void
  /** This broker is not a member any more, and must close all its connections. */
  onResign(): void
  /** The log has failed, or no more fences (the numbers of grants) can be reserved. */
  onFailure(error: HoldfastError): void
}

export class BrokerStateMachine implements StateMachine {
  readonly cell: string | undefined
  readonly #deps: StateMachineDeps
  readonly #liveTable: LiveTable
  /** Checksum of the lock table, to compare with other brokers; undefined without a cluster. */
  #digest: Digest | undefined
  #hasFailed = false

  constructor(deps: StateMachineDeps) {
    this.#deps = deps
    this.cell = deps.cell
    this.#liveTable = deps.liveTable
    if (deps.membership !== undefined) this.#digest = new Digest(deps.liveTable.current)
  }

  *restore(items: Iterable<SnapshotItem>): Generator<undefined, void, undefined> {
    if (this.#digest === undefined) {
      this.#liveTable.current = yield* restoreGradually(items)
      return
    }
    const itemDigest = new ItemDigest()
    this.#liveTable.current = yield* restoreGradually(itemDigest.addAll(items))
    this.#digest = Digest.ofItems(itemDigest)
  }

  replay(command: Command): void {
    for (const effect of this.#liveTable.current.apply(command)) this.#digest?.update(effect)
  }

  apply(command: Command): void {
    if (!this.#reserveFences()) return
    const { statistics, sessionQuota, outbound, observer, watchRegistry } = this.#deps
    const liveTable = this.#liveTable
    const deadlockVisitsBefore = liveTable.current.visitCount
    const effects = liveTable.current.apply(command)
    const deadlockVisits = liveTable.current.visitCount - deadlockVisitsBefore
    // Each effect costs one unit of work. A check for deadlocks adds the cost of each waiting
    // scope (a task of a client) or waiting set (a request for several keys) that it visited.
    liveTable.workUnits += effects.length + deadlockVisits * costs.deadlockVisit
    for (const effect of effects) {
      this.#digest?.update(effect)
      statistics.count(effect, command.at)
      sessionQuota.onEffect(effect)
      outbound.handleEffect(effect)
      if (observer !== undefined) this.#notifyObserver(observer, effect)
      liveTable.workUnits += watchRegistry.notify(effect)
    }
  }

  fail(error: HoldfastError): void {
    this.#hasFailed = true
    this.#deps.listener.onFailure(error)
  }

  serve(): void {
    const { thisBroker, membership, sessionQuota, outbound, listener } = this.#deps
    const { sessions, keptResults } = this.#liveTable.current
    // Only a log that brokers share calls `serve`, so there is a `membership`.
    thisBroker.name = membership!.name
    sessionQuota.reset(sessions.values())
    outbound.startDeadlines(sessions, keptResults)
    listener.onServe()
  }

  resign(): void {
    const { thisBroker, outbound, observer, listener } = this.#deps
    const { sessions, keptResults } = this.#liveTable.current
    listener.onResign()
    outbound.detachAll(sessions.values(), keptResults.values())
    for (const session of sessions.values()) {
      if (session.ownerBroker === thisBroker.name) observer?.onSessionMoved?.(session)
    }
    // The name is cleared last, because the calls above find this broker's sessions by the name.
    thisBroker.name = ''
  }

  digest(): string {
    return this.#digest?.value ?? ''
  }

  beginSnapshot(): StateSnapshot {
    const snapshot = new GradualSnapshot(this.#liveTable.current)
    return { digest: this.digest(), items: snapshot.items(), end: () => snapshot.end() }
  }

  /**
   * Reserves the fences that the next command may need, and returns whether the command may be
   * applied. If the reservation fails, reports the failure of the broker and returns false.
   */
  #reserveFences(): boolean {
    if (this.#hasFailed) return false
    try {
      this.#deps.fences.reserve(highestNextFence(this.#liveTable.current))
      return true
    } catch (error) {
      this.fail(error as HoldfastError)
      return false
    }
  }

  /**
   * Passes an effect to the observer. In a cluster only the owner broker (the broker that keeps the
   * deadlines of the session) passes the effect. So the cluster reports the effect once. An effect
   * without a session is not reported. When a session is resumed, all other brokers report that the
   * session has moved, because each of them may be its former owner.
   */
  #notifyObserver(observer: Observer, effect: Effect): void {
    if (this.#deps.membership === undefined) {
      observer.onEffect(effect)
      return
    }
    const session = sessionOf(effect)
    if (session?.ownerBroker === this.#deps.thisBroker.name) observer.onEffect(effect)
    else if (effect.kind === 'resumed') observer.onSessionMoved?.(effect.session)
  }
}

/**
 * The session that an effect concerns. Undefined for `refused` (a refused resume) and for the three
 * effects of a kept result. A kept result is the value of a `once` call, kept for later callers.
 */
function sessionOf(effect: Effect): Session | undefined {
  switch (effect.kind) {
    case 'granted':
    case 'released':
    case 'upgraded':
    case 'downgraded':
    case 'refreshed':
    case 'proclaimed':
      return effect.lock.session
    case 'revoked':
      // `by` is the session that sent the revoke. For the holder, there is a separate effect
      // `released`.
      return effect.by
    case 'queued':
    case 'withdrawn':
    case 'unfinished':
      return effect.request.session
    case 'arrived':
    case 'departed':
      return effect.call.session
    case 'refused':
    case 'kept':
    case 'keepRestarted':
    case 'forgotten':
      return undefined
    default:
      return effect.session
  }
}
