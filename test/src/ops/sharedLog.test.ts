/**
 * Tests `holdfast serve --log`, which starts brokers that share a command log in PostgreSQL or
 * etcd. The command log orders all changes of the lock table. For invalid settings the command
 * prints one message. The exit code shows whether a supervisor should start the command again: 78
 * for no, 69 and 74 for yes. With 74, the log failed while the broker served.
 *
 * The dead time is the time after which the other brokers declare a silent broker dead. A cell is a
 * cluster with a part of the keys: `--cell 1/2` is the first of two cells. A fence is the number of
 * a grant. A journal is a command log on disk.
 */
import { connect, type Session } from '@holdfast/client'
import type { HeldInfo } from '@holdfast/shared'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { PostgresStage } from '../log/postgresStage.js'
import { isFullRun } from '../support/counts.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

/** An address at which no etcd listens. */
const noEtcd = 'etcd://127.0.0.1:1/p'
/** An address at which no PostgreSQL listens. */
const noDatabase = 'postgres://u@127.0.0.1:1/d'
/** The URL of a broker that does not run. */
const unreachable = 'ws://127.0.0.1:1'

/**
 * Queries a broker until the key is held. A broker reads the grant of another broker from the log a
 * little later.
 */
async function heldLocks(session: Session, key: string): Promise<readonly HeldInfo[]> {
  for (;;) {
    const { held } = await session.query({ key })
    if (held.length > 0) return held
  }
}

describe('the settings of holdfast serve --log', () => {
  const stage = Stage.forEachTest()
  const wrongSettings: [string, string[], RegExp][] = [
    [
      'an invalid address',
      ['--log', '127.0.0.1:2379'],
      /address of a log must be etcd:\/\/host:port/,
    ],
    ['a missing prefix', ['--log', 'etcd://127.0.0.1:2379'], /must have a prefix/],
    [
      'a password in the address',
      ['--log', 'etcd://a:b@127.0.0.1/p'],
      /set --log-user NAME and --log-password-file FILE instead$/,
    ],
    [
      'a journal with a shared log',
      ['--log', noEtcd, '--journal', '/j'],
      /--journal and --log are both set/,
    ],
    [
      'a quiet start with a shared log',
      ['--log', noEtcd, '--quiet-start', '5s'],
      /--quiet-start and --log are both set: remove --quiet-start/,
    ],
    [
      'a dead time without a shared log',
      ['--dead-time', '3s'],
      /^holdfast: --dead-time is set without --log: set --log URL, or remove --dead-time/,
    ],
    [
      'a snapshot interval without a shared log',
      ['--snapshot-every', '3m'],
      /^holdfast: --snapshot-every is set without --log/,
    ],
    [
      'a name with a space',
      ['--log', noEtcd, '--name', 'a b'],
      /--name must be 1 to 32 letters, digits and \. _ -, not "a b"/,
    ],
    [
      'no brokers',
      ['--log', noEtcd, '--brokers', '0'],
      /--brokers must be an integer from 1 to 100, not 0/,
    ],
    [
      'a snapshot interval that is too short',
      ['--log', noEtcd, '--snapshot-every', '9s'],
      /--snapshot-every must be an integer from 10000 to/,
    ],
    [
      'a dead time that is too short',
      ['--log', noEtcd, '--dead-time', '999ms'],
      /--dead-time must be an integer from/,
    ],
    [
      'TLS files for an address without TLS',
      ['--log', noEtcd, '--log-ca', 'x'],
      /--log-ca needs etcd over TLS: begin --log with etcds/,
    ],
    [
      'a certificate without a key',
      ['--log', noEtcd, '--log-cert', 'x'],
      /--log-cert is set alone: set both --log-cert FILE and --log-key FILE$/,
    ],
    [
      'a user without a password',
      ['--log', noEtcd, '--log-user', 'x'],
      /--log-user is set alone: set both --log-user NAME and --log-password-file FILE$/,
    ],
    [
      'a missing file',
      ['--log', noEtcd, '--log-user', 'x', '--log-password-file', '/nonexistent'],
      /The file \/nonexistent cannot be read \(ENOENT\)/,
    ],
    [
      'an address with an unknown scheme',
      ['--log', 'mysql://u@127.0.0.1/d'],
      /must be etcd:\/\/.*, or postgres:\/\/user@host\/database for PostgreSQL, not "mysql:/,
    ],
    [
      'an address of PostgreSQL without a user',
      ['--log', 'postgres://127.0.0.1/d'],
      /must name a user/,
    ],
    [
      'two users for PostgreSQL',
      ['--log', noDatabase, '--log-user', 'v'],
      /address of the log has the user u, but --log-user is v: remove one of them$/,
    ],
    [
      'a password in the address of PostgreSQL',
      ['--log', 'postgres://u:secret@127.0.0.1/d'],
      /must not contain a password: set --log-password-file FILE instead$/,
    ],
    [
      'a missing password file for PostgreSQL',
      ['--log', noDatabase, '--log-password-file', '/nonexistent'],
      /The file \/nonexistent cannot be read \(ENOENT\)/,
    ],
    [
      'TLS files for PostgreSQL without TLS',
      ['--log', `${noDatabase}?sslmode=disable`, '--log-ca', 'x'],
      /--log-ca needs PostgreSQL over TLS: remove sslmode=disable from --log$/,
    ],
  ]
  for (const [problem, args, message] of wrongSettings) {
    it(`are refused with one message and exit code 78: ${problem}`, async () => {
      const { code, err, out } = await Holdfast.run(stage, ['serve', '--check', ...args])
      expect(err).to.have.length(1)
      expect(err[0])
        .to.match(/^holdfast: /)
        .and.to.match(message)
      expect([code, out]).to.deep.equal([78, []])
    })
  }

  it('come from variables and the config file, and are printed', async () => {
    const file = makeScratchFolder(stage).write('c.json', '{"deadTime":"3s"}')
    const env = { HOLDFAST_LOG: noEtcd }
    const { code, out } = await Holdfast.run(stage, ['serve', '--check', '-c', file], { env })
    expect(code).to.equal(0)
    expect(out).to.include(`holdfast uses log ${noEtcd} from HOLDFAST_LOG`)
    expect(out).to.include(`holdfast uses deadTime 3s from ${file}`)
  })
})

