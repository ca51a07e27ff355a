/**
 * Opens every page of the dashboard on a screen that is 375 px wide, as on a phone. The keys,
 * the names and all other texts of the clients have 60 characters without a space. No page may be
 * wider than the screen, because a browser on a phone would then show the page smaller.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { root } from '../conventions/repository.js'
import { expectRejection, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { pageHashes, screens } from './allPages.js'
import type { DashboardPage } from './dashboardPage.js'
import { DashboardPages } from './dashboardPages.js'

/** A text of 60 characters without a space, which begins with this word. */
const long = (word: string): string => word.padEnd(60, 'X')
/** The part of the URL after `#`, for the page of a lock. */
const lockHash = (key: string): string => pageHashes({ key })['lock']!
/** The part of the URL after `#`, for the page of a session. */
const sessionHash = (sessionId: string): string => pageHashes({ sessionId })['session']!

/**
 * Returns the elements that reach beyond the right edge of the screen, unless an outer element
 * scrolls them or cuts them off. Also returns the width of the page if it differs from the screen.
 */
function excessOf(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth
    /** A rectangle may end between two pixels, but `clientWidth` is rounded to an integer. */
    const roundingPx = 1
    const isCut = (element: Element): boolean => {
      for (let parent = element.parentElement; parent !== null; parent = parent.parentElement) {
        if (parent === document.body) return false
        const isClipping = getComputedStyle(parent).overflowX !== 'visible'
        if (isClipping && parent.getBoundingClientRect().right <= width + roundingPx) return true
      }
      return false
    }
    const wide = [...document.body.querySelectorAll('*')].filter(
      (element) => element.getBoundingClientRect().right > width + roundingPx && !isCut(element),
    )
    const { scrollWidth } = document.documentElement
    const names = wide.map((element) => `${element.tagName} ${element.getAttribute('class')}`)
    return scrollWidth === width ? names : [`page of ${scrollWidth} px`, ...names]
  })
}

describe('the dashboard on a phone', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)
  const { width, height } = screens.phone

  /** A broker whose principals have long names, and two sessions with long names. */
  async function crowdedBroker() {
    const { url } = await stage.startBroker({
      authenticate: ({ token }) =>
        token === undefined ? undefined : { principal: long(token), may: () => true },
    })
    const open = (name: string) => stage.openSession(url, { name: long(name), token: name })
    const [ann, bob] = [await open('ann'), await open('bob')]
    await addRecords(ann, bob)
    return { url, ann, bob }
  }

  /** Adds locks of several kinds, queues, a barrier, a kept result and a refused deadlock. */
  async function addRecords(ann: Session, bob: Session): Promise<void> {
    const metadata = { [long('title')]: long('value') }
    await ann.lock(long('key'), { ttl: 6_000_000, maxHold: 9_000_000, metadata })
    await ann.lockAll([long('first'), long('second')])
    await ann.campaign(long('election'), { value: long('value') })
    void bob.campaign(long('election')).catch(() => {})
    // More requests than the wait-for graph draws, so that the page also lists the waiters.
    for (let i = 0; i < 30; i++) void bob.lock(long('key')).catch(() => {})
    void bob.lock(long('first')).catch(() => {})
    for (const session of [ann, bob])
      void session.barrier(long('barrier'), { parties: 3 }).catch(() => {})
    await ann.once(long('result'), () => 1, { keep: 600_000 })
    await ann.scope(async (annScope) => {
      await annScope.lock(long('one'))
      await bob.scope(async (bobScope) => {
        await bobScope.lock(long('two'))
        const waiting = annScope.lock(long('two'))
        await untilMessagesHandled(ann)
        await expectRejection(bobScope.lock(long('one')), 'DEADLOCK')
        void waiting.catch(() => {})
        // This lock belongs to no scope, so bob still holds it after the scopes have ended.
        await bob.lock(long('other'))
      })
    })
  }

  /** Opens the dashboard on a phone, and signs in. */
  async function openPhone(url: string): Promise<DashboardPage> {
    const dashboardPage = await dashboardPages.openPage(url)
    const { page } = dashboardPage
    await page.setViewportSize({ width, height })
    await page.getByLabel('Token').waitFor()
    expect(await excessOf(page), 'the page that asks for a token').to.deep.equal([])
    await page.getByLabel('Token').fill('operator')
    await page.getByLabel('Token').press('Enter')
    await dashboardPage.waitForState('Live')
    return dashboardPage
  }

  it('has no page that is wider than the screen, although the texts have 60 characters', async () => {
    const { url, ann, bob } = await crowdedBroker()
    const dashboardPage = await openPhone(url)
    const keys = ['first', 'election', 'barrier', 'result', 'one', 'unknown'].map(long)
    const hashes = [
      ...Object.values(pageHashes({ key: long('key'), sessionId: ann.id })),
      ...keys.map(lockHash),
      ...[bob.id, long('unknown')].map(sessionHash),
    ]
    for (const [i, hash] of hashes.entries()) {
      await dashboardPage.go(hash)
      await dashboardPage.page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' })
      // The dashboard lists only the events that happen while it is open.
      await (await ann.lock(long(`event-${i}`))).unlock()
      expect(await excessOf(dashboardPage.page), hash).to.deep.equal([])
    }
    dashboardPage.expectNoProblems()
  })

  it('keeps the dialog, the message and the search within the screen, although texts are long', async () => {
    const { url } = await crowdedBroker()
    const dashboardPage = await openPhone(url)
    const { page } = dashboardPage
    await dashboardPage.go(lockHash(long('key')))
    await page.getByRole('button', { name: 'Revoke…' }).click()
    await page.getByLabel(/^Reason/).fill(long('reason'))
    expect(await excessOf(page), 'the dialog').to.deep.equal([])
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    await dashboardPage.waitForText(/was revoked/)
    expect(await excessOf(page), 'the message').to.deep.equal([])
    for (const list of ['locks', 'sessions', 'events']) {
      await dashboardPage.go(`#/${list}`)
      await page.getByRole('searchbox').fill(long('missing'))
      await dashboardPage.waitForText(/^No (key|session|event).* match/)
      expect(await excessOf(page), `the search in ${list}`).to.deep.equal([])
    }
  })

  it('does not pass the check when the test plants a text that is wider than the screen', async () => {
    const { url } = await stage.startBroker()
    const { page } = await dashboardPages.openConnectedPage(url)
    await page.setViewportSize({ width, height })
    expect(await excessOf(page)).to.deep.equal([])
    await page.evaluate((text) => {
      const planted = document.createElement('p')
      planted.className = 'planted'
      planted.style.width = 'max-content'
      planted.textContent = text
      document.querySelector('main')!.append(planted)
    }, long('planted'))
    expect((await excessOf(page)).join()).to.include('P planted')
  })

  it('has exactly the pages that these tests open', () => {
    const router = readFileSync(join(root, 'server/src/dashboard/ui/router.ts'), 'utf8')
    const [, list = ''] = /const pageNames = \[(.*?)\]/s.exec(router) ?? []
    const names = Array.from(list.matchAll(/'(\w+)'/g), ([, name]) => name)
    expect(Object.keys(pageHashes({}))).to.have.members(names)
  })
})
