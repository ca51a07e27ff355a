/**
 * A snapshot thread for a test: a thread that makes a snapshot from the entries of the command log.
 * Its engine, the connection to the log, reads entries in memory and writes the snapshot to a file.
 */
import { writeFileSync } from 'node:fs'
import { nodeEnvironment, runSnapshotThread } from '@holdfast/server/internal'
import { MemorySource, MemoryStore } from '../memoryEngine.js'

export interface ThreadOptions {
  readonly entries: readonly { readonly position: number; readonly text: string }[]
  readonly file: string
  /** The message of the error that the thread throws instead of making a snapshot. */
  readonly fault?: string | undefined
}

await runSnapshotThread(({ entries, file, fault }: ThreadOptions) => {
  if (fault !== undefined) throw new Error(fault)
  const store = new MemoryStore(nodeEnvironment)
  store.entries.push(...entries)
  const engine = new MemorySource(store).create()
  return Object.assign(engine, {
    saveSnapshot: async (position: number, parts: Iterable<string>) => {
      writeFileSync(file, JSON.stringify({ position, parts: [...parts] }))
      return true
    },
  })
})
