/** The pure part of the broker: commands in, effects out. */
export * from './commands.js'
export type {
  Answer,
  Effect,
  ReleaseReason,
  RequestType,
  StoredHolder,
  WithdrawReason,
} from './effects.js'
export { KeyTable, type KeyWalk } from './keyTable.js'
export { KeyState, LinkedList, Lock, Request, Session } from './records.js'
export { dump, restore, type SnapshotItem } from './snapshot.js'
export { LockTable, type TableState } from './table.js'
export {
  answerBytes,
  bytesOfSession,
  keyStateBytes,
  lockBytes,
  requestBytes,
  revocationBytes,
  textBytes,
} from './weights.js'