describe('holdfast serve --log on etcd', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite()
  const stage = Stage.forEachTest()

  const serveArgs = (...more: string[]): string[] => {
    return ['serve', '--port', '0', '--log', etcd.cluster.logUrl(etcd.prefix), ...more]
  }

  /** Starts a broker with these further flags. Returns its URL. */
  async function start(...more: string[]): Promise<string> {
    const serve = Holdfast.start(stage, serveArgs(...more))
    const [line] = await serve.out.waitForCount(1)
    return /ws:\S+/.exec(line!)![0]
  }

  /** Runs a command that must fail. Returns its exit code and its only message. */
  async function refused(args: readonly string[]) {
    const { code, err, out } = await Holdfast.run(stage, args)
    expect(out).to.deep.equal([])
    expect(err).to.have.length(1)
    return { code, message: err[0] }
  }

  it('shares all locks between two brokers', async () => {
    const sessions = await Promise.all(
      [await start(), await start()].map((url) => connect(url, { grace: 'lease' })),
    )
    for (const session of sessions) stage.onCleanUp(() => session.close())
    const [alice, bob] = sessions
    const lock = await alice!.lock('orders:42')
    const requestOfBob = bob!.lock('orders:42')
    const held = await heldLocks(bob!, 'orders:42')
    expect(held.map(({ session }) => session)).to.deep.equal([alice!.id])
    await lock.unlock()
    const lockOfBob = await requestOfBob
    expect(lockOfBob.fence).to.be.greaterThan(lock.fence)
  })

  it('refuses a second broker with another dead time', async () => {
    await start('--dead-time', '2s')
    const { code, message } = await refused(serveArgs('--dead-time', '3s'))
    expect(code).to.equal(78)
    expect(message).to.equal(
      `holdfast: The prefix ${etcd.prefix} on etcd has a log with a dead time of 2000 ms, ` +
        'not 3000 ms: set --dead-time TIME to the dead time of the log',
    )
  })

  it('refuses a second broker whose --cell differs from the cell of the log', async () => {
    await start('--cell', '1/2')
    for (const cell of ['2/2', '1/3']) {
      const { code, message } = await refused(serveArgs('--cell', cell))
      expect(code).to.equal(78)
      expect(message).to.equal(
        `holdfast: The prefix ${etcd.prefix} on etcd belongs to the cluster "cell 1/2", ` +
          `not "cell ${cell}": choose another prefix`,
      )
    }
    // Without `--cell`, the name of the cluster is empty.
    expect((await refused(serveArgs())).message).to.match(/"cell 1\/2", not ""/)
    await start('--cell', '1/2')
  })

  it('serves no client of a new log until a majority of the brokers has joined', async () => {
    const startNamed = (name: string) => start('--brokers', '3', '--name', name)
    const first = await startNamed('first')
    const report = await Holdfast.run(stage, ['status', first])
    expect(report.code).to.equal(1)
    expect(report.out.join('\n')).to.match(/problem +the log is new, and only 1 of 3 brokers have/)
    const refusal = await expectRejection(connect(first, { grace: 'lease' }), 'UNAVAILABLE')
    expect(refusal.message).to.include('closed with 1012')
    const second = await startNamed('second')
    const statusOfSecond = () => Holdfast.run(stage, ['status', second])
    let statusReport = await statusOfSecond()
    while (statusReport.code !== 0) statusReport = await statusOfSecond()
    const session = await connect(second, { grace: 'lease' })
    stage.onCleanUp(() => session.close())
    expect(statusReport.out.join('\n')).to.match(/broker +first\n.*broker +second \(this broker\)/)
    // The key `founding` exists until a majority has joined. No broker serves while the key exists.
    expect(await etcd.keys()).not.to.include('founding')
  })

  it('warns that the same etcd has another log', async () => {
    await start()
    const args = ['serve', '--port', '0', '--name', 'lost', '--metrics', '--admin-port', '0']
    const log = ['--log', etcd.cluster.logUrl(`${etcd.prefix}-mistyped/log`)]
    const serve = Holdfast.start(stage, [...args, ...log])
    const [line] = await serve.err.waitForCount(1)
    const warning = JSON.parse(line!)
    expect(warning.msg).to.equal(
      'The storage has other Holdfast logs, whose brokers share no locks',
    )
    expect(warning.otherLogs).to.include(etcd.prefix)
    expect(warning.broker).to.equal('lost')
    const lines = await serve.out.waitUntil((all) => all.some((text) => text.includes('admin')))
    const [admin] = /http:\S+/.exec(lines.join('\n'))!
    const { out } = await Holdfast.run(stage, ['status', admin])
    expect(out.join('\n')).to.match(new RegExp(`other logs .*\\b${etcd.prefix}\\b`))
    expect(await (await fetch(`${admin}/metrics`)).text()).to.include(
      'holdfast_log_broker_info{name="lost"} 1',
    )
  })

  it('makes its clients reconnect at SIGUSR2, and lets them keep their locks', async () => {
    const otherUrl = await start()
    const serve = Holdfast.start(stage, serveArgs())
    const [line] = await serve.out.waitForCount(1)
    const serveUrl = /ws:\S+/.exec(line!)![0]
    // No broker runs at the first URL, so the session connects to the second. When the broker gets
    // SIGUSR2, it closes the connection, and the session tries all URLs from the first.
    const session = await connect([unreachable, serveUrl, otherUrl], { grace: 'lease' })
    stage.onCleanUp(() => session.close())
    const lock = await session.lock('kept')
    const resumed = new Promise<void>((resolve) => session.once('resumed', () => resolve()))
    serve.process.kill('SIGUSR2')
    await serve.out.waitUntil((lines) =>
      lines.some((text) => text.includes('has sent 1 client to')),
    )
    await resumed
    expect(lock.held).to.equal(true)
  })

  it('exits 78 at an entry of a newer version, while it runs and when it starts', async () => {
    const serve = Holdfast.start(stage, serveArgs())
    await serve.out.waitForCount(1)
    const member = await etcd.cluster.leader()
    const key = Buffer.from(`${etcd.prefix}/log/newer`).toString('base64')
    // `v` is the version of the format.
    const entry = { v: 99, broker: 'newer', n: 1, at: 0, join: {} }
    const value = Buffer.from(JSON.stringify(entry)).toString('base64')
    await member.ask('/v3/kv/put', { key, value })
    const [message] = await serve.err.waitForCount(1)
    expect(message).to.match(/^holdfast: The shared log has format 99, .*: update this broker$/)
    expect((await serve.ended()).code).to.equal(78)
    expect(await refused(serveArgs())).to.deep.equal({ code: 78, message })
  })

  it('exits 78 if the port is in use', async () => {
    const { port } = new URL(await start())
    // `serveArgs` begins with `--port 0`, but the last `--port` counts.
    const refusal = await refused(serveArgs('--port', port))
    expect(refusal.code).to.equal(78)
    expect(refusal.message).to.match(/^holdfast: Cannot listen on/)
  })

  it('refuses a prefix with keys of another program', async () => {
    const member = await etcd.cluster.leader()
    const key = Buffer.from(`${etcd.prefix}/registry`).toString('base64')
    await member.ask('/v3/kv/put', { key, value: '' })
    const { code, message } = await refused(serveArgs())
    expect(code).to.equal(78)
    expect(message).to.match(
      /has keys of another program \("test\d+\/registry"\): choose an unused prefix$/,
    )
  })

  // The command waits for several seconds, so this test runs only in a full run.
  if (isFullRun) {
    it('waits for an etcd that cannot be reached, and then exits 69', async () => {
      const refusal = await refused(['serve', '--port', '0', '--log', noEtcd])
      expect(refusal).to.deep.equal({
        code: 69,
        message:
          'holdfast: etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED); ' +
          'start it there, or correct the address in --log',
      })
    })
  }
})

