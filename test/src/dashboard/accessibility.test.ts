/**
 * Runs axe-core, a checker of accessibility, on every page of the dashboard: with locks and
 * without, in the light and the dark theme, and on a phone.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { expectRejection, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { pageHashes, type Screen, screens } from './allPages.js'
import { DashboardPages } from './dashboardPages.js'

/** The source text of axe-core, which defines `axe` in a page. */
const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)

/** Returns the faults that axe-core finds on the page, each with its elements. */
async function violationsOf(page: Page): Promise<string[]> {
  const { violations } = (await page.evaluate('axe.run()')) as AxeResults
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

describe('accessibility: the dashboard', function () {
  this.timeout(120_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  /**
   * Checks the pages at these URL hashes: in a quick run on `quickScreens`, in a full run on every
   * screen.
   */
  async function checkPages(
    url: string,
    hashes: readonly string[],
    quickScreens: readonly Screen[],
  ): Promise<void> {
    const screenNames = isFullRun ? (Object.keys(screens) as Screen[]) : quickScreens
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    await page.evaluate(axeSource)
    for (const screen of screenNames) {
      const { width, height, colorScheme } = screens[screen]
      await page.setViewportSize({ width, height })
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      for (const hash of hashes) {
        await dashboardPage.go(hash)
        // The heading may be hidden, but each page has one when the page is complete.
        await page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' })
        expect(await violationsOf(page), `${hash}, ${screen}`).to.deep.equal([])
      }
    }
  }

  /** The URL hashes of all pages, among them the pages of this lock and this session. */
  const pagesWith = (key: string, sessionId: string) =>
    Object.values(pageHashes({ key, sessionId }))

  it('passes axe-core when there are no locks', async () => {
    const { url } = await stage.startBroker()
    // The broker has no lock with this key and no session with this id.
    await checkPages(url, pagesWith('unknown', 'unknown'), ['phone'])
  })

  it('passes axe-core when there are locks, queues and a refused deadlock', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = [sessions[0]!, sessions[1]!]
    await ann.lock('orders:1', { metadata: { job: 7 }, ttl: 600_000 })
    void bob.lock('orders:1').catch(() => {})
    await ann.campaign('scheduler', { value: 1 })
    await ann.scope(async (annScope) => {
      await annScope.lock('a')
      await bob.scope(async (bobScope) => {
        await bobScope.lock('b')
        const waiting = annScope.lock('b')
        await untilMessagesHandled(ann)
        await expectRejection(bobScope.lock('a'), 'DEADLOCK')
        void waiting.catch(() => {})
      })
    })
    await checkPages(url, pagesWith('orders:1', ann.id), ['dark'])
  })

  it('passes axe-core on the page that asks for a token', async () => {
    const { url } = await stage.startBroker({ authenticate: () => undefined })
    const { page } = await dashboardPages.openPage(url)
    await page.getByLabel('Token').waitFor()
    await page.evaluate(axeSource)
    expect(await violationsOf(page)).to.deep.equal([])
  })

  it('does not pass axe-core when the test adds a button without a name', async () => {
    const { url } = await stage.startBroker()
    const { page } = await dashboardPages.openConnectedPage(url)
    await page.evaluate(axeSource)
    await page.evaluate(() => document.body.append(document.createElement('button')))
    expect((await violationsOf(page)).join()).to.match(/^button-name: /)
  })
})
