/**
 * Runs the common test suite on every kind of command log (the record of all changes of locks): in
 * memory, on disk (a journal), and shared by several brokers.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { etcdLog, journalLog, postgresLog } from '@holdfast/server'
import { MemoryLog, nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { EtcdStage } from './etcdStage.js'
import { logSuite } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'
import { PostgresStage } from './postgresStage.js'

const newDirectory = (): string => mkdtempSync(join(tmpdir(), 'holdfast-journal-'))

logSuite('in memory', () => new MemoryLog(), { appliesInTurns: false })
logSuite('journal, flushed', () => journalLog({ dir: newDirectory() }))
// With a relaxed journal, a broker answers before the records are flushed to the disk.
logSuite('journal, relaxed', () => journalLog({ dir: newDirectory(), durability: 'relaxed' }))
logSuite('replicated', () => replicated())
logSuite('replicated, every entry stored twice', () => replicated({ appendsTwice: true }))
logSuite('replicated, every answer of the store lost', () => replicated({ losesAnswers: true }))

describe('on a real etcd', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite()
  logSuite('etcd', () => {
    return etcdLog({ endpoints: etcd.cluster.endpoints, prefix: etcd.prefix })
  })
})

describe('on a real PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()
  logSuite('PostgreSQL', () => postgresLog({ url: postgres.url }))
})

/** A replicated log whose storage engine is in memory and has these faults. */
function replicated(faults: Partial<MemorySource['faults']> = {}): ReplicatedLog {
  const source = new MemorySource(new MemoryStore(nodeEnvironment))
  Object.assign(source.faults, faults)
  return new ReplicatedLog(source, {}, nodeEnvironment)
}
