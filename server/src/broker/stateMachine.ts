/**
 * Applies the commands of the log to the lock table of this broker, and passes their effects on to
 * the clients, the counters, the watches and the observer. Where several brokers share the log, the
 * table applies the commands of all brokers, and most effects concern sessions of other brokers.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { SessionQuota } from '../access/sessionQuota.js'
import {
  type Command,
  dump,
  type Effect,
  restore,
  type Session,
  type SnapshotItem,
} from '../core/index.js'
import { type Fences, highestNext } from '../log/fences.js'
import type { Membership, StateMachine } from '../log/log.js'
import { Digest } from '../log/replicated/digest.js'
import type { Observer } from '../observability/observer.js'
import type { OwnerBroker } from './handshake.js'
import type { Outbound } from './outbound.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

export interface StateMachineDeps {
  readonly table: LiveTable
  readonly fences: Fences
  readonly statistics: Statistics
  readonly sessionQuota: SessionQuota
  readonly outbound: Outbound
  readonly observer: Observer | undefined
  readonly watches: WatchRegistry
  readonly ownerBroker: OwnerBroker
  /** If the log is shared. */
  readonly membership: Membership | undefined
  readonly listener: StateMachineListener
}

/** Is told when this broker begins and stops to serve. */
export interface StateMachineListener {
  /** This broker is a member of its cluster now. */
  onServe(): void
  /** This broker is not a member any more, and must close all its connections. */
  onResign(): void
  /** The log or the fences have failed. */
  onFailure(error: HoldfastError): void
}

export class BrokerStateMachine implements StateMachine {
  readonly #deps: StateMachineDeps
  readonly #live: LiveTable
  /** Of a shared log only. */
  #digest: Digest | undefined
  #hasFailed = false

  constructor(deps: StateMachineDeps) {
    this.#deps = deps
    this.#live = deps.table
    if (deps.membership !== undefined) this.#digest = new Digest(deps.table.current)
  }

  restore(items: Iterable<SnapshotItem>): void {
    this.#live.current = restore(items)
    if (this.#digest !== undefined) this.#digest = new Digest(this.#live.current)
  }

  replay(command: Command): void {
    for (const effect of this.#live.current.apply(command)) this.#digest?.update(effect)
  }

  apply(command: Command): void {
    if (!this.#hasFences()) return
    const { statistics, sessionQuota, outbound, observer, watches } = this.#deps
    const live = this.#live
    const effects = live.current.apply(command)
    live.effectCount += effects.length
    for (const effect of effects) {
      this.#digest?.update(effect)
      statistics.count(effect)
      sessionQuota.onEffect(effect)
      outbound.handleEffects(effect)
      if (observer !== undefined) this.#tell(observer, effect)
      live.effectCount += watches.tell(effect)
    }
  }

  fail(error: HoldfastError): void {
    this.#hasFailed = true
    this.#deps.listener.onFailure(error)
  }

  serve(): void {
    const { ownerBroker, membership, sessionQuota, outbound, listener } = this.#deps
    ownerBroker.name = membership!.name
    sessionQuota.reset(this.#live.current.sessions.values())
    outbound.takeUp(this.#live.current.sessions.values())
    listener.onServe()
  }

  resign(): void {
    const { ownerBroker, outbound, observer, listener } = this.#deps
    const sessions = this.#live.current.sessions
    listener.onResign()
    outbound.giveUp(sessions.values())
    for (const session of sessions.values()) {
      if (session.ownerBroker === ownerBroker.name) observer?.onSessionMoved?.(session)
    }
    ownerBroker.name = ''
  }

  digest(): string {
    return this.#digest?.value ?? ''
  }

  dump(): Iterable<SnapshotItem> {
    return dump(this.#live.current)
  }

  /** Nothing is applied for which there may be no fence: that is as if the log could not go on. */
  #hasFences(): boolean {
    if (this.#hasFailed) return false
    try {
      this.#deps.fences.reserve(highestNext(this.#live.current))
      return true
    } catch (error) {
      this.fail(error as HoldfastError)
      return false
    }
  }

  /** Each broker tells of the sessions that are at home with it; so each thing is told once. */
  #tell(observer: Observer, effect: Effect): void {
    if (this.#deps.membership === undefined) {
      observer.onEffect(effect)
      return
    }
    const session = sessionOf(effect)
    if (session?.ownerBroker === this.#deps.ownerBroker.name) observer.onEffect(effect)
    else if (effect.kind === 'resumed') observer.onSessionMoved?.(effect.session)
  }
}

/** Whom an effect concerns; undefined for a resume of nobody. */
function sessionOf(effect: Effect): Session | undefined {
  switch (effect.kind) {
    case 'granted':
    case 'released':
    case 'refreshed':
      return effect.lock.session
    case 'revoked':
      return effect.by
    case 'queued':
    case 'withdrawn':
    case 'unfinished':
      return effect.request.session
    case 'deadlineRestarted':
      return effect.lockOrRequest.session
    case 'refused':
      return undefined
    default:
      return effect.session
  }
}
