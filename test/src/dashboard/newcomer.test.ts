/**
 * Somebody who knows the README and nothing else: a broker with a token, a command under a lock, a
 * second one that waits for it, and a browser in which the lock is freed. The commands are those of
 * the page, word for word; only the port is another.
 */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { scratch } from '../ops/scratch.js'
import { Visitors } from './visitors.js'

const readme = new URL('../../../README.md', import.meta.url)

/** The commands after the mark, each as its arguments. */
function commands(): string[][] {
  const page = readFileSync(readme, 'utf8')
  const [, block = ''] = /<!-- three terminals -->\s*```sh\n(.*?)\n```/s.exec(page) ?? []
  const lines = block.split('\n').filter((line) => line.startsWith('npx holdfast '))
  return lines.map((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(2))
}

describe('a newcomer', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const visitors = Visitors.forSuite(stage)

  it('frees a stuck job in a browser, as the README has it', async () => {
    const folder = scratch(stage)
    const [token, serve, holds, waits] = commands().map((args) =>
      args.map((arg) => (arg === 'tokens' ? folder.path('tokens') : arg)),
    )
    const printed = (await Holdfast.run(stage, token!)).out[0]!
    const broker = Holdfast.start(stage, [...serve!, '--port', '0'])
    const said = await broker.out.count(2)
    const url = said[0]!.split(' ').at(-1)!
    const dashboard = said[1]!.split(' ').at(-1)!
    const env = { HOLDFAST_TOKEN: printed, HOLDFAST_URL: url }
    const first = Holdfast.start(stage, holds!, { env })

    const visitor = await visitors.at(url)
    const { page } = visitor
    expect(page.url()).to.equal(dashboard)
    await page.getByLabel('Token').fill(printed)
    await page.getByLabel('Token').press('Enter')
    await visitor.isTold('Live')
    const second = Holdfast.start(stage, waits!, { env })
    const [waiting] = await second.err.count(1)
    expect(waiting).to.match(/^holdfast: Waiting for nightly-report, held by sleep on /)
    await page.getByRole('link', { name: 'nightly-report' }).first().click()
    await visitor.sees('Held, 1 waiting')

    await page.getByRole('button', { name: 'Free by force…' }).click()
    await page.getByLabel(/^Reason/).fill('it hangs')
    await page.getByRole('button', { name: 'Free it' }).click()
    const stopped = await first.ended()
    expect(stopped.code).to.equal(76)
    expect(stopped.err[0]).to.match(/revoked .*: stopping the command$/)
    expect(await second.ended()).to.deep.include({ code: 0, out: ['done'] })
    visitor.expectNoProblems()
    await page.close()
  })
})
