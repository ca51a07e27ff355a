/**
 * Tests that `holdfast serve` at a terminal prints a command and a program that a new user can
 * copy. Without a terminal, `serve` prints neither.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { Holdfast } from './command.js'
import { holdfast as holdfastInShell, Terminal } from './terminal.js'

describe('holdfast serve at a terminal', () => {
  needs('script')
  const stage = Stage.forEachTest()

  it('prints a command that acquires a lock, and a program for the same broker', async () => {
    const terminal = Terminal.start(stage, `exec ${holdfastInShell} serve --port 0`)
    const [, url] = /listening on (\S+)/.exec(await terminal.until(/listening on \S+\s/)) ?? []
    const screen = await terminal.until(/session\.lock\('orders'\)/)
    expect(screen).to.contain(`connect('${url}')`)
    const [, args] = /npx holdfast (run [^\r\n]*)/.exec(screen) ?? []
    expect(args).to.equal(`run --url ${url} orders -- echo "I hold the lock"`)
    const command = ['run', '--url', url!, 'orders', '--', 'echo', 'I hold the lock']
    expect(await Holdfast.run(stage, command)).to.deep.include({
      code: 0,
      out: ['I hold the lock'],
    })
  })

  it('prints no command and no program if its output is not a terminal', async () => {
    const broker = Holdfast.start(stage, ['serve', '--port', '0'])
    // The lines with the URLs of broker and dashboard.
    await broker.out.waitForCount(2)
    broker.process.kill('SIGTERM')
    const { out } = await broker.ended()
    // At a terminal, a line that begins with `Try it` follows the URLs.
    expect(out.join('\n')).not.to.contain('Try it')
  })
})
