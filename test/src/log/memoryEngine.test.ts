/**
 * Runs the common suite of engines (the storage of a replicated log) with the engine in memory, on
 * which other tests rely.
 */
import { nodeEnvironment } from '@holdfast/server/internal'
import { type EngineStage, engineSuite } from './engineSuite.js'
import { logConfig } from './etcdStage.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

engineSuite('in memory', (): EngineStage => {
  let source: MemorySource
  beforeEach(() => {
    source = new MemorySource(new MemoryStore(nodeEnvironment))
  })
  return {
    newEngine: () => source.create(),
    openEngine: async () => {
      const engine = source.create()
      await engine.open(logConfig)
      return engine
    },
  }
})
