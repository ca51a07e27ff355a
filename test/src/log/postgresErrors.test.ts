/**
 * Tests the error messages of the engine that stores a shared command log in PostgreSQL, for wrong
 * settings and broken states of PostgreSQL. A command log is the record of all changes of locks.
 * The code `UNAVAILABLE` means that another try may help (exit code 69 of `holdfast serve`). The
 * code `INVALID_OPTION` means that another try does not help (exit code 78).
 */
import { createConnection, createServer } from 'node:net'
import { postgresLog } from '@holdfast/server'
import type { PostgresEngine, PostgresEngineOptions } from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { type Filter, TcpProxy } from '../faults/proxy.js'
import { makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { quickOrFull } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { logConfig, Reader } from './etcdStage.js'
import { PostgresStage } from './postgresStage.js'

type Code = 'UNAVAILABLE' | 'INVALID_OPTION'

describe('log: a faulty PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite({ hba: ['host all guarded all scram-sha-256'] })
  const stage = Stage.forEachTest()

  /** The message of the error with which the engine refuses to open: one line, no full stop. */
  async function refusal(engine: PostgresEngine, code: Code): Promise<string> {
    const { message } = await expectRejection(engine.open(logConfig), code)
    expect(message).to.match(/^[^\n]*[^.\n]$/)
    return message
  }

  /** Makes an engine that gives up after a short time. */
  function impatient(options: Partial<PostgresEngineOptions> = {}): PostgresEngine {
    return postgres.newEngine({ openTimeoutMs: 600, ...options })
  }

  /** Creates a role that may log in, but may not create schemas. Returns its name. */
  async function createRole(name: string, attributes = ''): Promise<string> {
    await postgres.server.sql.unsafe(`create role ${name} login ${attributes}`)
    await postgres.server.sql.unsafe('revoke create on database postgres from public')
    return name
  }

  /**
   * Starts a TCP server in place of PostgreSQL. Returns its port. `answer` sends a text and ends
   * the connection.
   */
  async function standIn(onData: (answer: (text: string) => void) => void): Promise<number> {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => onData((text) => socket.end(text)))
      stage.onCleanUp(() => socket.destroy())
    })
    stage.onCleanUp(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as { port: number }).port
  }

  /** Starts a proxy in front of the server. */
  async function startProxy(filters: () => { up?: Filter; down?: Filter }): Promise<TcpProxy> {
    const proxy = await TcpProxy.to(postgres.server.port, filters)
    stage.onCleanUp(() => proxy.close())
    return proxy
  }

  const portOf = (proxy: TcpProxy): number => Number(new URL(proxy.url).port)

  it('is reported if it is unreachable', async () => {
    // No program listens on these ports.
    const [first, second] = [1, 2].map((port) => ({ host: '127.0.0.1', port }))
    expect(await refusal(impatient({ hosts: [first!] }), 'UNAVAILABLE')).to.equal(
      'PostgreSQL at 127.0.0.1:1 cannot be reached (ECONNREFUSED)',
    )
    expect(await refusal(impatient({ hosts: [first!, second!] }), 'UNAVAILABLE')).to.equal(
      'PostgreSQL at 127.0.0.1:1 cannot be reached (ECONNREFUSED), and no other of the 2 hosts is ' +
        'a primary',
    )
    const unixSocket = { host: '/nonexistent', port: 5432 }
    expect(await refusal(impatient({ hosts: [unixSocket] }), 'UNAVAILABLE')).to.equal(
      'PostgreSQL at /nonexistent/.s.PGSQL.5432 cannot be reached (ENOENT)',
    )
  })

  it('is reported if it does not answer', async () => {
    const port = await standIn(() => {})
    // `choreMs` also limits each attempt of `open` to connect.
    const engine = impatient({ hosts: [{ host: '127.0.0.1', port }], choreMs: 300 })
    expect(await refusal(engine, 'UNAVAILABLE')).to.equal(
      `PostgreSQL at 127.0.0.1:${port} did not accept the connection in time`,
    )
  })

  it('is reported if another program answers', async () => {
    const port = await standIn((answer) => answer('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const engine = impatient({ hosts: [{ host: '127.0.0.1', port }] })
    expect(await refusal(engine, 'INVALID_OPTION')).to.equal(
      `PostgreSQL at 127.0.0.1:${port} does not answer like PostgreSQL: correct the address of the log`,
    )
  })

  it('is reported if its version is too old', async () => {
    const down: Filter = (bytes, connection) => {
      // Replaces the major version, such as 15 in 150004, by 12. Latin-1 preserves all bytes.
      const text = bytes.toString('latin1').replace(/\b1[3-9]0(\d{3})/, '120$1')
      connection.pass(Buffer.from(text, 'latin1'))
    }
    const port = portOf(await startProxy(() => ({ down })))
    const engine = impatient({ hosts: [{ host: '127.0.0.1', port }] })
    expect(await refusal(engine, 'INVALID_OPTION')).to.match(
      /^PostgreSQL at \S+ has version \d\S*.*: Holdfast needs PostgreSQL 13 or newer$/,
    )
  })

  it('is reported if the database or the user does not exist', async () => {
    expect(await refusal(impatient({ database: 'nowhere' }), 'INVALID_OPTION')).to.match(
      /answered: database "nowhere" does not exist \(3D000\); create the database, or correct/,
    )
    expect(await refusal(impatient({ user: 'stranger' }), 'INVALID_OPTION')).to.match(
      /answered: role "stranger" does not exist \(28000\); correct the user/,
    )
  })

  it('is reported if no connection is free', async () => {
    const user = await createRole('crowded', 'connection limit 0')
    expect(await refusal(impatient({ user }), 'UNAVAILABLE')).to.match(
      /too many connections for role "crowded" \(53300\); raise max_connections/,
    )
  })

  it('is reported if the password is missing or wrong', async () => {
    const user = await createRole('guarded', "password 'right'")
    const { schema } = postgres
    await postgres.server.sql.unsafe(`create schema ${schema} authorization guarded`)
    const needsPassword = /requires a password: set `password`/
    expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.match(needsPassword)
    expect(await refusal(impatient({ user, password: 'wrong' }), 'INVALID_OPTION')).to.match(
      /password authentication failed for user "guarded" \(28P01\); correct the user, or its/,
    )
    await postgres.openEngine({ user, password: 'right' })
  })

  it('is reported if the user lacks the right to create the schema or to use it', async () => {
    const user = await createRole('poor')
    const { schema } = postgres
    const { sql } = postgres.server
    expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.equal(
      `The schema ${schema} in PostgreSQL does not exist in the database postgres: ` +
        `create it with: CREATE SCHEMA ${schema} AUTHORIZATION "poor"`,
    )
    await sql.unsafe(`create schema ${schema}`)
    expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.equal(
      `The user poor lacks the right USAGE on the schema ${schema}: run GRANT USAGE ON SCHEMA ${schema} TO "poor"`,
    )
    await sql.unsafe(`grant usage on schema ${schema} to poor`)
    expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.equal(
      `The user poor lacks the right CREATE on the schema ${schema}: run GRANT CREATE ON SCHEMA ${schema} TO "poor"`,
    )
    await sql.unsafe(`grant create on schema ${schema} to poor`)
    await postgres.openEngine({ user })
  })

  it('is reported for each right that the user lacks, until the user has the documented rights', async () => {
    const user = await createRole('exact')
    const { schema } = postgres
    const { sql } = postgres.server
    // The administrator opens the log first, which makes the tables.
    await (await postgres.openEngine()).append('s', 'first')
    await sql.unsafe(`grant usage on schema ${schema} to exact`)
    const grants = {
      log_state: ['select', 'insert', 'update'],
      log_entries: ['select', 'insert', 'delete'],
      log_snapshots: ['select', 'insert', 'delete'],
      log_snapshot_chunks: ['select', 'insert', 'delete'],
    }
    for (const [table, rights] of Object.entries(grants)) {
      for (const right of rights) {
        expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.equal(
          `The user exact lacks the right ${right.toUpperCase()} on the table ${schema}.${table}: ` +
            `run GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO "exact"`,
        )
        await sql.unsafe(`grant ${right} on ${schema}.${table} to exact`)
      }
    }
    const engine = await postgres.openEngine({ user })
    const reader = new Reader()
    engine.follow(0, reader)
    await engine.append('s', 'second')
    await reader.entries.waitForCount(2)
    expect(await engine.saveSnapshot(1, ['a'])).to.equal(true)
    await engine.compact(1)
    expect(await engine.canReplayFrom(1)).to.equal(true)
  })

  it('is reported if the schema has tables of another program', async () => {
    const { schema } = postgres
    const { sql } = postgres.server
    await sql.unsafe(`create schema ${schema}; create table ${schema}.log_entries (line text)`)
    expect(await refusal(impatient(), 'INVALID_OPTION')).to.equal(
      `The schema ${schema} in PostgreSQL has the table log_entries but not log_state: choose another schema`,
    )
    for (const table of ['log_state', 'log_snapshots', 'log_snapshot_chunks'])
      await sql.unsafe(`create table ${schema}.${table} (line text)`)
    expect(await refusal(impatient(), 'INVALID_OPTION')).to.equal(
      `The schema ${schema} in PostgreSQL has tables of another program: choose another schema`,
    )
  })

  it('is reported if the user may only read', async () => {
    const user = await createRole('reader')
    await postgres.server.sql.unsafe('alter role reader set default_transaction_read_only = on')
    expect(await refusal(impatient({ user }), 'INVALID_OPTION')).to.match(
      /allows reading only: set default_transaction_read_only=off for the user$/,
    )
  })

  it('is reported if its log has other settings than the broker', async () => {
    await postgres.openEngine()
    const open = (change: object) =>
      expectRejection(postgres.newEngine().open({ ...logConfig, ...change }), 'INVALID_OPTION')
    expect((await open({ deadMs: 2_000 })).message).to.equal(
      `The schema ${postgres.schema} in PostgreSQL has a log with a dead time of 6000 ms, not 2000 ms: set deadMs to the dead time of the log`,
    )
    expect((await open({ cluster: "it's" })).message).to.equal(
      `The schema ${postgres.schema} in PostgreSQL belongs to the cluster "", not "it's": choose another schema`,
    )
    expect((await open({ format: 9 })).message).to.match(/has a log of format 3/)
  })

  it('is reported if a chunk of the snapshot is missing', async () => {
    const engine = await postgres.openEngine()
    await engine.saveSnapshot(10, ['old'])
    const oldSnapshot = await engine.snapshot()
    await engine.saveSnapshot(20, ['new'])
    // Deletes the chunks of the old snapshot.
    await engine.compact(20)
    const reading = (async () => {
      for await (const _ of oldSnapshot!.parts) throw new Error('The snapshot has a chunk')
    })()
    const { message } = await expectRejection(reading, 'UNAVAILABLE')
    expect(message).to.match(/^The snapshot of the shared log is damaged at chunk 0 of /)
  })

  /** Opens the log, appends an entry, reads the entry, and saves a snapshot. */
  async function useLog(engine: PostgresEngine): Promise<void> {
    await engine.open(logConfig)
    const reader = new Reader()
    engine.follow(0, reader)
    for (;;) {
      // Tries again while the database is away.
      const isAppended = await engine.append('s', 'a').then(
        () => true,
        () => false,
      )
      if (isAppended) break
    }
    await reader.entries.waitForCount(1)
    await engine.saveSnapshot(1, ['a'])
  }

  it('is reported if it disappears at any point of the start, and is used if it returns in time', async () => {
    let answerCount = 0
    let maxAnswers = Number.POSITIVE_INFINITY
    let proxy: TcpProxy
    const down: Filter = (bytes, connection) => {
      if (++answerCount <= maxAnswers) return connection.pass(bytes)
      connection.cut()
      proxy.refuseConnections()
    }
    proxy = await startProxy(() => ({ down }))
    const hosts = [{ host: '127.0.0.1', port: portOf(proxy) }]
    await useLog(postgres.newEngine({ hosts, schema: `${postgres.schema}_0` }))
    const totalAnswers = answerCount
    // Opening and using a log takes many answers, so there are many points to test.
    expect(totalAnswers).to.be.greaterThan(8)
    // A quick run tests every third point.
    const step = quickOrFull(3, 1)
    for (let point = 0; point < totalAnswers; point += step) {
      const schema = `${postgres.schema}_${point + 1}`
      answerCount = 0
      maxAnswers = point
      proxy.acceptConnections()
      const engine = postgres.newEngine({ hosts, schema, openTimeoutMs: 400 })
      const openError = await engine.open(logConfig).then(
        () => undefined,
        (error: Error) => error,
      )
      // If the point is after the start, the engine opens the log before the database disappears.
      if (openError !== undefined) {
        await expectRejection(Promise.reject(openError), 'UNAVAILABLE')
        expect(openError.message).to.match(/^PostgreSQL at \S+ cannot be reached \([^()]+\)$/)
      }
      await engine.close()
      // A second engine loses the database at the same point. This time, the database returns.
      answerCount = 0
      proxy.acceptConnections()
      const using = useLog(postgres.newEngine({ hosts, schema, openTimeoutMs: 20_000 }))
      // The proxy cuts the connection at the answer after the point. The engine then connects
      // again, and this loop checks the count.
      while (answerCount <= point) await proxy.nextConnection()
      maxAnswers = Number.POSITIVE_INFINITY
      proxy.acceptConnections()
      await using
    }
  })
})

