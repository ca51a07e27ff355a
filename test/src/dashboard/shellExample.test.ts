/**
 * Runs the example of `server/docs/shell.md`: a broker with a token, a command under a lock, a
 * second command that waits, and a browser in which an operator revokes the lock. The commands are
 * those of `shell.md`, except for the port and the path of the token file.
 */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { DashboardPages } from './dashboardPages.js'

/** The exit code of `holdfast run` if its lock was revoked or lost. */
const lostLockCode = 76

const guideUrl = new URL('../../../server/docs/shell.md', import.meta.url)

/** The commands of the example, each as a list of its arguments. */
function commands(): string[][] {
  const guide = readFileSync(guideUrl, 'utf8')
  // A comment in the guide marks each block of this example.
  const blocks = guide.matchAll(/<!-- three terminals: the \w+ -->\s*```sh\n(.*?)\n```/gs)
  const lines = [...blocks]
    .flatMap(([, block = '']) => block.split('\n'))
    .filter((line) => line.startsWith('npx holdfast '))
  // Cuts the comment and the words `npx holdfast`.
  return lines.map((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(2))
}

describe('the example with the dashboard in shell.md', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('lets an operator revoke the lock of a stuck job in the dashboard', async () => {
    const folder = makeScratchFolder(stage)
    const [createToken, serve, hold, wait] = commands().map((args) =>
      args.map((arg) => (arg === 'tokens' ? folder.path('tokens') : arg)),
    )
    const token = (await Holdfast.run(stage, createToken!)).out[0]!
    const broker = Holdfast.start(stage, [...serve!, '--port', '0'])
    // The broker prints its URL, and then the URL of the dashboard.
    const lines = await broker.out.waitForCount(2)
    const url = lines[0]!.split(' ').at(-1)!
    const dashboard = lines[1]!.split(' ').at(-1)!
    const env = { HOLDFAST_TOKEN: token, HOLDFAST_URL: url }
    const holder = Holdfast.start(stage, hold!, { env })

    const dashboardPage = await dashboardPages.openPage(url)
    const { page } = dashboardPage
    expect(page.url()).to.equal(dashboard)
    await page.getByLabel('Token').fill(token)
    await page.getByLabel('Token').press('Enter')
    await dashboardPage.waitForState('Live')
    // The second command must ask for the lock after the first command got it. The test looks for
    // the lock in the list of all locks, because the overview can lack a lock that was granted
    // before the page opened.
    await page.getByRole('link', { name: 'Locks', exact: true }).click()
    await page.getByRole('link', { name: 'nightly-report' }).first().waitFor()
    const waiter = Holdfast.start(stage, wait!, { env })
    const [errorLine] = await waiter.err.waitForCount(1)
    // `sleep` is the command that runs under the lock.
    expect(errorLine).to.match(/^holdfast: Waiting for nightly-report, held by sleep on /)
    await page.getByRole('link', { name: 'nightly-report' }).first().click()
    await dashboardPage.waitForText('Held, 1 waiting')

    await page.getByRole('button', { name: 'Revoke…' }).click()
    await page.getByLabel(/^Reason/).fill('it hangs')
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    const stopped = await holder.ended()
    expect(stopped.code).to.equal(lostLockCode)
    expect(stopped.err[0]).to.match(/revoked .*: stopping the command$/)
    expect(await waiter.ended()).to.deep.include({ code: 0, out: ['done'] })
    dashboardPage.expectNoProblems()
    await page.close()
  })
})
