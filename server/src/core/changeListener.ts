/**
 * By this interface, the table tells a gradual snapshot (which is read in many turns of the event
 * loop) which record will change next. The snapshot then copies this record, because a snapshot
 * must show the state at its beginning.
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
