/**
 * What operators see of one broker in a shared log: how late the log delivers the broker's own
 * entries (batches of commands) back, and which problem the broker has. Also how often the broker
 * has resigned (disconnected its clients and joined again) or has taken over sessions. The status
 * makes no decision: `clusterMember.ts` decides what the broker does.
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { LogStatus } from '../../observability/logStatus.js'
import type { ClusterConfig, Engine } from './engine.js'
import { nameIn, namesOf } from './incarnationNames.js'
import { heartbeatMsFor, type SelfLease } from './selfLease.js'
import type { SnapshotScheduler } from './snapshotScheduler.js'

/** How long the status shows the loss of an entry, in ms, so that operators and alerts see it. */
const lossVisibleMs = 60_000

export interface MemberStatusDeps {
  readonly engine: Pick<Engine, 'warning'>
  readonly clock: Pick<Clock, 'monotonic'>
  readonly config: Pick<ClusterConfig, 'deadMs'>
  readonly snapshots: Pick<SnapshotScheduler, 'failureCount' | 'newest' | 'problem'>
}

/** The present state of a cluster member, from which {@link MemberStatus} makes a report. */
export interface MemberState {
  /** The position of the last entry whose commands this broker has applied. */
  readonly position: number
  /** The ids of the live incarnations, in order of joining. */
  readonly liveIds: readonly string[]
  /** The id of the current incarnation while it serves; '' otherwise. */
  readonly servingId: string
  /** The self-lease of the current incarnation; undefined before the first incarnation. */
  readonly selfLease: SelfLease | undefined
  /** How many commands wait to be appended. */
  readonly waiting: number
}

export class MemberStatus {
  readonly #deps: MemberStatusDeps
  /** The time from the sending to the return of the newest returned entry, in ms. */
  #lagMs: number | undefined
  /**
   * When the oldest unreturned entry of the former incarnations was sent; undefined if no such
   * entry is known.
   */
  #unreturnedSince: number | undefined
  /** The number of brokers whose sessions this broker has taken over after they died or left. */
  #takeovers = 0
  /** How many times this broker has resigned after it served. */
  #resignations = 0
  /** Why the current attempt to join or to append fails; undefined if nothing fails. */
  #problem: string | undefined
  #isMisconfigured = false
  /** The newest loss of an entry. */
  #loss: { readonly at: number; readonly problem: string } | undefined

  constructor(deps: MemberStatusDeps) {
    this.#deps = deps
  }

  /** Whether the current attempt fails because of a wrong setting, such as a missing permission. */
  get isMisconfigured(): boolean {
    return this.#isMisconfigured
  }

  report(state: MemberState): Omit<LogStatus, 'givenName' | 'otherLogs'> {
    const { engine, snapshots } = this.#deps
    const { position, liveIds, servingId, selfLease, waiting } = state
    const isServing = servingId !== ''
    const lagMs = this.#currentLagMs(selfLease)
    return {
      position,
      lagMs,
      members: namesOf(liveIds),
      name: isServing ? nameIn(servingId, liveIds) : undefined,
      selfLeaseMs: isServing ? Math.max(0, selfLease!.until - this.#now()) : 0,
      waiting,
      snapshot: snapshots.newest,
      takeovers: this.#takeovers,
      resignations: this.#resignations,
      failedSnapshots: snapshots.failureCount,
      problem:
        this.#lossProblem ??
        this.#problem ??
        snapshots.problem ??
        engine.warning ??
        (isServing ? this.#slowProblem(lagMs) : undefined),
    }
  }

  /**
   * Records why an attempt fails: the error or its text; undefined if the attempt has succeeded.
   */
  readonly onProblem = (reason: unknown): void => {
    this.#problem =
      reason === undefined || typeof reason === 'string' ? reason : (reason as Error).message
    this.#isMisconfigured = reason instanceof HoldfastError && reason.code === 'INVALID_OPTION'
  }

  /** Records the loss of an entry, which the status shows for a minute. */
  onLoss(problem: string): void {
    this.#loss = { at: this.#now(), problem }
  }

  /**
   * Must be called when an own entry has returned.
   *
   * @param lagMs The time since the entry was first sent, in ms; undefined if unknown.
   */
  onOwnEntry(lagMs: number | undefined): void {
    this.#lagMs = lagMs ?? this.#lagMs
    this.#unreturnedSince = undefined
  }

  /** Must be called when an incarnation ends. Its unreturned entries still count for the lag. */
  onIncarnationEnd(selfLease: SelfLease): void {
    this.#unreturnedSince ??= selfLease.oldestUnreturnedAt
  }

  /** Counts a resignation of this broker after it served. */
  countResignation(): void {
    this.#resignations++
  }

  /** Counts a broker whose sessions this broker has taken over. */
  countTakeover(): void {
    this.#takeovers++
  }

  /**
   * How late the log returns the entries of this broker, in ms: the age of the oldest own entry
   * that has not returned (of any incarnation), but at least `#lagMs`. Undefined before the first
   * entry.
   */
  #currentLagMs(selfLease: SelfLease | undefined): number | undefined {
    const unreturnedSince = this.#unreturnedSince ?? selfLease?.oldestUnreturnedAt
    if (unreturnedSince === undefined) return this.#lagMs
    return Math.max(this.#now() - unreturnedSince, this.#lagMs ?? 0)
  }

  /**
   * A message that the log is slow, if an own entry takes longer than the time between two
   * heartbeats (entries without commands); undefined otherwise.
   */
  #slowProblem(lagMs = 0): string | undefined {
    if (lagMs <= heartbeatMsFor(this.#deps.config.deadMs)) return undefined
    // Rounds to one decimal.
    const seconds = Math.round(lagMs / 100) / 10
    return `the shared log is slow: an entry of this broker takes ${seconds} s and more`
  }

  get #lossProblem(): string | undefined {
    if (this.#loss === undefined) return undefined
    return this.#now() - this.#loss.at < lossVisibleMs ? this.#loss.problem : undefined
  }

  #now(): number {
    return this.#deps.clock.monotonic()
  }
}
