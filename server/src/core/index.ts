/** The exports of the lock table, which applies commands and returns their effects. */
export * from './commands.js'
export type { DepartReason, Effect, ReleaseReason, WithdrawReason } from './effects.js'
export { KeyTable, type KeyWalk } from './keyTable.js'
export {
  type Answer,
  Barrier,
  BarrierCall,
  KeyState,
  LinkedList,
  Lock,
  Request,
  type RequestType,
  Session,
  type StoredHolder,
} from './records.js'
export { dump, restore, type SnapshotItem } from './snapshot.js'
export { LockTable, type TableState } from './table.js'
export {
  answerBytes,
  barrierBytes,
  barrierCallBytes,
  bytesOfSession,
  keyStateBytes,
  lockBytes,
  requestBytes,
  revocationBytes,
  textBytes,
} from './weights.js'
