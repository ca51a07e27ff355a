/** The worker thread that makes snapshots of a log on etcd, so that the broker is not delayed. */
import { nodeEnvironment } from '../../platform/environment.js'
import { runSnapshotThread } from '../replicated/snapshotThread.js'
import { type EngineOptions, EtcdEngine } from './etcdEngine.js'

await runSnapshotThread((options: EngineOptions) => new EtcdEngine(options, nodeEnvironment))
