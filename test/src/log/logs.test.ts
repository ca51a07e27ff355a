/** The suite of all logs, over each of them. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { journalLog } from '@holdfast/server'
import { MemoryLog } from '@holdfast/server/internal'
import { logSuite } from './logSuite.js'

const newDirectory = (): string => mkdtempSync(join(tmpdir(), 'holdfast-journal-'))

logSuite('in memory', () => new MemoryLog())
logSuite('journal, flushed', () => journalLog({ dir: newDirectory() }))
logSuite('journal, relaxed', () => journalLog({ dir: newDirectory(), durability: 'relaxed' }))
