/**
 * The interface of a command log. A log puts commands into one order and returns each of them
 * exactly once, in that order, to the state machine that applies them. The lock table is the same
 * for every kind of log. README.md in this folder says what a log must promise.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command, SnapshotItem } from '../core/index.js'
import type { JournalStatus, LogStatus } from '../observability/logStatus.js'

/** Applies the commands of a log: the lock table with the broker around it. */
export interface StateMachine {
  /**
   * Replaces the table by these items. Called before any command; by a shared log, at any time
   * while this broker does not serve.
   */
  restore(items: Iterable<SnapshotItem>): void
  /** Applies a past command. No client waits for its effects any more. */
  replay(command: Command): void
  /** Applies a new command. The broker must act on its effects. */
  apply(command: Command): void
  /** The log has failed for good. It returns no command after this. */
  fail(error: HoldfastError): void
  /**
   * Only a shared log calls this: the broker has become a member, under a new name. From now on it
   * may accept clients and submit commands. Every deadline of its own sessions starts again in
   * full.
   */
  serve(): void
  /**
   * Only a shared log calls this: the broker is not a member any more. It must stop acknowledging,
   * close all connections, drop its deadlines, and submit nothing until the next `serve`.
   */
  resign(): void
  /** Only a shared log calls this: a digest of the table, equal for equal tables. */
  digest(): string
  /**
   * Only a shared log calls this: all items of the table. The caller reads them before it applies
   * another command.
   */
  dump(): Iterable<SnapshotItem>
}

/**
 * `ok`: accept requests. `rejectNew`: reject new lock requests. `disconnect`: close the connections
 * that send.
 */
export type LogLoad = 'ok' | 'rejectNew' | 'disconnect'

/** The membership of this broker in a shared log. */
export interface Membership {
  /**
   * This broker's name among the members, a new one for each incarnation; '' while it is not a
   * member.
   */
  readonly name: string
  /** How many commands wait, as advice for the broker. */
  readonly load: LogLoad
  /**
   * Whether this broker is still a member, so that it may answer clients now. If it is not, it has
   * resigned before this method returns.
   */
  isLive(): boolean
  readonly status: LogStatus
}

export interface Log {
  /** Set for a log that several brokers share. */
  readonly membership?: Membership | undefined
  /** The state of a journal; undefined for other logs. */
  readonly journal?: JournalStatus | undefined
  /**
   * Starts the log: first passes the past to `restore` and `replay`, then every submitted command
   * to `apply`. Called once, before the first `submit`.
   *
   * @returns A promise if the start takes time. The promise of a shared log resolves after its
   *   first call of `serve`.
   * @throws {HoldfastError} if the log cannot start; an asynchronous start rejects with the error.
   */
  start(stateMachine: StateMachine): undefined | Promise<void>
  /** Submits a command. The log passes it to `apply`, at once or later. */
  submit(command: Command): void
  /** Resolves when every submitted command was applied. The caller submits nothing afterwards. */
  close(): Promise<void>
}
