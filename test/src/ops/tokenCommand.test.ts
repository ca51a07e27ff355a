/**
 * Tests `holdfast token`, which makes a token for a client and adds the hash of the token to a
 * token file. A broker must accept these tokens, and the token file must stay valid. The exit codes
 * are 64 (wrong usage), 77 (not allowed) and 78 (invalid setting).
 */
import { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { tokenLine } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('holdfast token', () => {
  const stage = Stage.forEachTest()

  it('makes a token that serve --tokens accepts, and stores only its hash', async () => {
    const files = makeScratchFolder(stage)
    const file = files.path('tokens')
    const args = ['token', 'billing', '--allow', 'lock', '--key', 'orders:*', '--file', file]
    const { code, out } = await Holdfast.run(stage, args)
    expect(code).to.equal(0)
    const token = out[0]!
    expect(readFileSync(file, 'utf8')).to.match(/^[0-9a-f]{64} billing lock orders:\*\n$/)
    expect(statSync(file).mode & 0o777).to.equal(0o600)
    const serve = Holdfast.start(stage, ['serve', '--port', '0', '--tokens', file])
    const [line] = await serve.out.waitForCount(1)
    // The first line of `serve` ends with its URL.
    const url = line!.split(' ').at(-1)!
    const options = { env: { HOLDFAST_URL: url, HOLDFAST_TOKEN: token } }
    expect((await Holdfast.run(stage, ['run', 'orders:1', '--', 'true'], options)).code).to.equal(0)
    expect((await Holdfast.run(stage, ['run', 'other', '--', 'true'], options)).code).to.equal(77)
    const pingWithTokenFile = ['ping', '--url', url, '--count', '1', '--token-file']
    const tokenFile = files.write('token', `${token}\n`)
    const withToken = await Holdfast.run(stage, [...pingWithTokenFile, tokenFile])
    expect(withToken.code).to.equal(0)
    const wrongFile = files.write('wrong', 'wrong')
    const withWrongToken = await Holdfast.run(stage, [...pingWithTokenFile, wrongFile])
    expect(withWrongToken.code).to.equal(77)
  })

  it('gives each token its own line, even if the last line has no line feed', async () => {
    const line = tokenLine('t', 'ann', ['lock'], ['orders:*'])
    const file = makeScratchFolder(stage).write('tokens', line.trimEnd())
    expect((await Holdfast.run(stage, ['token', 'bob', '--file', file])).code).to.equal(0)
    const lines = readFileSync(file, 'utf8').split('\n')
    expect(lines[0]).to.equal(line.trimEnd())
    expect(lines[1]).to.match(/^[0-9a-f]{64} bob /)
  })

  it('refuses a symbolic link as token file, and neither changes nor creates its target', async () => {
    const files = makeScratchFolder(stage)
    const victim = files.write('victim', 'mine\n')
    for (const target of [victim, files.path('not-there')]) {
      const file = `${target}.link`
      symlinkSync(target, file)
      const { code, err } = await Holdfast.run(stage, ['token', 'ann', '--file', file])
      const message = `holdfast: The file ${file} is a symbolic link: give the path of the file itself`
      expect([code, err[0]]).to.deep.equal([78, message])
    }
    expect(readFileSync(victim, 'utf8')).to.equal('mine\n')
    expect(existsSync(files.path('not-there'))).to.equal(false)
  })

  it('refuses a key with a space', async () => {
    const { code, out } = await Holdfast.run(stage, ['token', 'ann', '--key', 'orders: *'])
    expect([code, out]).to.deep.equal([64, []])
  })

  it('refuses an empty name, a name with a space, and a name that begins with #', async () => {
    for (const name of ['ann bob', '#ann', '']) {
      const { code, out } = await Holdfast.run(stage, ['token', name])
      expect([code, out], name).to.deep.equal([64, []])
    }
  })
})
