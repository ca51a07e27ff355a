/**
 * Exports for the tests and the simulation of this project only: `Broker`, which has no server of
 * its own, and components of the package. These exports may change with any release.
 */
export { nearestName } from '@holdfast/shared'
export { isProxyHeader, ordinaryHeaders } from './access/localRequests.js'
export { Broker } from './broker/broker.js'
export { PrefixTree } from './broker/prefixTree.js'
export { PageBuilder } from './broker/queryPage.js'
export { Timekeeper } from './broker/timekeeper.js'
export { WatchRegistry } from './broker/watchRegistry.js'
export type { BrokerDeps } from './broker/wiring.js'
export { openLogOutput } from './cli/logOutput.js'
export { formatTable, span } from './cli/output.js'
export { durationParser, integerParser, parseDuration } from './cli/parse.js'
export { defaultsOf, limitMessage, limits } from './config/limits.js'
export { permissionsFrom } from './config/permissions.js'
export type { BrokerSettings } from './config/settings.js'
export { costOfParsing, costs, turnBudget, unitsPerMs } from './config/workCosts.js'
export { Connection } from './connection/connection.js'
export { InputQueue } from './connection/inputQueue.js'
export { SendQueue } from './connection/sendQueue.js'
export type { Socket, SocketListener } from './connection/socket.js'
export { WorkAllowance } from './connection/workAllowance.js'
export { type PacedWork, WorkScheduler } from './connection/workScheduler.js'
export { ByteCounters } from './http/byteCounters.js'
export { drain, rebalance } from './http/drain.js'
export { FrameReader, plainTextFrame } from './http/fastPath/index.js'
export { createHttpServer } from './http/httpServer.js'
export { RequestSockets } from './http/requestSockets.js'
export { Tarpit } from './http/tarpit.js'
export { UpgradePolicy } from './http/upgradePolicy.js'
export { type Upgrade, UpgradeQueue } from './http/upgradeQueue.js'
export { routeUpgrades } from './http/upgradeRouting.js'
export { acceptUpgrades, type UpgradeOptions } from './http/webSocketServer.js'
export { checkAddress, parseAddress } from './log/etcd/address.js'
export { EtcdClient } from './log/etcd/client.js'
export { type EngineOptions, EtcdEngine } from './log/etcd/etcdEngine.js'
export { Transport } from './log/etcd/transport.js'
export { clockFences, type Fences, fileFences } from './log/fences.js'
export { crashReason } from './log/journal/integrityCheck.js'
export { JournalStore } from './log/journal/store.js'
export type { Log, Membership, StateMachine, StateSnapshot } from './log/log.js'
export { MemoryLog } from './log/memory.js'
export { parsePostgresAddress } from './log/postgres/address.js'
export { PostgresEngine, type PostgresEngineOptions } from './log/postgres/postgresEngine.js'
export { configMismatch } from './log/replicated/clusterConfig.js'
export { CommandQueue } from './log/replicated/commandQueue.js'
export { Digest, ItemDigest } from './log/replicated/digest.js'
export { DivergenceCheck } from './log/replicated/divergenceCheck.js'
export type {
  ClusterConfig,
  Engine,
  EngineSource,
  LogListener,
  StoredSnapshot,
} from './log/replicated/engine.js'
export {
  decodeEntry,
  encodeCommands,
  encodeEntry,
  type LogEntry,
} from './log/replicated/entry.js'
export { EntryQueue } from './log/replicated/entryQueue.js'
export { DamagedChunkError } from './log/replicated/logErrors.js'
export { MemberList } from './log/replicated/memberList.js'
export { ReplicatedLog, type ReplicatedOptions } from './log/replicated/replicatedLog.js'
export {
  FailureDetector,
  heartbeatMsFor,
  SelfLease,
} from './log/replicated/selfLease.js'
export { loadSnapshot, makeSnapshot, saveState } from './log/replicated/snapshot.js'
export { runSnapshotThread } from './log/replicated/snapshotThread.js'
export { type AuditKind, AuditLog, auditKinds } from './observability/auditLog.js'
export { BrokerLogger, logText } from './observability/brokerLogger.js'
export type { LogStatus } from './observability/logStatus.js'
export type { Observer, RefusalNotice } from './observability/observer.js'
export { type BrokerOptions, settingsFrom } from './options.js'
export { type Environment, type LogEnvironment, nodeEnvironment } from './platform/environment.js'
export { runInTurns } from './platform/turns.js'
export { encodeFailed } from './protocol/encodeAnswers.js'
export { brokerFeatures, brokerVersion } from './protocol/features.js'
