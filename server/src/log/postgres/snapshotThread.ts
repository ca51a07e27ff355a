/** The worker thread that makes snapshots of a log in PostgreSQL, while the broker serves. */
import { nodeEnvironment } from '../../platform/environment.js'
import { runSnapshotThread } from '../replicated/snapshotThread.js'
import { PostgresEngine, type PostgresEngineOptions } from './postgresEngine.js'

await runSnapshotThread((options: PostgresEngineOptions) => {
  return new PostgresEngine(options, nodeEnvironment)
})
