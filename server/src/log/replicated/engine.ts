/**
 * The interface of the storage behind a replicated log, such as etcd. An entry is a batch of the
 * commands of one broker, as text. An engine puts the entries of several brokers into one order,
 * and delivers them to all brokers in that order. The storage survives the loss of a machine. An
 * engine does not interpret entries.
 *
 * An engine has its own timeouts, switches between its own endpoints and recovers from failures by
 * itself. An engine makes no decision about brokers and does not rely on wall clocks.
 */
import type { HoldfastError } from '@holdfast/shared'

/**
 * The settings that must be equal for all brokers of a log. The first broker stores its settings in
 * the log.
 */
export interface ClusterConfig {
  /** The format of entries and snapshots. */
  readonly format: number
  /** Silence, in ms, after which a broker is declared dead. */
  readonly deadMs: number
  /** The name of the cluster. Detects that two clusters use the same log by mistake. */
  readonly cluster: string
}

/** The replicated state (the lock table and the member list) after the entry at a position. */
export interface StoredSnapshot {
  /** The position of the last entry that the snapshot covers. */
  readonly position: number
  /**
   * The saved parts. An engine may store several parts as one chunk. The iterator throws a
   * `DamagedChunkError` if a chunk is missing or damaged.
   */
  readonly parts: AsyncIterable<string>
}

/** Receives the entries of a log. The engine does not catch the exceptions of the listener. */
export interface LogListener {
  /** Called once for each entry after the start position, in order. Positions may have gaps. */
  entry(position: number, entry: string): void
  /** The entries to deliver next were compacted (dropped). The engine makes no call after this. */
  compacted(): void
  /** The log has been replaced or damaged. The engine makes no call after this. */
  failed(error: HoldfastError): void
}

export interface Engine {
  /**
   * Checks that the storage is reachable and usable. Then, in one atomic step, stores `config` if
   * the log has no settings, or else compares `config` with the stored settings. Called once,
   * before all other methods.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if the storage cannot be reached or used,
   *   `INVALID_OPTION` if the log has other settings.
   */
  open(config: ClusterConfig): Promise<void>
  /**
   * Appends an entry. Resolves when the entry is known to be in the log. After a rejection the
   * entry may be in the log, now or later. The caller then appends the same entry again, and
   * readers ignore duplicates. A duplicate can arrive after a newer entry of the same broker.
   *
   * @param slot The id of the appending incarnation (one life of a broker in the log), which has
   *   one append under way at a time. An engine may overwrite the former entry of a slot if its
   *   storage keeps old versions, so that every listener still gets that entry.
   */
  append(slot: string, entry: string): Promise<void>
  /**
   * Delivers every entry after a position, and then each new entry, until `stop` is called. Calls
   * the listener only after this method has returned, and never after `stop`. The engine continues
   * a broken stream after the last delivered entry.
   *
   * @param position 0 for the beginning of the log.
   */
  follow(position: number, listener: LogListener): { stop(): void }
  /**
   * The length of the parts that {@link saveSnapshot} gets, in characters. Default 65,536. The
   * broker may apply entries between two parts, so shorter parts delay entries less.
   */
  readonly partLength?: number | undefined
  /** Loads the newest snapshot; undefined if there is none. */
  snapshot(): Promise<StoredSnapshot | undefined>
  /**
   * Stores a snapshot, and returns true. If another broker has stored a snapshot of this or a later
   * position meanwhile, removes the parts stored so far and returns false.
   *
   * @param position The position of the last entry that the snapshot covers.
   * @param parts The text of the snapshot in parts. The engine reads one part after the other.
   */
  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean>
  /**
   * Allows the engine to drop entries up to this position. The engine must keep the two newest
   * snapshots and the entries after the older of the two. The engine may drop older snapshots.
   *
   * @param liveSlots The slots in use. An engine that overwrites the entries of a slot may remove
   *   every slot that is not in this list.
   */
  compact(position: number, liveSlots: readonly string[]): Promise<void>
  /**
   * Whether every entry after this position is still available. Another program may have compacted
   * the log.
   *
   * @param position 0 for the beginning of the log.
   */
  canReplayFrom(position: number): Promise<boolean>
  /**
   * Whether the log is being founded: a broker has made the log, and waits until a majority of the
   * expected brokers has joined. Set by {@link open}. Undefined if the engine cannot tell.
   */
  readonly isFounding?: boolean | undefined
  /** Ends the founding of the log, for all brokers and all later starts. */
  endFounding?(): Promise<void>
  /**
   * Finds other logs of Holdfast in the same storage. Such logs can be the result of a mistyped
   * address, and brokers of different logs do not share locks.
   */
  findOtherLogs?(): Promise<readonly string[]>
  /** A warning for the operator, in one sentence; undefined if there is nothing to report. */
  readonly warning?: string | undefined
  /** Cancels all calls that are under way, and stops all listeners. */
  close(): Promise<void>
}

/** Creates engines: in this thread, and in a thread that makes snapshots. */
export interface EngineSource {
  create(): Engine
  /**
   * A module for a worker thread. The module calls `runSnapshotThread` with a function that creates
   * an engine from `options`. Undefined if snapshots are made in this thread.
   */
  readonly snapshotWorker?: { readonly thread: URL; readonly options: unknown } | undefined
}
