/**
 * Shared by the tests of the engine on etcd: one cluster for a suite, a prefix for each test,
 * engines that are closed after the test, and a recording follower.
 */
import { type EngineOptions, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import { Collector } from '../e2e/stage.js'
import { type ClusterOptions, EtcdCluster } from '../support/etcd.js'
import { needs } from '../support/needs.js'

/** A listener that records what it receives. */
export class Reader {
  readonly entries = new Collector<readonly [position: number, entry: string]>()
  readonly ends = new Collector<string>()

  entry(position: number, entry: string): void {
    this.entries.add([position, entry])
  }

  compacted(): void {
    this.ends.add('compacted')
  }

  failed(error: Error): void {
    this.ends.add(error.message)
  }

  get texts(): string[] {
    return this.entries.items.map(([, text]) => text)
  }
}

export const config = { format: 1, deadMs: 1_500, cluster: '' }

export class EtcdStage {
  #cluster: EtcdCluster | undefined
  #engines: EtcdEngine[] = []
  #count = 0

  /** A stage for the tests of the calling suite, which need etcd. */
  static forSuite(options: ClusterOptions = {}): EtcdStage {
    const stage = new EtcdStage()
    needs('etcd')
    before('etcd', async function () {
      this.timeout(60_000)
      stage.#cluster = await EtcdCluster.start(options)
    })
    beforeEach(() => {
      stage.#count++
    })
    afterEach(() => Promise.all(stage.#engines.splice(0).map((engine) => engine.close())))
    after(() => stage.#cluster?.stop())
    return stage
  }

  get cluster(): EtcdCluster {
    return this.#cluster!
  }

  /** The prefix of this test. */
  get prefix(): string {
    return `test${this.#count}`
  }

  engine(options: Partial<EngineOptions> = {}): EtcdEngine {
    const { endpoints } = this.cluster
    const address = { endpoints, prefix: this.prefix, openTimeoutMs: 5_000 }
    const engine = new EtcdEngine({ ...address, ...options }, nodeEnvironment)
    this.#engines.push(engine)
    return engine
  }

  async opened(options: Partial<EngineOptions> = {}): Promise<EtcdEngine> {
    const engine = this.engine(options)
    await engine.open(config)
    return engine
  }

  /** All keys under the prefix of this test, without the prefix. */
  async keys(): Promise<string[]> {
    const { prefix } = this
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const { kvs = [] } = await (await this.cluster.leader()).ask<{ kvs?: { key: string }[] }>(
      '/v3/kv/range',
      { key: base64(`${prefix}/`), range_end: base64(`${prefix}0`), keys_only: true },
    )
    return kvs.map(({ key }) =>
      Buffer.from(key, 'base64')
        .toString()
        .slice(prefix.length + 1),
    )
  }
}
