/**
 * The seam to whoever keeps the replicated log: something that puts the entries of several brokers
 * into one order, hands each of them the same entries in that order, and survives the death of any
 * one machine. What an entry says is no concern of an engine's.
 *
 * An engine keeps its own deadlines, moves between its own endpoints and finds its way back after
 * trouble by itself; it decides nothing about brokers, and rests nothing on anybody's clock.
 */
import type { HoldfastError } from '@holdfast/shared'

/** What all brokers of one log must agree on. The first broker of a log writes it down. */
export interface ClusterConfig {
  /** Of entries and snapshots. */
  readonly format: number
  /** Silence, in ms, after which a broker is taken for dead. */
  readonly deadMs: number
  /** Tells one cluster from another that was given the same place by mistake. */
  readonly cluster: string
}

/** A whole replica as of a position. */
export interface StoredSnapshot {
  /** The last entry that is in it. */
  readonly position: number
  /** As they were saved. Fails if one of them is missing or damaged. */
  readonly parts: AsyncIterable<string>
}

/** Whoever follows the log. What it throws is not the engine's to catch. */
export interface LogListener {
  /** Each entry after the position followed from once, in order. Positions rise, with gaps. */
  entry(position: number, entry: string): void
  /** Entries that should have come are gone for good. Nothing comes after this. */
  compacted(): void
  /** It can never go on: the log is not the one it was. Nothing comes after this. */
  failed(error: HoldfastError): void
}

export interface Engine {
  /**
   * Is it there, is it fit, is it ours? Writes the charter down or compares it with the one that is
   * there, in one step that no other broker can come between. Called once, before all others.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if it cannot be reached or used, `INVALID_OPTION` if the
   *   log has another charter: one sentence.
   */
  open(charter: ClusterConfig): Promise<void>
  /**
   * Adds an entry. Resolves when it is known to be in; a rejection says nothing about whether it
   * is, or will be: it is simply appended again, and whoever reads ignores what comes twice. An
   * older entry of the same slot may therefore come in after a newer one.
   *
   * @param slot The incarnation that appends; it has one append under way at a time. An engine may
   *   keep the newest entry of a slot only, as long as followers get every one.
   */
  append(slot: string, entry: string): Promise<void>
  /**
   * Hands over every entry after this position, and goes on with those that come, until stopped.
   * Never before it has returned, and nothing after `stop`. After a broken stream it goes on where
   * it was.
   *
   * @param position 0 for the beginning of the log.
   */
  follow(position: number, follower: LogListener): { stop(): void }
  /** The newest snapshot; undefined if there has been none. */
  snapshot(): Promise<StoredSnapshot | undefined>
  /**
   * Makes this the newest snapshot, unless there is one of this position or a later one when all
   * its parts are written: then false, and nothing is left of it.
   *
   * @param parts Each at most about 256 KiB; taken up one after the other.
   */
  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean>
  /**
   * Entries up to here are needed by nobody any more. The newest snapshot and the one before it can
   * still be loaded and followed from; those before them may go.
   *
   * @param living Slots that are in use. What is kept of others may go, and of these too: only the
   *   following of entries must not miss any.
   */
  compact(position: number, living: readonly string[]): Promise<void>
  /**
   * Whether every entry after this position can still be followed: somebody else may have had the
   * log forget.
   *
   * @param position 0 for the beginning of the log.
   */
  canReplayFrom(position: number): Promise<boolean>
  /** What an operator should see to before it becomes trouble, in a sentence. */
  readonly warning?: string | undefined
  /** Ends all that is under way. */
  close(): Promise<void>
}

/** How to come by an engine: in this thread, and in one that makes snapshots. */
export interface EngineSource {
  create(): Engine
  /**
   * A module that, started as a thread, calls `runSnapshotThread` with what makes an engine of
   * these options; undefined if this thread has to make the snapshots too.
   */
  readonly elsewhere?: { readonly thread: URL; readonly options: unknown } | undefined
}
