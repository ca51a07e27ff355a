/**
 * The fixture of the tests with PostgreSQL: one server for a suite, a schema for each test, and
 * engines that are closed after the test.
 */
import {
  nodeEnvironment,
  PostgresEngine,
  type PostgresEngineOptions,
  parsePostgresAddress,
} from '@holdfast/server/internal'
import type { HoldfastError } from '@holdfast/shared'
import { needs } from '../support/needs.js'
import { Postgres, type PostgresOptions } from '../support/postgres.js'
import type { EngineStage } from './engineSuite.js'
import { logConfig } from './etcdStage.js'

/** The number of tests so far. Each test has a schema, named after this number. */
let testCount = 0

export class PostgresStage implements EngineStage {
  #server: Postgres | undefined
  #engines: PostgresEngine[] = []

  /** A stage for the tests of the calling suite, which need PostgreSQL. */
  static forSuite(options: PostgresOptions = {}): PostgresStage {
    const stage = new PostgresStage()
    needs('postgres', 'setpriv')
    before('PostgreSQL', async function () {
      this.timeout(60_000)
      stage.#server = await Postgres.start(options)
    })
    beforeEach(() => {
      testCount++
    })
    afterEach(() => Promise.all(stage.#engines.splice(0).map((engine) => engine.close())))
    after(() => stage.#server?.stop())
    return stage
  }

  get server(): Postgres {
    return this.#server!
  }

  /** The schema of this test. */
  get schema(): string {
    return `test${testCount}`
  }

  /** The address of this test's log, for the option `--log` of `holdfast serve`. */
  get url(): string {
    return this.server.logUrl(this.schema)
  }

  /** Makes a database that no other test uses, and resolves with the address for `--log`. */
  async newDatabase(): Promise<string> {
    // The database gets the same name as the schema in it.
    const database = this.schema
    await this.server.sql.unsafe(`create database ${database}`)
    return this.server.logUrl(this.schema, { database })
  }

  /** Makes an engine that is not open. */
  newEngine(options: Partial<PostgresEngineOptions> = {}): PostgresEngine {
    const address = { ...parsePostgresAddress(this.url), openTimeoutMs: 20_000 }
    const engine = new PostgresEngine({ ...address, ...options }, nodeEnvironment)
    this.#engines.push(engine)
    return engine
  }

  /** Makes and opens an engine. */
  async openEngine(options: Partial<PostgresEngineOptions> = {}): Promise<PostgresEngine> {
    const engine = this.newEngine(options)
    await engine.open(logConfig)
    return engine
  }

  /** An engine that reaches the server through this port. */
  newEngineThrough(port: number, options: Partial<PostgresEngineOptions> = {}): PostgresEngine {
    return this.newEngine({ hosts: [{ host: '127.0.0.1', port }], ...options })
  }
}

/** Appends an entry, and repeats the append while its outcome is unknown. */
export async function appendUntilKnown(engine: PostgresEngine, slot: string, entry: string) {
  for (;;) {
    try {
      await engine.append(slot, entry)
      return
    } catch (error) {
      if ((error as HoldfastError).code !== 'UNAVAILABLE') throw error
      // After UNAVAILABLE the outcome is unknown. A broker also appends the same entry again then.
    }
  }
}
