/**
 * The broker's own table, as the log sees it: applies what the log hands back and passes on what
 * came of it, to everybody whom it concerns. Where the log is shared with other brokers, that is
 * what comes of everybody's commands, and most of it concerns others.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { SessionQuota } from '../access/sessionQuota.js'
import {
  type Command,
  dump,
  type Effect,
  LockTable,
  restore,
  type Session,
  type SnapshotItem,
} from '../core/index.js'
import { type Fences, highestNext } from '../log/fences.js'
import type { Membership, StateMachine } from '../log/log.js'
import { Digest } from '../log/replicated/digest.js'
import type { Observer } from '../observability/observer.js'
import type { Outbound, OwnerBroker } from './outbound.js'
import type { Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

export interface StateMachineDeps {
  readonly fences: Fences
  readonly statistics: Statistics
  readonly sessionQuota: SessionQuota
  readonly outbound: Outbound
  readonly observer: Observer | undefined
  readonly watchers: WatchRegistry
  readonly ownerBroker: OwnerBroker
  /** If the log is shared. */
  readonly membership: Membership | undefined
  /** This broker counts among those that share the log. */
  readonly onServe: () => void
  /** It does not any more: everybody is to be sent away. */
  readonly onResign: () => void
  readonly onFailure: (error: HoldfastError) => void
}

export class BrokerStateMachine implements StateMachine {
  readonly #deps: StateMachineDeps
  #table = new LockTable()
  /** Of a shared log only. */
  #digest: Digest | undefined
  #hasFailed = false
  #effects = 0

  constructor(deps: StateMachineDeps) {
    this.#deps = deps
    if (deps.membership !== undefined) this.#digest = new Digest(this.#table)
  }

  /** To be looked at, and not touched. */
  get table(): Omit<LockTable, 'apply'> {
    return this.#table
  }

  /** What was handled so far: effects, and what telling the clients that watch has cost. */
  get effects(): number {
    return this.#effects
  }

  restore(items: Iterable<SnapshotItem>): void {
    this.#table = restore(items)
    if (this.#digest !== undefined) this.#digest = new Digest(this.#table)
  }

  replay(command: Command): void {
    for (const effect of this.#table.apply(command)) this.#digest?.update(effect)
  }

  apply(command: Command): void {
    if (!this.#hasFences()) return
    const { statistics, sessionQuota, outbound, observer, watchers } = this.#deps
    const effects = this.#table.apply(command)
    this.#effects += effects.length
    for (const effect of effects) {
      this.#digest?.update(effect)
      statistics.count(effect)
      sessionQuota.reserve(effect)
      outbound.handleEffects(effect)
      if (observer !== undefined) this.#tell(observer, effect)
      this.#effects += watchers.tell(effect)
    }
  }

  fail(error: HoldfastError): void {
    this.#hasFailed = true
    this.#deps.onFailure(error)
  }

  serve(): void {
    const { ownerBroker, membership, sessionQuota, outbound, onServe } = this.#deps
    ownerBroker.name = membership!.name
    sessionQuota.begin(this.#table.sessions.values())
    outbound.takeUp(this.#table.sessions.values())
    onServe()
  }

  resign(): void {
    const { ownerBroker, outbound, observer, onResign } = this.#deps
    const sessions = this.#table.sessions
    onResign()
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
    return dump(this.#table)
  }

  /** Nothing is applied for which there may be no fence: that is as if the log could not go on. */
  #hasFences(): boolean {
    if (this.#hasFailed) return false
    try {
      this.#deps.fences.reserve(highestNext(this.#table))
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
    case 'more':
      return effect.request.session
    case 'adopted':
      return effect.record.session
    case 'refused':
      return undefined
    default:
      return effect.session
  }
}
