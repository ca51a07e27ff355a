/**
 * The broker's own table, as the log sees it: applies what the log hands back and passes on what
 * came of it, to everybody whom it concerns. Where the log is shared with other brokers, that is
 * what comes of everybody's commands, and most of it concerns others.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Census } from '../access/census.js'
import {
  type Command,
  dump,
  type Effect,
  LockTable,
  restore,
  type Session,
  type SnapshotItem,
} from '../core/index.js'
import { type Fences, highestNext } from '../fences.js'
import type { Replica, Sharing } from '../log/log.js'
import { Digest } from '../log/replicated/digest.js'
import type { Observer } from '../observe/observer.js'
import type { Home, Outbound } from './outbound.js'
import type { Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

export interface ReplicaParts {
  readonly fences: Fences
  readonly statistics: Statistics
  readonly census: Census
  readonly outbound: Outbound
  readonly observer: Observer | undefined
  readonly watchers: WatchRegistry
  readonly home: Home
  /** If the log is shared. */
  readonly sharing: Sharing | undefined
  /** This broker counts among those that share the log. */
  readonly onServe: () => void
  /** It does not any more: everybody is to be sent away. */
  readonly onResign: () => void
  readonly onFailure: (error: HoldfastError) => void
}

export class OwnReplica implements Replica {
  readonly #parts: ReplicaParts
  #table = new LockTable()
  /** Of a shared log only. */
  #digest: Digest | undefined
  #hasFailed = false
  #effects = 0

  constructor(parts: ReplicaParts) {
    this.#parts = parts
    if (parts.sharing !== undefined) this.#digest = new Digest(this.#table)
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
    for (const effect of this.#table.apply(command)) this.#digest?.take(effect)
  }

  apply(command: Command): void {
    if (!this.#hasFences()) return
    const { statistics, census, outbound, observer, watchers } = this.#parts
    const effects = this.#table.apply(command)
    this.#effects += effects.length
    for (const effect of effects) {
      this.#digest?.take(effect)
      statistics.count(effect)
      census.take(effect)
      outbound.act(effect)
      if (observer !== undefined) this.#tell(observer, effect)
      this.#effects += watchers.tell(effect)
    }
  }

  fail(error: HoldfastError): void {
    this.#hasFailed = true
    this.#parts.onFailure(error)
  }

  serve(): void {
    const { home, sharing, census, outbound, onServe } = this.#parts
    home.name = sharing!.home
    census.begin(this.#table.sessions.values())
    outbound.takeUp(this.#table.sessions.values())
    onServe()
  }

  resign(): void {
    const { home, outbound, observer, onResign } = this.#parts
    const sessions = this.#table.sessions
    onResign()
    outbound.giveUp(sessions.values())
    for (const session of sessions.values()) {
      if (session.home === home.name) observer?.left?.(session)
    }
    home.name = ''
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
      this.#parts.fences.reserve(highestNext(this.#table))
      return true
    } catch (error) {
      this.fail(error as HoldfastError)
      return false
    }
  }

  /** Each broker tells of the sessions that are at home with it; so each thing is told once. */
  #tell(observer: Observer, effect: Effect): void {
    if (this.#parts.sharing === undefined) {
      observer.did(effect)
      return
    }
    const session = sessionOf(effect)
    if (session?.home === this.#parts.home.name) observer.did(effect)
    else if (effect.kind === 'resumed') observer.left?.(effect.session)
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
