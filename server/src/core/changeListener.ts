/**
 * What a snapshot under way must learn from the table: which record will change next. The snapshot
 * copies the record, because the snapshot must show the state at the moment when it began.
 */
import type { Barrier } from './barrierCalls.js'
import type { KeyState, Session } from './records.js'
import type { KeptResult } from './sharedResults.js'

/** Learns of each change of a record that snapshots contain, before the change. */
export interface ChangeListener {
  /** The fields, answers or revocations of a session will change, or the session will end. */
  beforeSessionChange(session: Session): void
  /** A lock or a request of a key will come, go or change. */
  beforeKeyChange(keyState: KeyState): void
  /** A call will come to a barrier or leave it. */
  beforeBarrierChange(barrier: Barrier<Session>): void
  /** A kept result will be forgotten, or get another owner broker. */
  beforeKeptResultChange(kept: KeptResult): void
}
