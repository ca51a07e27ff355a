/**
 * Tests that a broker notices, without a restart, that the files of its password or its
 * certificates for PostgreSQL have changed. The broker reads the password file for each new
 * connection, and the certificate files at most every 5 s.
 */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { postgresLog } from '@holdfast/server'
import { nodeEnvironment, PostgresEngine, parsePostgresAddress } from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { needs } from '../support/needs.js'
import { logConfig, Reader } from './etcdStage.js'
import { appendUntilKnown, PostgresStage } from './postgresStage.js'

describe('log: the password and the certificates for PostgreSQL', function () {
  this.timeout(60_000)
  needs('openssl')
  // PostgreSQL asks only the user named `changing` for a password.
  const postgres = PostgresStage.forSuite({ hba: ['host all changing all scram-sha-256'] })
  const stage = Stage.forEachTest()

  /** Ends all connections of the user `changing`. */
  async function endConnections(): Promise<void> {
    const { sql } = postgres.server
    const ended = await sql`
      select pid, pg_terminate_backend(pid) from pg_stat_activity where usename = 'changing'`
    const pids = ended.map((row) => row['pid'] as number)
    const remaining = () => sql`select from pg_stat_activity where pid = any(${pids})`
    while ((await remaining()).length > 0);
  }

  it('are read again from their files: the password for each new connection', async () => {
    const { sql } = postgres.server
    await sql.unsafe(`create role changing login password 'old'`)
    await sql.unsafe('grant create on database postgres to changing')
    const passwordFile = makeScratchFolder(stage).write('password', 'old\n')
    const engine = await postgres.openEngine({ user: 'changing', passwordFile })
    const reader = new Reader()
    engine.follow(0, reader)
    await engine.append('s', 'one')
    // This password ends with a blank. The engine must remove only the line end of the file.
    await sql.unsafe(`alter role changing password 'new '`)
    await endConnections()
    // The file still has the old password. `appendUntilKnown` repeats an append that rejects with
    // `UNAVAILABLE`.
    const wrong = await expectRejection(appendUntilKnown(engine, 's', 'two'), 'INVALID_OPTION')
    expect(wrong.message).to.match(/password authentication failed for user "changing"/)
    rmSync(passwordFile)
    const missing = await expectRejection(engine.append('s', 'two'), 'UNAVAILABLE')
    expect(missing.message).to.match(/the password cannot be read \(Error: ENOENT/)
    writeFileSync(passwordFile, 'new \r\n')
    await appendUntilKnown(engine, 's', 'two')
    await reader.entries.waitForCount(2)
    expect(reader.texts).to.deep.equal(['one', 'two'])
    expect(reader.ends.items).to.deep.equal([])
  })

  it('are read again from their files: the certificates at most every 5 s', async () => {
    const { server } = postgres
    const [first, second] = [
      makeCertificate(makeScratchFolder(stage)),
      makeCertificate(makeScratchFolder(stage)),
    ]
    const caFile = makeScratchFolder(stage).path('ca.pem')
    copyFileSync(first.certPath, caFile)
    server.installCertificate(first)
    await server.set('ssl', 'on')
    // How far the clock of the engine is ahead of the real clock.
    let addedMs = 0
    const clock = {
      ...nodeEnvironment.clock,
      monotonic: () => nodeEnvironment.clock.monotonic() + addedMs,
    }
    const address = { ...parsePostgresAddress(postgres.url), sslMode: 'verify-ca' } as const
    const options = { ...address, tls: { caFile }, openTimeoutMs: 20_000 }
    const engine = new PostgresEngine(options, { ...nodeEnvironment, clock })
    stage.onCleanUp(() => engine.close())
    await engine.open(logConfig)
    await engine.append('s', 'one')
    server.installCertificate(second)
    await server.end()
    await server.start()
    const untrusted = await expectRejection(appendUntilKnown(engine, 's', 'two'), 'INVALID_OPTION')
    expect(untrusted.message).to.match(/has an untrusted certificate/)
    copyFileSync(second.certPath, caFile)
    addedMs += 5_000
    await appendUntilKnown(engine, 's', 'two')
    // A half-written file does not replace the certificates in use.
    writeFileSync(caFile, 'half of a cert')
    addedMs += 5_000
    await server.end()
    await server.start()
    await appendUntilKnown(engine, 's', 'three')
  })

  it('are refused when the log is made, if a file cannot be read or is damaged', () => {
    const withoutCertificate = makeScratchFolder(stage).write('other.pem', 'no certificate\n')
    for (const wrong of [
      { tls: { caFile: '/nonexistent' } },
      { tls: { caFile: withoutCertificate } },
      { passwordFile: '/nonexistent' },
    ]) {
      expect(() => postgresLog({ url: 'postgres://u@h/d', ...wrong }))
        .to.throw(/^The certificates or the password for PostgreSQL cannot be used: /)
        .with.property('code', 'INVALID_OPTION')
    }
  })
})