describe('log: PostgreSQL over TLS', function () {
  this.timeout(60_000)
  needs('openssl')
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  /** Starts a server that forwards its connections to PostgreSQL. Returns its port. */
  async function forwarder(host: string): Promise<number> {
    const server = createServer((socket) => {
      const upstream = createConnection(postgres.server.port, '127.0.0.1')
      for (const side of [socket, upstream]) side.on('error', () => {})
      socket.pipe(upstream).pipe(socket)
    })
    stage.onCleanUp(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, host, resolve))
    return (server.address() as { port: number }).port
  }

  it('is used as sslmode demands, or refused with a message', async () => {
    const open = (options: Partial<PostgresEngineOptions>) =>
      postgres.newEngine({ openTimeoutMs: 600, ...options }).open(logConfig)
    const refusal = async (options: Partial<PostgresEngineOptions>) =>
      (await expectRejection(open(options), 'INVALID_OPTION')).message
    expect(await refusal({ sslMode: 'require' })).to.match(
      /does not use TLS: turn it on there, or set sslmode=disable$/,
    )
    const files = makeCertificate(makeScratchFolder(stage))
    const { cert } = files
    postgres.server.installCertificate(files)
    await postgres.server.set('ssl', 'on')
    await open({ sslMode: 'require' })
    for (const sslMode of ['verify-ca', 'verify-full'] as const) {
      expect(await refusal({ sslMode })).to.match(
        /has an untrusted certificate \(\w+\): set `tls\.ca`, or sslmode=require$/,
      )
      await open({ sslMode, tls: { ca: cert } })
    }
    const encryptedConnections = await postgres.server.sql`select from pg_stat_ssl where ssl`
    expect(encryptedConnections.length).to.be.greaterThan(0)
    // The certificate does not name this address, which is of the same machine.
    const hosts = [{ host: '127.0.0.2', port: await forwarder('127.0.0.2') }]
    expect(await refusal({ sslMode: 'verify-full', tls: { ca: cert }, hosts })).to.match(
      /has the certificate of another host \(\w+\): name the host as the certificate does, or use/,
    )
    // PostgreSQL accepts only client certificates that its own certificate has signed.
    await postgres.server.set('ssl_ca_file', 'server.crt')
    const untrusted = makeCertificate(makeScratchFolder(stage))
    const tls = { ca: cert, cert: untrusted.cert, key: untrusted.key }
    expect(await refusal({ sslMode: 'verify-full', tls })).to.match(
      /does not accept the certificate of this broker \(\w+\): set `tls\.cert` and `tls\.key`/,
    )
  })

  it('is not tried with certificates or keys that cannot be used', () => {
    const { cert, key } = makeCertificate(makeScratchFolder(stage))
    const { key: otherKey } = makeCertificate(makeScratchFolder(stage))
    const url = 'postgres://u@h/d'
    const problem = 'The certificates or the password for PostgreSQL cannot be used: '
    for (const [tls, reason] of [
      [{ ca: 'no certificate' }, '`tls.ca` has no certificate as PEM'],
      [{ ca: key }, '`tls.ca` has no certificate as PEM'],
      [{ cert, key: otherKey }, '`tls.key` does not belong to `tls.cert`'],
      [{ cert: 'no certificate', key }, '`tls.cert` and `tls.key` must be PEM'],
    ] as const) {
      expect(() => postgresLog({ url, tls }))
        .to.throw(problem + reason)
        .with.property('code', 'INVALID_OPTION')
    }
  })
})
