/**
 * The interface of a command log. A command asks the lock table for one change, such as a grant of
 * a lock. A log puts the submitted commands into one order, and passes each command exactly once,
 * in this order, to the state machine. The state machine applies the command to the lock table. A
 * shared log is a log that several brokers use. README.md in this folder lists the guarantees of a
 * log.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command, SnapshotItem } from '../core/index.js'
import type { JournalStatus, LogStatus } from '../observability/logStatus.js'

/** Applies the commands of a log to the lock table. The broker implements this interface. */
export interface StateMachine {
  /**
   * The cell of the broker (its share of all keys), such as `1/4`; undefined if the broker serves
   * all keys. A shared log serves one cell, and refuses a broker of another cell.
   */
  readonly cell?: string | undefined
  /**
   * Replaces the table by a snapshot that consists of these items. The returned generator builds
   * the new table in steps, and only its last step replaces the table. The log runs all steps, and
   * may do other work between two steps. A log that has a snapshot calls this method before the
   * first command. A shared log may also call this method again, while this broker does not serve.
   */
  restore(items: Iterable<SnapshotItem>): Generator<undefined, void, undefined>
  /** Applies a past command. No client waits for the effects of the command any more. */
  replay(command: Command): void
  /** Applies a new command. The broker must send the effects of the command to its clients. */
  apply(command: Command): void
  /** The log has failed for good, and passes no more commands to this state machine. */
  fail(error: HoldfastError): void
  /**
   * Only a shared log calls this method: the broker has become a member of the cluster, under a new
   * name. From now on the broker may accept clients and submit commands. The broker must restart
   * every deadline of its own sessions with its full time.
   */
  serve(): void
  /**
   * Only a shared log calls this method: the broker is not a member any more. The broker must stop
   * acknowledging messages of clients, close all connections, drop its deadlines, and submit
   * nothing until the next call of `serve`.
   */
  resign(): void
  /**
   * Returns a digest (checksum) of the table, equal for equal tables. Only a shared log calls this
   * method.
   */
  digest(): string
  /** Begins a snapshot of the table as it is now. Only a shared log calls this method. */
  beginSnapshot(): StateSnapshot
}

/** The table at one moment. The log can read it while the state machine applies later commands. */
export interface StateSnapshot {
  /** The digest of the table at that moment, as {@link StateMachine.digest} returns it. */
  readonly digest: string
  /** The items of the table at that moment. The log can read the items only once. */
  readonly items: Iterable<SnapshotItem>
  /** Ends the snapshot. The log must call this method when it needs no more items. */
  end(): void
}

/**
 * The load of a log, which depends on the number and size of its waiting commands. `ok`: the
 * broker accepts requests. `rejectNew`: the broker rejects new lock requests. `disconnect`: the
 * broker closes each connection that sends a message.
 */
export type LogLoad = 'ok' | 'rejectNew' | 'disconnect'

/** The membership of this broker in a shared log. */
export interface Membership {
  /**
   * The name of this broker among the members, or '' while this broker is not a member. The broker
   * gets a new name each time it becomes a member.
   */
  readonly name: string
  readonly load: LogLoad
  /**
   * Whether this broker is still a member and may answer clients now. If the membership has ended,
   * this method calls `resign` of the state machine and then returns false.
   */
  isLive(): boolean
  /**
   * Whether the log is new, and a majority of the expected brokers has not joined yet. While this
   * is true, this broker must refuse clients, because its operator may have mistyped the address of
   * the log.
   */
  readonly isFounding?: boolean | undefined
  readonly status: LogStatus
}

/** A command log, as the broker uses it. */
export interface Log {
  /** The membership of this broker; undefined for a log that only one broker uses. */
  readonly membership?: Membership | undefined
  /** The state of a journal; undefined for other logs. */
  readonly journal?: JournalStatus | undefined
  /**
   * Starts the log. The log passes its snapshot to `restore` and its past commands to `replay`, and
   * then every submitted command to `apply`. The caller calls this method once, before `submit`.
   *
   * @returns A promise if the start takes time. The promise of a shared log resolves after the log
   *   has called `StateMachine.serve` for the first time.
   * @throws {HoldfastError} if the log cannot start; an asynchronous start rejects with the error.
   */
  start(stateMachine: StateMachine): undefined | Promise<void>
  /** Submits a command. The log passes the command to `apply`, now or later. */
  submit(command: Command): void
  /**
   * Resolves when every submitted command was applied, or cannot be applied any more. The caller
   * must submit no more commands.
   */
  close(): Promise<void>
}
