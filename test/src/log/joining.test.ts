/**
 * Tests how long a broker may take to join a replicated log (a command log that several brokers
 * share). The broker loads a snapshot of the lock table and reads the later entries. With millions
 * of locks, this can take longer than any fixed limit. So joining has no time limit while the
 * broker makes progress.
 */
import type { Engine } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

describe('replicated log: joining', () => {
  /**
   * The time of a slow step. Joining fails after 30 s without progress, so one slow step is within
   * this limit.
   */
  const slowStepMs = 20_000
  /** Together, these steps take longer than 30 s. */
  const slowStepCount = 5

  /** A cluster whose log has a snapshot and later entries. */
  async function filledCluster(): Promise<Cluster> {
    const cluster = new Cluster()
    const a = await cluster.startLog({ snapshotEntries: 300 })
    // The log makes one snapshot after about 300 entries, and about ten entries follow.
    // `fenceFloorCommand` stands for any command.
    for (let i = 0; i < 310; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    expect(cluster.store.snapshots.length).to.equal(1)
    return cluster
  }

  /**
   * Makes a log that has not started. `change` returns methods that replace methods of the engine.
   */
  function newLog(cluster: Cluster, change: (engine: Engine) => Partial<Engine> = () => ({})) {
    const { log, source } = cluster.newLog()
    const create = source.create.bind(source)
    source.create = () => {
      const engine = create()
      return Object.assign(engine, change(engine))
    }
    return { log, stateMachine: cluster.newStateMachine(log, source) }
  }

  it('has no time limit while parts of the snapshot arrive', async () => {
    const cluster = await filledCluster()
    const [storedSnapshot] = cluster.store.snapshots
    const text = storedSnapshot!.parts.join('')
    const { log, stateMachine } = newLog(cluster, () => ({
      snapshot: async () => ({ position: storedSnapshot!.position, parts: slowParts() }),
    }))
    /** The parts of a snapshot, each after a pause. */
    async function* slowParts(): AsyncGenerator<string> {
      const length = Math.ceil(text.length / slowStepCount)
      for (let i = 0; i < slowStepCount; i++) {
        await new Promise((resolve) =>
          cluster.environment.clock.setTimer(() => resolve(0), slowStepMs),
        )
        yield text.slice(i * length, (i + 1) * length)
      }
    }
    let hasJoined = false
    const starting = log.start(stateMachine).then(() => {
      hasJoined = true
    })
    await cluster.passTime(slowStepCount * slowStepMs - 1_000)
    expect(hasJoined).to.equal(false)
    await cluster.runUntilSettled(starting)
    expect(stateMachine.eventNames).to.deep.equal(['restore', 'serve'])
  })

  it('has no time limit while the table is restored from the snapshot', async () => {
    const cluster = await filledCluster()
    const { log, stateMachine } = newLog(cluster)
    const restore = stateMachine.restore.bind(stateMachine)
    stateMachine.restore = function* (items) {
      for (let i = 0; i < slowStepCount; i++) {
        cluster.environment.clock.advance(slowStepMs)
        yield
      }
      yield* restore(items)
    }
    await cluster.runUntilSettled(log.start(stateMachine))
    expect(stateMachine.eventNames).to.deep.equal(['restore', 'serve'])
  })

  it('fails after 30 s if the engine does not deliver the snapshot', async () => {
    const cluster = await filledCluster()
    const { log, stateMachine } = newLog(cluster, () => ({
      snapshot: () => new Promise<undefined>(() => {}),
    }))
    const startedAt = cluster.environment.clock.monotonic()
    const error = await cluster.runUntilSettled(log.start(stateMachine).catch((reason) => reason))
    expect(error.message).to.match(/this broker could not join: no progress within 30 s/)
    expect(cluster.environment.clock.monotonic() - startedAt).to.be.within(30_000, 31_000)
  })

  it('fails after 30 s if the broker reads the entries of other brokers, but cannot write', async () => {
    const cluster = await filledCluster()
    const { log, stateMachine } = newLog(cluster, () => ({
      append: () => Promise.reject(new Error('read only')),
    }))
    const error = await cluster.runUntilSettled(log.start(stateMachine).catch((reason) => reason))
    expect(error.message).to.match(/no progress within 30 s \(read only\)/)
    expect(error.code).to.equal('UNAVAILABLE')
  })

  it('fails with INVALID_OPTION after 30 s if the broker lacks the right to write', async () => {
    const cluster = await filledCluster()
    const { log, stateMachine } = newLog(cluster, () => ({
      append: () => Promise.reject(new HoldfastError('INVALID_OPTION', 'no right')),
    }))
    const error = await cluster.runUntilSettled(log.start(stateMachine).catch((reason) => reason))
    expect(error.message).to.match(/no progress within 30 s \(no right\)/)
    expect(error.code).to.equal('INVALID_OPTION')
  })

  it('fails with INVALID_OPTION at once if the log is damaged, because another try cannot help', async () => {
    const cluster = await filledCluster()
    cluster.store.put('not an entry')
    const { log, stateMachine } = newLog(cluster)
    const error = await cluster.runUntilSettled(log.start(stateMachine).catch((reason) => reason))
    expect(error.message).to.match(/has an invalid entry at position \d+/)
    expect(error.code).to.equal('INVALID_OPTION')
  })

  it('does not fail if the snapshot cannot be read at first', async () => {
    const cluster = await filledCluster()
    let failuresLeft = 2
    const { log, stateMachine } = newLog(cluster, (engine) => {
      const snapshot = engine.snapshot.bind(engine)
      return {
        snapshot: () => (failuresLeft-- > 0 ? Promise.reject(new Error('no answer')) : snapshot()),
      }
    })
    await cluster.runUntilSettled(log.start(stateMachine))
    expect(stateMachine.eventNames).to.deep.equal(['restore', 'serve'])
    expect(log.status.problem).to.equal(undefined)
  })

  it('leaves no timer if the log is closed while its engine opens', async () => {
    const cluster = new Cluster()
    let finishOpening = (): void => {}
    const { log, stateMachine } = newLog(cluster, () => ({
      open: () =>
        new Promise<void>((resolve) => {
          finishOpening = resolve
        }),
      snapshot: () => Promise.reject(new Error('the engine is closed')),
    }))
    const starting = log.start(stateMachine).catch((reason) => reason)
    await log.close()
    expect((await starting).message).to.equal('The shared log was closed')
    finishOpening()
    await cluster.settle()
    expect(cluster.environment.timerCount).to.equal(0)
  })
})
