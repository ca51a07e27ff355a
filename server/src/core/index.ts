/**
 * What other folders may use of `core`: the lock table, its commands, effects and records. There is
 * no `export type *`, because programs with TypeScript 4.9 could not use the declarations.
 */
export { Barrier, BarrierCall } from './barrierCalls.js'
export * from './clientCommands.js'
export * from './commands.js'
export type { DepartReason, Effect, ReleaseReason, WithdrawReason } from './effects.js'
export { GradualSnapshot } from './gradualSnapshot.js'
export { HolderAnswers } from './holders.js'
export { KeyTable, type KeyWalk } from './keyTable.js'
export { LinkedList } from './linkedList.js'
export type { Election, ExtraTerms, SetItem } from './lockExtras.js'
export { blockedKeysOf } from './lockSets.js'
export type { Walk } from './orderedList.js'
export type { CapacityMismatch } from './permits.js'
export type { CycleEntry, RequestType, StoredHolder } from './plainRecords.js'
export {
  type Answer,
  KeyState,
  Lock,
  Request,
  Session,
} from './records.js'
export * from './sessionCommands.js'
export { hashOfText, ShardedMap } from './shardedMap.js'
export { KeptResult, type SharedResult } from './sharedResults.js'
export { dump, restore, restoreGradually } from './snapshot.js'
export type { SnapshotItem } from './snapshotItems.js'
export { bytesOfAnswers } from './storedAnswers.js'
export { LockTable } from './table.js'
export { waitingCountOf, waitingRequestsOf } from './upgrades.js'
export {
  answerBytes,
  barrierBytes,
  barrierCallBytes,
  bytesOfLock,
  bytesOfRequest,
  bytesOfSession,
  keptResultBytes,
  keyStateBytes,
  revocationBytes,
  textBytes,
} from './weights.js'
