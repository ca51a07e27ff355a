/**
 * The fixture ("stage") of the tests with etcd: one etcd cluster for a suite, a prefix of keys for
 * each test, and engines that are closed after the test. An engine stores the entries of a command
 * log (the record of all changes of locks) on etcd. The file also has a reader, which records the
 * entries of a log.
 */
import { type EngineOptions, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import type { Clock } from '@holdfast/shared'
import { Collector } from '../e2e/stage.js'
import { type ClusterOptions, EtcdCluster } from '../support/etcd.js'
import { needs } from '../support/needs.js'

/** A listener that records what an engine delivers. */
export class Reader {
  readonly entries = new Collector<readonly [position: number, entry: string]>()
  /** Why the engine delivers no more entries: `compacted`, or an error message. */
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

  /** The texts of the delivered entries, in order. */
  get texts(): string[] {
    return this.entries.items.map(([, text]) => text)
  }
}

/**
 * The configuration of the command log that the engines of tests open. After a silence of `deadMs`,
 * a broker is declared dead. The deadline of a call to etcd is a fifth of `deadMs`, but at most
 * 1 s, as here. With a smaller `deadMs`, calls would fail on a slow machine.
 */
export const logConfig = { format: 3, deadMs: 6_000, cluster: '' }

export class EtcdStage {
  #cluster: EtcdCluster | undefined
  #engines: EtcdEngine[] = []
  /** The number of the current test, from 1. Part of the prefix of the test. */
  #testCount = 0
  readonly #clock: Clock

  private constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Makes the stage for the tests of the calling suite. These tests are skipped without etcd.
   *
   * @param clock The clock of the engines. Default: the clock of the machine.
   */
  static forSuite(options: ClusterOptions = {}, clock: Clock = nodeEnvironment.clock): EtcdStage {
    const stage = new EtcdStage(clock)
    needs('etcd')
    before('etcd', async function () {
      this.timeout(60_000)
      stage.#cluster = await EtcdCluster.start(options)
    })
    beforeEach(() => {
      stage.#testCount++
    })
    afterEach(() => Promise.all(stage.#engines.splice(0).map((engine) => engine.close())))
    after(() => stage.#cluster?.stop())
    return stage
  }

  get cluster(): EtcdCluster {
    return this.#cluster!
  }

  /** The prefix of the keys of this test. */
  get prefix(): string {
    return `test${this.#testCount}`
  }

  /** Makes an engine that is not open. */
  newEngine(options: Partial<EngineOptions> = {}): EtcdEngine {
    const { endpoints } = this.cluster
    const address = { endpoints, prefix: this.prefix, openTimeoutMs: 20_000 }
    const environment = { ...nodeEnvironment, clock: this.#clock }
    const engine = new EtcdEngine({ ...address, ...options }, environment)
    this.#engines.push(engine)
    return engine
  }

  /** Makes and opens an engine. */
  async openEngine(options: Partial<EngineOptions> = {}): Promise<EtcdEngine> {
    const engine = this.newEngine(options)
    await engine.open(logConfig)
    return engine
  }

  /** Removes the keys of all tests, because a broker warns of other logs on the same etcd. */
  async removeAllKeys(): Promise<void> {
    // In etcd, the range that begins and ends with a zero byte has all keys.
    const zeroByte = Buffer.from('\0').toString('base64')
    const allKeys = { key: zeroByte, range_end: zeroByte }
    await (await this.cluster.leader()).ask('/v3/kv/deleterange', allKeys)
  }

  /** All keys under the prefix of this test, without the prefix. */
  async keys(): Promise<string[]> {
    const { prefix } = this
    // The digit 0 is the next character after the slash, so the range has all these keys.
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
