/**
 * Tests the engine that stores a shared command log (the record of all changes of locks) in
 * PostgreSQL. The tests use poolers, standbys and synchronous replication. In a failover, the
 * standby has or lacks the newest commits. A pooler shares few connections among many clients. A
 * number in the title of a test is the number of its pitfall (a property of PostgreSQL that can
 * lose entries); `postgresPitfalls.test.ts` has the other pitfalls.
 */
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import { needs } from '../support/needs.js'
import { PgBouncer } from '../support/pgbouncer.js'
import { Postgres } from '../support/postgres.js'
import { logConfig, Reader } from './etcdStage.js'
import { appendUntilKnown, PostgresStage } from './postgresStage.js'

describe('log: pitfalls of poolers in front of PostgreSQL', function () {
  this.timeout(60_000)
  needs('pgbouncer')
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  /** Starts a pooler, which is stopped after the test. */
  async function pooler(mode: 'session' | 'transaction' | 'statement'): Promise<PgBouncer> {
    const pgBouncer = await PgBouncer.start(postgres.server, mode)
    stage.onCleanUp(() => pgBouncer.stop())
    return pgBouncer
  }

  for (const mode of ['transaction', 'statement'] as const) {
    it(`7: the engine refuses a pooler in the mode "${mode}"`, async () => {
      const { port } = await pooler(mode)
      const { message } = await expectRejection(
        postgres.newEngineThrough(port).open(logConfig),
        'INVALID_OPTION',
      )
      expect(message).to.equal(
        `PostgreSQL at 127.0.0.1:${port} is reached through a pooler in transaction mode, which ` +
          'loses LISTEN: give the address of the server, or set the pooler to session mode',
      )
    })
  }

  it('7: the engine refuses a pooler that does not know the database', async () => {
    const { port } = await pooler('session')
    const engine = postgres.newEngineThrough(port, { database: 'missing' })
    const { message } = await expectRejection(engine.open(logConfig), 'INVALID_OPTION')
    expect(message).to.match(/; correct the address of the log, or the settings of the pooler$/)
  })

  it('7: the engine works through a pooler in the mode "session"', async () => {
    const { port } = await pooler('session')
    const engine = postgres.newEngineThrough(port)
    await engine.open(logConfig)
    const reader = new Reader()
    engine.follow(0, reader)
    // On a busy machine the pooler may answer too late. The outcome of the append is then unknown.
    for (const text of ['a', 'b', 'c']) await appendUntilKnown(engine, 's', text)
    await reader.entries.waitForCount(3)
    expect(reader.texts).to.deep.equal(['a', 'b', 'c'])
  })
})

