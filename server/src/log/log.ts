/**
 * The seam between what wants to happen and what happens: a log puts commands in order and hands
 * each back exactly once, in that order. One table, however the order is made. ARCHITECTURE.md says
 * what a log must promise.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command, SnapshotItem } from '../core/index.js'
import type { JournalStatus, LogStatus } from '../observability/logStatus.js'

/** Whoever applies the commands. */
export interface StateMachine {
  /** Begin with this table, before any command; of a shared log, at any time it does not serve. */
  restore(items: Iterable<SnapshotItem>): void
  /** A command of the past: nobody waits for its effects any more. */
  replay(command: Command): void
  /** A command that is in order now: its effects are to be acted upon. */
  apply(command: Command): void
  /** The log cannot go on and hands nothing back from here on. */
  fail(error: HoldfastError): void
  /**
   * Of a shared log: this broker is one of those that share it, under a new name. From now on it
   * may take clients on and submit, and has a full term for every deadline that is its own.
   */
  serve(): void
  /**
   * Of a shared log: this broker no longer counts. It acknowledges nothing more, sends everybody
   * away, keeps no deadline, and submits nothing until it serves again.
   */
  resign(): void
  /** Of a shared log: what the table comes to, the same for the same table. */
  digest(): string
  /** Of a shared log: the whole table; to be taken up before anything else is applied. */
  dump(): Iterable<SnapshotItem>
}

/** `full`: nothing new can be begun; `overfull`: nothing can be taken at all. */
export type LogLoad = 'room' | 'full' | 'overfull'

/** What a log has to say that several brokers share. */
export interface Membership {
  /** This broker's name among them, another one each time it begins to serve; '' while it does not. */
  readonly name: string
  /** Whether there is room for what clients want. */
  readonly load: LogLoad
  /**
   * Whether this broker still counts, so that what clients say now may be answered. If not, it has
   * resigned before this returns.
   */
  isLive(): boolean
  readonly status: LogStatus
}

export interface Log {
  /** Undefined for a log that is this broker's alone. */
  readonly membership?: Membership | undefined
  /** How it is doing, of a log that is a journal. */
  readonly journal?: JournalStatus | undefined
  /**
   * Begins: first what was before, through `restore` and `replay`, then what is submitted. Called
   * once, before the first `submit`. A log that needs time for it returns a promise; a shared one,
   * a promise that resolves when it has called `serve` for the first time.
   *
   * @throws {HoldfastError} if it cannot begin, or rejects with it.
   */
  start(replica: StateMachine): undefined | Promise<void>
  /** Puts a command in order. It comes back through `apply`, at once or later. */
  submit(command: Command): void
  /** Resolves when everything submitted has come back; nothing is submitted after this. */
  close(): Promise<void>
}
