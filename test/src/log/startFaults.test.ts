/**
 * Tests the start of a broker whose PostgreSQL or etcd disappears at any point of the start. The
 * storage either resets its connections, or falls silent, as a paused machine does. Every start
 * that fails must end with one message, which says that another try may help. The message must not
 * blame a setting.
 */
import {
  type Engine,
  nodeEnvironment,
  parsePostgresAddress,
  ReplicatedLog,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { type Filter, TcpProxy } from '../faults/proxy.js'
import { quickOrFull } from '../support/counts.js'
import { EtcdStage } from './etcdStage.js'
import { RecordingTable } from './logSuite.js'
import { PostgresStage } from './postgresStage.js'

/**
 * How many ms pass for the log in one real ms. A start fails after 30 s without progress, so here
 * after 0.75 s.
 */
const speed = 40

const { clock } = nodeEnvironment

/** The environment of a log whose timers run faster than the timers of its engine. */
const fastEnvironment = {
  ...nodeEnvironment,
  clock: {
    monotonic: () => clock.monotonic() * speed,
    wall: () => clock.wall(),
    setTimer: (callback: () => void, ms: number) => clock.setTimer(callback, ms / speed),
    clearTimer: clock.clearTimer.bind(clock),
  },
}

/** How the storage disappears. */
const modes = ['resets its connections', 'falls silent'] as const

/** A proxy that passes a number of answers, and then lets the storage disappear. */
class VanishingStorage {
  readonly port: number
  readonly #proxy: TcpProxy
  /** The number of answers since the last call of {@link vanishAfter}. */
  answerCount = 0
  #maxAnswers = Number.POSITIVE_INFINITY
  #mode: (typeof modes)[number] = modes[0]

  private constructor(proxy: TcpProxy) {
    this.#proxy = proxy
    this.port = Number(new URL(proxy.url).port)
  }

  /** Starts a proxy of the storage at this port. The proxy runs until the end of the test. */
  static async start(stage: Stage, port: number): Promise<VanishingStorage> {
    let storage: VanishingStorage
    // Handles what the storage sends.
    const down: Filter = (bytes, connection) => storage.#onAnswer(bytes, connection)
    const proxy = await TcpProxy.to(port, () => ({ down }))
    stage.onCleanUp(() => proxy.close())
    storage = new VanishingStorage(proxy)
    return storage
  }

  /** Lets the storage return, and disappear again after this number of answers. */
  vanishAfter(maxAnswers: number, mode: (typeof modes)[number]): void {
    this.answerCount = 0
    this.#maxAnswers = maxAnswers
    this.#mode = mode
    this.#proxy.acceptConnections()
  }

  #onAnswer(bytes: Buffer, connection: Parameters<Filter>[1]): void {
    if (++this.answerCount <= this.#maxAnswers) {
      connection.pass(bytes)
      return
    }
    // Silent storage leaves the connection open.
    if (this.#mode === 'falls silent') return
    connection.cut()
    this.#proxy.refuseConnections()
  }
}

describe('log: the start of a broker', function () {
  this.timeout(300_000)
  const stage = Stage.forEachTest()
  const postgres = PostgresStage.forSuite()
  const etcd = EtcdStage.forSuite({ members: 1 })
  let logCount = 0

  /**
   * How long an engine tries to open the log, and how long a chore may take, in ms. A chore is a
   * long call to PostgreSQL, here a check. The default of each time is 10 s.
   */
  const shortWaits = { openTimeoutMs: 300, choreMs: 200 }

  /**
   * The storages by name. `port` returns the port of the storage. `newEngine` makes an engine that
   * reaches a new log through the given port.
   */
  const storages: Record<
    string,
    { port: () => number; newEngine: (port: number, waits?: typeof shortWaits) => Engine }
  > = {
    PostgreSQL: {
      port: () => postgres.server.port,
      newEngine: (port, waits) =>
        postgres.newEngineThrough(port, {
          ...parsePostgresAddress(postgres.url),
          hosts: [{ host: '127.0.0.1', port }],
          schema: `start${++logCount}`,
          ...waits,
        }),
    },
    etcd: {
      port: () => Number(new URL(etcd.cluster.endpoints[0]!).port),
      newEngine: (port, waits) =>
        etcd.newEngine({
          endpoints: [`http://127.0.0.1:${port}`],
          prefix: `start${++logCount}`,
          ...(waits === undefined ? {} : { openTimeoutMs: waits.openTimeoutMs }),
        }),
    },
  }

  /** Starts a log, and closes it. */
  async function startLog(engine: Engine, environment: typeof nodeEnvironment): Promise<void> {
    const log = new ReplicatedLog({ create: () => engine }, { deadMs: 60_000 }, environment)
    try {
      await log.start(new RecordingTable())
    } finally {
      await log.close()
    }
  }

  for (const [name, { port, newEngine }] of Object.entries(storages)) {
    for (const mode of modes) {
      it(`ends with one message, and may be tried again, if ${name} ${mode} at any point`, async () => {
        const storage = await VanishingStorage.start(stage, port())
        // The first start succeeds, and shows how many answers a start needs.
        await startLog(newEngine(storage.port), nodeEnvironment)
        const neededAnswers = storage.answerCount
        expect(neededAnswers).to.be.greaterThan(5)
        let failedStarts = 0
        // A quick run tests every third point.
        for (let point = 0; point < neededAnswers; point += quickOrFull(3, 1)) {
          storage.vanishAfter(point, mode)
          const start = startLog(newEngine(storage.port, shortWaits), fastEnvironment)
          const error = await start.then(
            () => undefined,
            (reason: Error) => reason,
          )
          // At the last points, the log has started already, and may be closing.
          if (error === undefined) continue
          failedStarts++
          await expectRejection(start, 'UNAVAILABLE')
          // The message is one line of a reasonable length, without a full stop at the end.
          expect(error.message, `point ${point}`).to.match(/^[^\n]{20,250}[^.\n]$/)
        }
        expect(failedStarts).to.be.greaterThan(1)
      })
    }
  }
})