describe('log: pitfalls of replication in PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  afterEach(() => postgres.server.set('synchronous_standby_names', ''))

  /** Starts a standby of the server, which is stopped after the test. */
  async function standbyOf(server: Postgres): Promise<Postgres> {
    const standby = await server.startStandby()
    stage.onCleanUp(() => standby.stop())
    return standby
  }

  /** Starts a primary and its standby for one test, because the test ends the primary. */
  async function primaryAndStandby() {
    const primary = await Postgres.start()
    stage.onCleanUp(() => primary.stop())
    const standby = await standbyOf(primary)
    const hosts = [primary, standby].map(({ host, port }) => ({ host, port }))
    return { primary, standby, hosts }
  }

  /** Resolves when the standby has everything that the primary has. */
  async function untilCaughtUp(primary: Postgres): Promise<void> {
    for (;;) {
      const [row] = await primary.sql`
        select bool_and(replay_lsn = pg_current_wal_lsn()) as is_caught_up from pg_stat_replication`
      if (row!['is_caught_up'] === true) return
    }
  }

  /** The server process whose commit waits for a standby; undefined if there is none now. */
  async function findWaitingCommit(): Promise<number | undefined> {
    const [row] = await postgres.server.sql`
      select pid from pg_stat_activity where wait_event = 'SyncRep'`
    return row?.['pid'] as number | undefined
  }

  /** Resolves with the server process whose commit waits for a standby, when there is one. */
  async function untilCommitWaits(): Promise<number> {
    for (;;) {
      const pid = await findWaitingCommit()
      if (pid !== undefined) return pid
    }
  }

  /** Ends the wait of this server process. Its commit then succeeds without the standby. */
  async function cancelWait(pid: number): Promise<void> {
    await postgres.server.sql`select pg_cancel_backend(${pid})`
  }

  /**
   * Makes commits wait for a standby that does not exist. The setting takes effect a little later.
   * So this function makes commits until a commit waits, and then cancels this wait.
   */
  async function makeCommitsWait(): Promise<void> {
    const { sql } = postgres.server
    await postgres.server.set('synchronous_standby_names', 'missing')
    for (;;) {
      let isCommitted = false
      const commit = sql`select pg_logical_emit_message(true, '', '')`.then(() => {
        isCommitted = true
      })
      while (!isCommitted) {
        const pid = await findWaitingCommit()
        if (pid === undefined) continue
        await cancelWait(pid)
        await commit
        return
      }
    }
  }

  it('8: the engine refuses a standby', async () => {
    const { host, port } = await standbyOf(postgres.server)
    const engine = postgres.newEngine({ hosts: [{ host, port }] })
    const { message } = await expectRejection(engine.open(logConfig), 'INVALID_OPTION')
    expect(message).to.equal(
      `PostgreSQL at 127.0.0.1:${port} is a standby: give the address of the primary`,
    )
  })

  it('8: the engine reads and writes at the primary, although the standby comes first in the address', async () => {
    const standby = await standbyOf(postgres.server)
    const hosts = [standby, postgres.server].map(({ host, port }) => ({ host, port }))
    const engine = await postgres.openEngine({ hosts })
    const reader = new Reader()
    engine.follow(0, reader)
    await engine.append('s', 'a')
    await reader.entries.waitForCount(1)
    const sessions = await standby.sql`
      select from pg_stat_activity where application_name = 'holdfast'`
    expect(sessions).to.have.length(0)
  })

  it('9: an append has an unknown outcome if its commit did not wait for the standby', async () => {
    const engine = await postgres.openEngine()
    const reader = new Reader()
    engine.follow(0, reader)
    await engine.append('s', 'before')
    await makeCommitsWait()
    const appending = expectRejection(engine.append('s', 'unsafe'), 'UNAVAILABLE')
    await cancelWait(await untilCommitWaits())
    expect((await appending).message).to.match(
      /committed an entry without its synchronous standby, so the entry is not safe yet$/,
    )
    // The entry is in the log, but the second attempt must wait for the standby too.
    const secondAttempt = expectRejection(engine.append('s', 'unsafe'), 'UNAVAILABLE')
    await cancelWait(await untilCommitWaits())
    await secondAttempt
    await postgres.server.set('synchronous_standby_names', '')
    await appendUntilKnown(engine, 's', 'unsafe')
    await engine.append('s', 'after')
    await reader.entries.waitForCount(3)
    expect(reader.texts).to.deep.equal(['before', 'unsafe', 'after'])
  })

  it('9: commits wait for the disk, although the administrator set synchronous_commit to off', async () => {
    await postgres.server.set('synchronous_commit', 'off')
    const engine = await postgres.openEngine()
    await engine.append('s', 'a')
    const { sql } = postgres.server
    // Checks that the administrator's setting is in force for this connection of the test. The
    // sessions of the engine override the setting.
    const setting = await sql`select source from pg_settings where name = 'synchronous_commit'`
    expect(setting[0]!['source']).to.equal('configuration file')
    const before = await sql`select pg_current_wal_lsn() as at`
    // When the append returns, its commit must be flushed: the flushed position is past `before`.
    await engine.append('s', 'b')
    const [flushed] = await sql`
      select pg_current_wal_flush_lsn() > ${before[0]!['at'] as string} as is_flushed`
    expect(flushed!['is_flushed']).to.equal(true)
    await postgres.server.set('synchronous_commit', 'on')
  })

  it('9: the engine continues at a synchronous standby that replaces the primary, and loses nothing', async () => {
    const { primary, standby, hosts } = await primaryAndStandby()
    await primary.set('synchronous_standby_names', 'standby')
    const engine = await postgres.openEngine({ hosts })
    const other = await postgres.openEngine({ hosts })
    const readers = [engine, other].map((followedEngine) => {
      const reader = new Reader()
      followedEngine.follow(0, reader)
      return reader
    })
    for (let i = 0; i < 20; i++) await engine.append('s', `${i}`)
    const appending = (async () => {
      for (let i = 20; i < 60; i++) await appendUntilKnown(engine, 's', `${i}`)
    })()
    // Kills the primary while further entries are appended.
    await readers[1]!.entries.waitForCount(25)
    await primary.end('SIGKILL')
    // A tool that manages the failover also takes these two steps.
    await standby.set('synchronous_standby_names', '')
    await standby.promote()
    await appending
    for (const reader of readers) {
      await reader.entries.waitForCount(60)
      expect(reader.texts).to.deep.equal(Array.from({ length: 60 }, (_, i) => `${i}`))
      expect(reader.ends.items).to.deep.equal([])
    }
  })

  for (const hasOtherCommits of [false, true]) {
    const difference = hasOtherCommits
      ? 'has other commits in place of the newest'
      : 'lacks the newest commits'
    it(`9: every broker stops when the standby that replaces the primary ${difference}`, async () => {
      const { primary, standby, hosts } = await primaryAndStandby()
      // The first broker reaches the standby through a proxy, which the test can shut.
      const proxy = await TcpProxy.to(standby.port)
      stage.onCleanUp(() => proxy.close())
      const proxied = { host: '127.0.0.1', port: Number(new URL(proxy.url).port) }
      const engine = await postgres.openEngine({ hosts: [hosts[0]!, proxied] })
      const otherEngine = await postgres.openEngine({ hosts })
      const [reader, otherReader] = [new Reader(), new Reader()]
      engine.follow(0, reader)
      const following = otherEngine.follow(0, otherReader)
      await engine.append('s', 'kept')
      await otherReader.entries.waitForCount(1)
      await untilCaughtUp(primary)
      following.stop()
      await standby.end()
      for (const text of ['lost 1', 'lost 2']) await engine.append('s', text)
      await reader.entries.waitForCount(3)
      // The first broker must not find the standby before the commits of the other broker, if any.
      proxy.refuseConnections()
      await primary.end('SIGKILL')
      await standby.start()
      await standby.promote()
      if (hasOtherCommits) {
        // More entries than the standby has lost, so that the position of the log does not go back.
        for (let i = 0; i < 3; i++) await appendUntilKnown(otherEngine, 'other', `${i}`)
      }
      proxy.acceptConnections()
      const [message] = await reader.ends.waitForCount(1)
      expect(message).to.match(
        hasOtherCommits
          ? /was replaced \(entry 3 is another entry now\)/
          : /was replaced \(its position went back from 3 to 1\)/,
      )
      expect(message).to.match(/: stop all brokers, wait .* and start the brokers again$/)
      // The other broker has not seen the lost entries, but must stop too.
      otherEngine.follow(0, otherReader)
      const [otherMessage] = await otherReader.ends.waitForCount(1)
      expect(otherMessage).to.equal(message)
      await expectRejection(engine.append('s', 'more'), 'INVALID_OPTION')
      const lateEngine = postgres.newEngine({ hosts })
      expect(
        (await expectRejection(lateEngine.open(logConfig), 'INVALID_OPTION')).message,
      ).to.equal(message)
    })
  }

  it('a broker stops when the schema is dropped, and a new broker begins a new log', async () => {
    const engine = await postgres.openEngine()
    const reader = new Reader()
    engine.follow(0, reader)
    await engine.append('s', 'a')
    await reader.entries.waitForCount(1)
    await postgres.server.sql.unsafe(`drop schema ${postgres.schema} cascade`)
    expect((await reader.ends.waitForCount(1))[0]).to.match(/was replaced \(its tables are gone\)/)
    const newEngine = await postgres.openEngine()
    const newReader = new Reader()
    newEngine.follow(0, newReader)
    await newEngine.append('s', 'b')
    await newReader.entries.waitForCount(1)
    expect(newReader.entries.items).to.deep.equal([[1, 'b']])
  })
})
