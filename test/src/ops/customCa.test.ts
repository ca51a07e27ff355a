/**
 * Tests a broker with a certificate that a private authority has signed. A client trusts the
 * certificate if its option `ca` has the certificate of the authority. A command has the option
 * `--ca` for the path of the authority's certificate, and exits 78 if the setting is invalid. The
 * certificate of the tests is self-signed, so it is also the certificate of the authority.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { makeCertificate } from './certificate.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('the certificate of a private authority', () => {
  needs('openssl')
  const stage = Stage.forEachTest()

  /** Starts a broker whose certificate a private authority has signed. */
  async function startSecureBroker() {
    const files = makeScratchFolder(stage)
    const { cert, key, certPath } = makeCertificate(files)
    const { url } = await stage.startBroker({ tls: { cert, key } })
    return { files, cert, key, certPath, url }
  }

  it('lets a client connect if the option ca has it as text, as bytes or in a list', async () => {
    const { cert, certPath, url } = await startSecureBroker()
    for (const ca of [
      cert,
      readFileSync(certPath),
      [cert],
      [cert, new Uint8Array(Buffer.from(cert))],
    ]) {
      const session = await stage.openSession(url, { ca })
      expect((await session.lock('k')).held).to.equal(true)
      await session.close()
    }
  })

  it('is necessary: without it or with another, the client refuses the broker and suggests the option ca', async () => {
    const { url } = await startSecureBroker()
    const otherAuthority = makeCertificate(makeScratchFolder(stage))
    for (const options of [{}, { ca: otherAuthority.cert }]) {
      const error = await expectRejection(stage.openSession(url, options), 'UNAVAILABLE')
      expect(error.message).to.match(/self-signed certificate|unable to verify|issuer/)
      expect(error.message).to.contain('option ca')
    }
  })

  it('must be valid, and cannot be combined with a custom WebSocket class', async () => {
    const { cert, key, url } = await startSecureBroker()
    // A certificate whose Base64 text is invalid.
    const broken = cert.replace(/\n[^\n]{20}/, '\n?')
    for (const ca of ['', 'cert.pem', key, broken, [], [cert, 'x'], 7, null] as never[]) {
      // No error contains the private key, which a program may pass by mistake.
      const error = await expectRejection(stage.openSession(url, { ca }), 'INVALID_OPTION')
      expect(error.message).to.contain('ca ').and.not.contain('PRIVATE')
    }
    const { TrustingWebSocket: WebSocket } = makeCertificate(makeScratchFolder(stage))
    const error = await expectRejection(
      stage.openSession(url, { ca: cert, WebSocket }),
      'INVALID_OPTION',
    )
    expect(error.message).to.contain('your own WebSocket class')
  })

  it('lets commands connect with --ca or HOLDFAST_CA', async () => {
    const { certPath, url } = await startSecureBroker()
    const commands = [['ping', '-n', '1'], ['ls'], ['stats'], ['status']]
    const runs = commands.map(async (command) => {
      const ended = await Holdfast.run(stage, [...command, '--url', url, '--ca', certPath])
      expect([ended.code, ended.err], command[0]).to.deep.equal([0, []])
    })
    await Promise.all(runs)
    const env = { HOLDFAST_CA: certPath, HOLDFAST_URL: url }
    expect((await Holdfast.run(stage, ['run', 'k', '--', 'true'], { env })).code).to.equal(0)
    const withoutCa = await Holdfast.run(stage, ['ping', '--url', url])
    expect(withoutCa.code).to.not.equal(0)
    expect(withoutCa.err.join()).to.contain('--ca')
  })

  it('must be in the file of --ca; otherwise the command exits 78 and names the file', async () => {
    const { files, url } = await startSecureBroker()
    const missing = await Holdfast.run(stage, ['ping', '--url', url, '--ca', files.path('no.pem')])
    expect(missing.code).to.equal(78)
    expect(missing.err.join()).to.contain('no.pem cannot be read (ENOENT)')
    writeFileSync(files.path('not.pem'), 'not a certificate')
    const wrong = await Holdfast.run(stage, ['ping', '--url', url, '--ca', files.path('not.pem')])
    expect(wrong.code).to.equal(78)
    expect(wrong.err.join()).to.contain(
      'not.pem has no certificate in PEM form (--ca, HOLDFAST_CA)',
    )
  })
})
