/**
 * Tests brokers that share a command log on a real etcd, when one or all brokers do not receive an
 * entry. The command log orders all changes of the lock table. A broker must detect the loss,
 * resign (end its membership), and read the log again.
 */
import {
  type Engine,
  type EngineSource,
  nodeEnvironment,
  ReplicatedLog,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { Collector } from '../e2e/stage.js'
import { EtcdStage } from './etcdStage.js'
import { fenceFloorCommand, RecordingTable } from './logSuite.js'

/** Stands in for a broker: records the calls that its log makes. */
class RecordingBroker extends RecordingTable {
  readonly events = new Collector<string>()

  override serve(): void {
    this.events.add('serve')
  }

  override resign(): void {
    this.events.add('resign')
  }

  override *restore(items: Parameters<RecordingTable['restore']>[0]): Generator<undefined, void> {
    yield* super.restore(items)
    this.events.add('restore')
  }

  override fail(error: Error): void {
    super.fail(error)
    this.events.add('fail')
  }
}

describe('log: an entry on etcd that does not reach a broker', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite()
  const logs: ReplicatedLog[] = []
  afterEach(() => Promise.all(logs.splice(0).map((log) => log.close())))

  /** A source of engines that do not deliver the entries for which `isDropped` returns true. */
  function sourceThatDrops(isDropped: (text: string) => boolean): EngineSource {
    return {
      create(): Engine {
        const engine = etcd.newEngine()
        const follow = engine.follow.bind(engine)
        engine.follow = (position, listener) =>
          follow(position, {
            entry: (at, text) => {
              if (!isDropped(text)) listener.entry(at, text)
            },
            compacted: () => listener.compacted(),
            failed: (error) => listener.failed(error),
          })
        return engine
      },
    }
  }

  /** Starts a broker that does not receive the entries for which `isDropped` returns true. */
  async function start(isDropped: (text: string) => boolean = () => false) {
    const log = new ReplicatedLog(sourceThatDrops(isDropped), { deadMs: 1_500 }, nodeEnvironment)
    logs.push(log)
    const broker = new RecordingBroker()
    await log.start(broker)
    return { log, broker }
  }

  it('makes the broker resign, read the log again, and serve with the table of the others', async () => {
    let deliveryCount = 0
    const a = await start()
    // Drops only the first delivery of the entry: the broker gets the entry when it reads the log
    // again.
    const b = await start((text) => text.includes('"fence":7,') && ++deliveryCount === 1)
    const c = await start()
    a.log.submit(fenceFloorCommand(7))
    // Waits, so that the second command becomes an entry of its own. The number of the second entry
    // shows broker `b` that the first entry is missing.
    await a.broker.whenApplied(1)
    a.log.submit(fenceFloorCommand(8))
    await b.broker.events.waitUntil(() => b.broker.events.items.length === 4)
    expect(b.broker.events.items).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.broker.replayed).to.deep.include(fenceFloorCommand(7))
    expect(b.broker.replayed).to.deep.include(fenceFloorCommand(8))
    expect(b.log.status.problem).to.contain('did not receive entry')
    // All later entries reach every broker.
    c.log.submit(fenceFloorCommand(9))
    // Broker `a` applies the commands 7, 8 and 9, and the takeover of the sessions of broker `b`.
    // Broker `b` applies only 9, because it replayed the rest when it read the log again.
    await Promise.all([a.broker.whenApplied(4), b.broker.whenApplied(1)])
    expect([...b.broker.dump()]).to.deep.equal([...a.broker.dump()])
    for (const { broker } of [a, c]) expect(broker.events.items).to.deep.equal(['serve'])
  })

  it('stops all brokers if the entry never arrives at any broker', async () => {
    // Also drops the entry when a broker reads the log again.
    const isDropped = (text: string) => text.includes('"fence":7,')
    const brokers = [await start(isDropped), await start(isDropped)]
    brokers[0]!.log.submit(fenceFloorCommand(7))
    for (const { broker } of brokers) {
      await broker.events.waitUntil(() => broker.failure !== undefined)
      expect(broker.failure?.message).to.match(/has lost entry \d+ of broker .* from a backup/)
      expect(broker.events.items).to.deep.equal(['serve', 'resign', 'restore', 'fail'])
    }
  })
})
