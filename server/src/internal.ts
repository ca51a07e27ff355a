/**
 * The second door, for this project's own tests and simulation: the broker without its sockets and
 * with a machine of the caller's making. Not covered by any promise of stability.
 */

export { nearest } from '@holdfast/shared'
export { defaultsOf, limits } from './access/limits.js'
export { mayFrom } from './access/permissions.js'
export { Broker, type BrokerParts } from './broker/broker.js'
export { PrefixTree } from './broker/prefixTree.js'
export { Timekeeper } from './broker/timekeeper.js'
export { duration, durationIn, integerIn } from './cli/parse.js'
export { span, table } from './cli/print.js'
export { Connection } from './connection/connection.js'
export { Outbox } from './connection/outbox.js'
export type { Socket, SocketListener } from './connection/socket.js'
export { type PacedWork, WorkScheduler } from './connection/workScheduler.js'
export { type Environment, machine } from './environment.js'
export { clockFences, type Fences, fileFences } from './fences.js'
export { Doorkeeper } from './host/doorkeeper.js'
export { drain } from './host/drain.js'
export { FrameReader } from './host/frameReader.js'
export { plainTextFrame } from './host/textFrame.js'
export { WaitingRoom } from './host/waitingRoom.js'
export { checkAddress, parseAddress } from './log/etcd/address.js'
export { EtcdClient } from './log/etcd/client.js'
export { type EngineOptions, EtcdEngine } from './log/etcd/etcdEngine.js'
export { crashIn } from './log/journal/probe.js'
export { Store } from './log/journal/store.js'
export type { Log, LogStatus, Replica, Sharing } from './log/log.js'
export { MemoryLog } from './log/memory.js'
export { Agreement } from './log/replicated/agreement.js'
export { Batch } from './log/replicated/batch.js'
export { Digest } from './log/replicated/digest.js'
export type {
  Charter,
  Engine,
  EngineSource,
  Follower,
  StoredSnapshot,
} from './log/replicated/engine.js'
export {
  decodeEntry,
  type Entry,
  encodeEntry,
  encodeSpeech,
} from './log/replicated/entry.js'
export type { LogMachine } from './log/replicated/machine.js'
export { ReplicatedLog, type ReplicatedOptions } from './log/replicated/replicatedLog.js'
export { Roll } from './log/replicated/roll.js'
export { loadSnapshot, makeSnapshot } from './log/replicated/snapshot.js'
export { runSnapshotThread } from './log/replicated/snapshotThread.js'
export { heartbeatOf, Standing, Vigil } from './log/replicated/standing.js'
export { LogLines, shown } from './observe/logLines.js'
export type { Observer, RefusalNotice } from './observe/observer.js'
export { type BrokerOptions, type BrokerSettings, settingsFrom } from './options.js'