describe('holdfast serve --log in PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  const serveArgs = (log: string, ...more: string[]): string[] => {
    return ['serve', '--port', '0', '--log', log, ...more]
  }

  /** Starts a broker over the log with this address. Resolves when the broker listens. */
  async function start(log: string): Promise<{ serve: Holdfast; url: string }> {
    const serve = Holdfast.start(stage, serveArgs(log))
    const [line] = await serve.out.waitForCount(1)
    return { serve, url: /ws:\S+/.exec(line!)![0] }
  }

  /** Runs a broker that must not start. Returns its exit code and its only message. */
  async function refused(log: string, ...more: string[]) {
    const { code, err, out } = await Holdfast.run(stage, serveArgs(log, ...more))
    expect(out).to.deep.equal([])
    expect(err).to.have.length(1)
    return { code, message: err[0] }
  }

  it('shares all locks between two brokers', async () => {
    const urls = [(await start(postgres.url)).url, (await start(postgres.url)).url]
    const sessions = await Promise.all(urls.map((url) => connect(url, { grace: 'lease' })))
    for (const session of sessions) stage.onCleanUp(() => session.close())
    const [alice, bob] = sessions
    const lock = await alice!.lock('orders:42')
    const requestOfBob = bob!.lock('orders:42')
    const held = await heldLocks(bob!, 'orders:42')
    expect(held.map(({ session }) => session)).to.deep.equal([alice!.id])
    await lock.unlock()
    const lockOfBob = await requestOfBob
    expect(lockOfBob.fence).to.be.greaterThan(lock.fence)
  })

  it('exits 78 for a problem that another start does not solve', async () => {
    const { server, schema } = postgres
    await start(postgres.url)
    await server.sql.unsafe('create role powerless login')
    const wrongStarts: [string, string[], RegExp][] = [
      [server.logUrl(schema).replace('/postgres?', '/missing?'), [], /database "missing" does not/],
      [server.logUrl(schema, { asUser: 'missing' }), [], /role "missing" does not exist/],
      [server.logUrl(schema, { asUser: 'powerless' }), [], /lacks the right USAGE on the schema/],
      // The user `powerless` may not create this schema.
      [
        server.logUrl(`${schema}_2`, { asUser: 'powerless' }),
        [],
        /does not exist in the database postgres/,
      ],
      // The default dead time is 6,000 ms.
      [postgres.url, ['--dead-time', '3s'], /has a log with a dead time of 6000 ms, not 3000 ms/],
      [postgres.url, ['--cell', '1/2'], /belongs to the cluster "", not "cell 1\/2"/],
    ]
    for (const [log, flags, message] of wrongStarts) {
      const result = await refused(log, ...flags)
      expect(result.message).to.match(/^holdfast: /)
      expect(result.message).to.match(message)
      expect(result.code).to.equal(78)
    }
  })

  it('exits 74 in running brokers when the log has lost an entry, and 78 in a broker that starts', async () => {
    const brokers = [await start(postgres.url), await start(postgres.url)]
    const { sql } = postgres.server
    // Removes the newest entry, as if a standby without this entry had replaced the server.
    await sql.unsafe(`
      update ${postgres.schema}.log_state set position = position - 1;
      delete from ${postgres.schema}.log_entries
        where position = (select max(position) from ${postgres.schema}.log_entries)`)
    const message = /was replaced \(.*\), for example by a restore .* start the brokers again$/
    for (const { serve } of brokers) {
      const { code, err } = await serve.ended()
      expect(err.at(-1)).to.match(message)
      expect(code).to.equal(74)
    }
    // A start cannot succeed until an operator drops the schema.
    const laterStart = await refused(postgres.url)
    expect(laterStart.message).to.match(message)
    expect(laterStart.code).to.equal(78)
  })

  // The command waits for several seconds, so this test runs only in a full run.
  if (isFullRun) {
    it('waits for a PostgreSQL that does not answer, and then exits 69', async () => {
      expect(await refused(noDatabase)).to.deep.equal({
        code: 69,
        message:
          'holdfast: PostgreSQL at 127.0.0.1:1 cannot be reached (ECONNREFUSED); ' +
          'start it there, or correct the address in --log',
      })
    })
  }
})
