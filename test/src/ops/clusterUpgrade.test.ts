/**
 * Upgrades the brokers of a cluster one after another, so that two builds of the server run in one
 * cluster. Meanwhile one client holds a lock and another client waits for the lock. The brokers
 * share a command log, which orders all changes of the lock table. Both builds write the same
 * format of the log.
 *
 * sharedLog.test.ts tests the other case: a broker that meets an entry of a newer format ends with
 * exit code 78.
 */
import { connect } from '@holdfast/client'
import { brokerVersion } from '@holdfast/server/internal'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { PostgresStage } from '../log/postgresStage.js'
import { isFullRun } from '../support/counts.js'
import { freePort } from '../support/freePort.js'
import { makeOtherBuild, type OtherBuild } from '../support/otherBuild.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

const brokerCount = 3

/** A cluster whose brokers can be upgraded. An upgraded broker keeps its port. */
class UpgradableCluster {
  readonly #stage: Stage
  readonly #logAddress: string
  readonly #brokers: { readonly port: number; command: Holdfast }[] = []

  constructor(stage: Stage, logAddress: string) {
    this.#stage = stage
    this.#logAddress = logAddress
  }

  get urls(): string[] {
    return this.#brokers.map(({ port }) => `ws://127.0.0.1:${port}`)
  }

  /** Starts another broker, on a free port. */
  async add(): Promise<void> {
    const port = await freePort()
    this.#brokers.push({ port, command: await this.#start(port) })
  }

  /** Stops the broker with SIGTERM, as a supervisor does, and starts the other build instead. */
  async upgrade(index: number, build: OtherBuild): Promise<void> {
    const broker = this.#brokers[index]!
    broker.command.process.kill('SIGTERM')
    const { code, err } = await broker.command.ended()
    expect([code, err]).to.deep.equal([0, []])
    broker.command = await this.#start(broker.port, build.main)
  }

  /** Reads from the `welcome` of each broker its version, and whether it has a feature. */
  async versions(feature: string): Promise<[version: string, hasFeature: boolean][]> {
    const versions: [string, boolean][] = []
    for (const url of this.urls) {
      const client = new RawClient(url)
      await client.opened()
      client.send({ type: 'hello' })
      const { version, features } = await client.receive('welcome')
      versions.push([version!, features!.includes(feature)])
      client.socket.terminate()
    }
    return versions
  }

  async #start(port: number, main?: string): Promise<Holdfast> {
    const args = ['serve', '--port', String(port), '--dashboard', 'none', '--log', this.#logAddress]
    const command = Holdfast.start(this.#stage, args, { main })
    // The broker prints its URL when it listens.
    await command.out.waitForCount(1)
    return command
  }
}

/** Upgrades a cluster, and checks the holder and the waiter during the upgrade. */
async function upgradeWithoutLoss(stage: Stage, logAddress: string): Promise<void> {
  // Only the new build has `newBuild.feature`.
  const newBuild = makeOtherBuild(makeScratchFolder(stage).path('other'))
  const cluster = new UpgradableCluster(stage, logAddress)
  for (let i = 0; i < brokerCount; i++) await cluster.add()
  const oldVersions = await cluster.versions(newBuild.feature)
  expect(oldVersions).to.deep.equal(
    Array.from({ length: brokerCount }, () => [brokerVersion, false]),
  )

  // Each of the three events below means that a client has lost a lock or its whole session.
  const losses: string[] = []
  const open = async (name: string) => {
    const session = await connect(cluster.urls, { grace: 'lease', name })
    stage.onCleanUp(() => session.close())
    for (const event of ['lost', 'newSession', 'closed'] as const) {
      session.on(event, () => losses.push(`${name}: ${event}`))
    }
    return session
  }
  const [holder, waiter] = [await open('holder'), await open('waiter')]
  const lock = await holder.lock('kept')
  let isGranted = false
  const granted = waiter.lock('kept').then((nextLock) => {
    isGranted = true
    return nextLock
  })
  for (let i = 0; i < brokerCount; i++) {
    await cluster.upgrade(i, newBuild)
    const versions = await cluster.versions(newBuild.feature)
    const upgraded = versions.filter(([, hasFeature]) => hasFeature)
    expect(upgraded).to.deep.equal(Array.from({ length: i + 1 }, () => [newBuild.version, true]))
    // Two more locks add entries to the log, which brokers of both builds must understand.
    await holder.withLock('other', () => waiter.withLock('another', () => {}))
    expect([losses, lock.held, isGranted]).to.deep.equal([[], true, false])
  }
  await lock.unlock()
  const nextLock = await granted
  expect(nextLock.fence).to.be.above(lock.fence)
  expect(losses).to.deep.equal([])
}

describe('an upgrade of a cluster on etcd, broker by broker', function () {
  this.timeout(120_000)
  const etcd = EtcdStage.forSuite({ members: 1 })
  const stage = Stage.forEachTest()

  it('loses no lock and no place in a queue while two builds run', async () => {
    await upgradeWithoutLoss(stage, etcd.cluster.logUrl(etcd.prefix))
  })
})

// The builds do not differ in their code for a log, so a quick run tests only one kind of log.
const describeOfFullRun = isFullRun ? describe : () => {}

describeOfFullRun('an upgrade of a cluster in PostgreSQL, broker by broker', function () {
  this.timeout(120_000)
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  it('loses no lock and no place in a queue while two builds run', async () => {
    await upgradeWithoutLoss(stage, postgres.url)
  })
})
