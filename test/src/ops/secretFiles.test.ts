/**
 * Tests the warning about files with secrets (tokens, passwords, private keys) that other users of
 * the machine can access. The first test checks all 512 modes of a file.
 */
import { chmodSync, statSync } from 'node:fs'
import { tokenLine } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { makeCertificate } from './certificate.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

const server = import.meta.resolve('@holdfast/server')
const { isAccessibleToOthers } = await import(new URL('./cli/secretFiles.js', server).href)
const { settings } = await import(new URL('./cli/settings.js', server).href)

/** The settings whose files have no secret: certificates, public keys, hashes and output. */
const settingsWithoutSecret = [
  ...['fenceFile', 'logCa', 'logCert', 'tokens', 'jwtPublicKey', 'jwtJwks', 'tlsCert', 'audit'],
]

/** The warning about a file of this kind with this mode. */
function warning(kind: string, path: string, mode: string): string {
  return (
    `holdfast: Warning: other users of this machine can access the ${kind} ${path} ` +
    `(mode ${mode}): let only the user of this process access the file, for instance with chmod 600`
  )
}

describe('a file with a secret', () => {
  const stage = Stage.forEachTest()
  before(function () {
    if (process.platform === 'win32') this.skip()
  })

  it('is accessible to others if its mode gives a right to its group or to others', () => {
    // The second argument of `isAccessibleToOthers` is the user id of the process. Root is 0.
    for (let mode = 0; mode <= 0o777; mode++) {
      const stat = { mode, uid: 1000, isFile: () => true }
      const [group, others] = [(mode >> 3) & 7, mode & 7]
      expect(isAccessibleToOthers(stat, 1000), mode.toString(8)).to.equal(group + others > 0)
      const fileOfRoot = { ...stat, uid: 0 }
      // A process that is not root reads a file of root as a member of the file's group. So the
      // group may have the right to read (4), and no other right.
      const isAllowed = others === 0 && (group & ~4) === 0
      expect(isAccessibleToOthers(fileOfRoot, 1000), mode.toString(8)).to.equal(!isAllowed)
      expect(isAccessibleToOthers(fileOfRoot, 0), mode.toString(8)).to.equal(group + others > 0)
    }
    const pipe = { mode: 0o666, uid: 1000, isFile: () => false }
    expect(isAccessibleToOthers(pipe, 1000)).to.equal(false)
  })

  it('is marked as a secret by its setting, and no other file is marked', () => {
    const fileSettings = Object.entries(settings as Record<string, { placeholder?: string }>)
      .filter(([, { placeholder }]) => placeholder === 'file')
      .map(([name]) => name)
    const settingsWithSecret = ['logKey', 'logPasswordFile', 'jwtSecretFile', 'tlsKey']
    expect(fileSettings).to.have.members([...settingsWithoutSecret, ...settingsWithSecret])
    for (const name of fileSettings) {
      expect('secretFile' in settings[name], name).to.equal(settingsWithSecret.includes(name))
    }
  })

  it('makes a client command print one warning, and the command does its work', async () => {
    const files = makeScratchFolder(stage)
    const tokens = files.write('tokens', tokenLine('t', 'ann'))
    const tokenFile = files.write('token', 't\n')
    const serve = Holdfast.start(stage, ['serve', '--port', '0', '--tokens', tokens])
    const [line] = await serve.out.waitForCount(1)
    const args = ['--url', line!.split(' ').at(-1)!, '--token-file', tokenFile]
    const list = () => Holdfast.run(stage, ['ls', ...args])
    // The tests write their files with a mode that lets only the owner access them.
    expect(await list())
      .to.include({ code: 0 })
      .and.to.deep.include({ err: [] })
    chmodSync(tokenFile, 0o644)
    const { code, err } = await list()
    expect([code, err]).to.deep.equal([0, [warning('token file', tokenFile, '0644')]])
    const run = await Holdfast.run(stage, ['run', ...args, 'k', '--', 'true'])
    expect([run.code, run.err]).to.deep.equal([0, [warning('token file', tokenFile, '0644')]])
  })

  describe('of holdfast serve', () => {
    needs('openssl')

    it('causes one warning for each accessible file, and none for a certificate', async () => {
      const files = makeScratchFolder(stage)
      const { certPath, keyPath } = makeCertificate(files)
      chmodSync(certPath, 0o644)
      // `openssl` has made the key accessible only to its owner.
      expect(statSync(keyPath).mode & 0o077).to.equal(0)
      const secret = files.write('secret', 's'.repeat(32))
      const password = files.write('password', 'p')
      const args = [
        ...['serve', '--check', '--tls-cert', certPath, '--tls-key', keyPath],
        ...['--jwt-secret-file', secret, '--log-password-file', password],
        ...['--log', 'postgres://holdfast@127.0.0.1:1/app', '--log-cert', certPath],
        ...['--log-key', keyPath],
      ]
      const runWithPrivateFiles = await Holdfast.run(stage, args)
      expect([runWithPrivateFiles.code, runWithPrivateFiles.err]).to.deep.equal([0, []])
      chmodSync(secret, 0o640)
      chmodSync(password, 0o604)
      chmodSync(keyPath, 0o660)
      const { code, err } = await Holdfast.run(stage, args)
      expect(code).to.equal(0)
      expect(err).to.have.members([
        warning('private key', keyPath, '0660'),
        warning('password file', password, '0604'),
        warning('secret file', secret, '0640'),
      ])
    })
  })
})
