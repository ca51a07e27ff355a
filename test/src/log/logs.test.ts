/** The suite of all logs, over each of them. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { journalLog } from '@holdfast/server'
import { MemoryLog, machine, ReplicatedLog } from '@holdfast/server/internal'
import { logSuite } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

const newDirectory = (): string => mkdtempSync(join(tmpdir(), 'holdfast-journal-'))

logSuite('in memory', () => new MemoryLog())
logSuite('journal, flushed', () => journalLog({ dir: newDirectory() }))
logSuite('journal, relaxed', () => journalLog({ dir: newDirectory(), durability: 'relaxed' }))
logSuite('replicated', () => replicated())
logSuite('replicated, every entry twice', () => replicated({ appendsTwice: true }))
logSuite('replicated, every answer lost', () => replicated({ losesAnswers: true }))

function replicated(faults: Partial<MemorySource['faults']> = {}): ReplicatedLog {
  const source = new MemorySource(new MemoryStore(machine))
  Object.assign(source.faults, faults)
  return new ReplicatedLog(source, {}, machine)
}
