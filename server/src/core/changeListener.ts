/**
 * The table calls this interface before it changes a record, while a gradual snapshot is read in
 * many turns of the event loop. The snapshot then copies the record, because a snapshot must show
 * the state of the table at the moment when the snapshot began.
 */
import type { Barrier } from './barrierCalls.js'
import type { KeyState, Session } from './records.js'
import type { KeptResult } from './sharedResults.js'

/** Learns of each change of a record that snapshots contain, before the change. */
export interface ChangeListener {
  /**
   * The fields of a session, its stored answers or its stored revocations of locks will change, or
   * the session will end.
   */
  beforeSessionChange(session: Session): void
  /** A lock or a request of a key will come, go or change. */
  beforeKeyChange(keyState: KeyState): void
  /** A call will come to a barrier or leave it. */
  beforeBarrierChange(barrier: Barrier<Session>): void
  /** A kept result will be forgotten, or get another owner broker. */
  beforeKeptResultChange(kept: KeptResult): void
}
