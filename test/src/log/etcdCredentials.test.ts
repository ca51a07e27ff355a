/**
 * Tests the certificates and the password with which a broker connects to etcd. The files with the
 * certificates and the password change while the broker runs, and the broker must read the changed
 * files without a restart.
 */
import { copyFileSync, writeFileSync } from 'node:fs'
import { etcdLog } from '@holdfast/server'
import { type EngineOptions, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { EtcdCluster } from '../support/etcd.js'
import { FakeClock } from '../support/fakeClock.js'
import { needs } from '../support/needs.js'
import { logConfig } from './etcdStage.js'

describe('log: the certificates and the password for etcd', function () {
  this.timeout(60_000)
  needs('etcd', 'openssl')
  const stage = Stage.forEachTest()

  /** Starts an etcd cluster, which is stopped after the test. */
  async function cluster(options: Parameters<typeof EtcdCluster.start>[0]): Promise<EtcdCluster> {
    const newCluster = await EtcdCluster.start(options)
    stage.onCleanUp(() => newCluster.stop())
    return newCluster
  }

  /** Makes an engine (the broker's client of etcd) with a clock that only the test moves. */
  function engineWith(options: Pick<EngineOptions, 'endpoints' | 'tls' | 'auth'>): {
    readonly engine: EtcdEngine
    readonly clock: FakeClock
  } {
    const clock = new FakeClock()
    const engine = new EtcdEngine({ prefix: 'p', ...options }, { ...nodeEnvironment, clock })
    stage.onCleanUp(() => engine.close())
    return { engine, clock }
  }

  it('are read again from changed files', async () => {
    const [first, second] = [
      makeCertificate(makeScratchFolder(stage)),
      makeCertificate(makeScratchFolder(stage)),
    ]
    // etcd and the engine use the same self-signed certificate, and trust only this certificate.
    const sharedFiles = makeScratchFolder(stage)
    const [certFile, keyFile] = [sharedFiles.path('cert.pem'), sharedFiles.path('key.pem')]
    const install = ({ certPath, keyPath }: typeof first): void => {
      copyFileSync(certPath, certFile)
      copyFileSync(keyPath, keyFile)
    }
    install(first)
    const flags = ['--cert-file', certFile, '--key-file', keyFile]
    const trust = ['--client-cert-auth', '--trusted-ca-file', certFile]
    const { members, endpoints } = await cluster({
      members: 1,
      tls: true,
      flags: [...flags, ...trust],
    })
    const tls = { caFile: certFile, certFile, keyFile }
    const { engine, clock } = engineWith({ endpoints, tls })
    await engine.open(logConfig)
    install(second)
    await members[0]!.kill()
    await members[0]!.start()
    // etcd now has the second certificate, and the engine still has the first one.
    const failure = await engine.append('b', 'entry').catch((error) => error.message)
    expect(failure).to.match(/has an untrusted certificate, or/)
    // The engine reads files again after 5 s. The same 5 s end its pause after the failure.
    const append = engine.append('b', 'entry')
    clock.advance(5_000)
    await append
    writeFileSync(certFile, 'half of a cert')
    clock.advance(5_000)
    // The half-written file does not replace the certificates in use.
    await engine.append('b', 'entry')
  })

  it('are read again when etcd rejects the token that etcd issued for the old password', async () => {
    const { members, endpoints } = await cluster({ members: 1 })
    const [member] = members
    const ask = <T>(path: string, body: object, headers = {}) =>
      member!.ask<T>(`/v3/auth/${path}`, body, headers)
    await ask('user/add', { name: 'root', password: 'old' })
    await ask('role/add', { name: 'root' })
    await ask('user/grant', { user: 'root', role: 'root' })
    await ask('enable', {})
    const passwordFile = makeScratchFolder(stage).write('password', 'old\n')
    const auth = { user: 'root', passwordFile }
    const { engine } = engineWith({ endpoints, auth })
    await engine.open(logConfig)
    const { token: testToken } = await ask<{ token: string }>('authenticate', {
      name: 'root',
      password: 'old',
    })
    // The new password invalidates all tokens of the user, also the token of the engine.
    await ask('user/changepw', { name: 'root', password: 'new' }, { authorization: testToken })
    writeFileSync(passwordFile, 'new\n')
    await engine.append('b', 'entry')
  })

  it('are refused immediately if a file cannot be read or is damaged', () => {
    // No etcd is needed, because the error comes before the first connection.
    const options = { endpoints: ['https://127.0.0.1:1'], prefix: 'p' }
    const damaged = makeScratchFolder(stage).write(
      'damaged.pem',
      '-----BEGIN CERTIFICATE-----\nno\n',
    )
    const otherText = makeScratchFolder(stage).write('other.pem', 'no certificate\n')
    for (const wrong of [
      { tls: { caFile: '/nonexistent' } },
      { tls: { certFile: damaged } },
      { tls: { caFile: otherText } },
      { auth: { user: 'u', passwordFile: '/nonexistent' } },
    ]) {
      expect(() => etcdLog({ ...options, ...wrong }))
        .to.throw(/^The certificates or the password for etcd cannot be used: /)
        .with.property('code', 'INVALID_OPTION')
    }
  })
})
