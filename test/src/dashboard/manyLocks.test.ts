/**
 * Tests the dashboard with thousands of locks. The page shows how many of the locks it knows, finds
 * the others by a search, and draws only visible rows. Also tests the keyboard, the pause of the
 * events, accessible names, the width on a phone, and the themes.
 */
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import type { DashboardPage } from './dashboardPage.js'
import { DashboardPages } from './dashboardPages.js'

/** The number of locks in a quick run, and in a full run. */
const lockCount = quickOrFull(1_500, 10_000)
const lockCountText = lockCount.toLocaleString('en-US')
/** The page draws fewer rows than this: the visible rows and some rows beyond the edges. */
const drawnRowsBound = 60
/** The widths of a desktop, a phone and a small phone, in px. */
const widths = [1280, 390, 320]

function keyOf(index: number): string {
  return `key/${String(index).padStart(5, '0')}`
}

async function lockMany(session: Session): Promise<void> {
  await Promise.all(Array.from({ length: lockCount }, (_, index) => session.lock(keyOf(index))))
}

describe('the dashboard with thousands of locks', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('shows that it knows only a thousand locks, and finds other locks by a prefix', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('bulk')
    await lockMany(sessions[0]!)
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/locks')
    await dashboardPage.waitForText(`1,000 of ${lockCountText} are known here`)
    await dashboardPage.waitForText(`${lockCountText} locks held, 0 waiting`)
    const search = dashboardPage.page.getByRole('searchbox')
    // These ten keys are beyond the first thousand, which the page knows.
    await search.fill('key/0147')
    await dashboardPage.waitForRows(
      'Locks',
      Array.from({ length: 10 }, (_, n) => `key/0147${n}`),
    )
    await search.fill('key/')
    await dashboardPage.waitForText(`${lockCountText} locks begin with “key/”`)
    expect(await dashboardPage.rows('Locks').count()).to.be.below(drawnRowsBound)
    dashboardPage.expectNoProblems()
  })

  it('knows all locks that were granted while it was open, draws few rows, follows the keyboard, and filters', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('bulk', 'waiter')
    const [bulk, waiter] = sessions
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/locks')
    await lockMany(bulk!)
    void waiter!.lock(keyOf(lockCount - 1)).catch(() => {})
    await untilMessagesHandled(waiter!)
    const { page } = dashboardPage
    const table = page.getByRole('table', { name: 'Locks' })
    // The heading is also a row.
    await page.locator(`[role=table][aria-rowcount="${lockCount + 1}"]`).waitFor()
    expect(await dashboardPage.rows('Locks').count()).to.be.below(drawnRowsBound)
    await dashboardPage.rows('Locks').first().getByRole('link').first().focus()
    await page.keyboard.press('ArrowDown')
    await waitForFocusOn(dashboardPage, keyOf(1))
    await page.keyboard.press('End')
    await waitForFocusOn(dashboardPage, keyOf(lockCount - 1))
    await page.keyboard.press('PageUp')
    await page.keyboard.press('Home')
    await waitForFocusOn(dashboardPage, keyOf(0))
    expect(await dashboardPage.rows('Locks').count()).to.be.below(drawnRowsBound)
    await page.keyboard.press('ArrowDown')
    await waitForFocusOn(dashboardPage, keyOf(1))
    await page.getByRole('checkbox', { name: 'Only with a queue' }).check()
    await dashboardPage.waitForRows('Locks', [keyOf(lockCount - 1)])
    // The Tab key reaches the only row, although the second row was active before.
    const onlyLink = dashboardPage.rows('Locks').first().getByRole('link').first()
    expect(await onlyLink.getAttribute('tabindex')).to.equal('0')
    await page.getByRole('checkbox', { name: 'Only with a queue' }).uncheck()
    await page.getByRole('searchbox').fill('key/00042')
    await dashboardPage.waitForRows('Locks', [keyOf(42)])
    expect(await table.getByRole('row').count()).to.equal(2)
    dashboardPage.expectNoProblems()
  })

  it('shows the start and the length of a queue of thousands', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('holder', 'crowd')
    const [holder, crowd] = sessions
    const lock = await holder!.lock('k')
    // The page lists at most the first 1,000 of these requests.
    for (let n = 0; n < 3_000; n++) void crowd!.lock('k').catch(() => {})
    await untilMessagesHandled(crowd!)
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    await dashboardPage.waitForText('Held, 3,000 waiting')
    await dashboardPage.waitForText('The first 1,000 of 3,000 waiting requests.')
    expect(await dashboardPage.rows('Queue').count()).to.be.below(drawnRowsBound)
    await lock.unlock()
    await dashboardPage.waitForText('Held, 2,999 waiting')
    dashboardPage.expectNoProblems()
  })

  it('adds no events to the list of events while the list is paused', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/events')
    const { page } = dashboardPage
    for (let n = 0; n < 5; n++) await (await sessions[0]!.lock(`first/${n}`)).unlock()
    // Five grants, five unlocks and the heading.
    await page.locator('[role=table][aria-rowcount="11"]').waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    await (await sessions[0]!.lock('second')).unlock()
    await page.getByRole('button', { name: 'Continue (2 new)' }).click()
    await page.locator('[role=table][aria-rowcount="13"]').waitFor()
    await page.getByRole('checkbox', { name: 'unlocked' }).uncheck()
    // Six grants and the heading.
    await page.locator('[role=table][aria-rowcount="7"]').waitFor()
    await dashboardPage.waitForRows('Events, newest first', [
      ...['second', 'first/4', 'first/3', 'first/2', 'first/1', 'first/0'],
    ])
    dashboardPage.expectNoProblems()
  })

  it('has an accessible name for every control, and fits on the screen of a phone', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('n'.repeat(60), 'b'.repeat(60))
    await sessions[0]!.lock('a-key-that-is-rather-long/'.repeat(6), {
      metadata: { a: 'b'.repeat(300) },
    })
    // Durations of weeks have the longest texts.
    await sessions[1]!.lock('k', { ttl: 2_000_000_000, maxHold: 2_100_000_000 })
    void sessions[0]!.lock('k').catch(() => {})
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    const pages = ['#/overview', '#/locks', '#/lock/k', '#/sessions', '#/events', '#/coordination']
    pages.push(`#/session/${sessions[0]!.id}`)
    pages.push(`#/lock/${encodeURIComponent('a-key-that-is-rather-long/'.repeat(6))}`)
    for (const width of widths) {
      await page.setViewportSize({ width, height: 800 })
      for (const hash of pages) {
        await dashboardPage.go(hash)
        await page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' })
        const { nameless, overflowPx } = await page.evaluate(inspect)
        expect(nameless, hash).to.deep.equal([])
        expect(overflowPx, `${hash} at ${width}`).to.equal(0)
      }
    }
    dashboardPage.expectNoProblems()
  })

  it('uses the theme of the system or the chosen theme, also after a reload', async () => {
    const { url } = await stage.startBroker()
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    const colorScheme = () =>
      page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)
    // `emulateMedia` sets the theme of the system.
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await colorScheme()).to.equal('dark')
    // Each click on the button chooses the next theme: light, dark, and that of the system.
    await page.getByRole('button', { name: /^Theme: system/ }).click()
    expect(await colorScheme()).to.equal('light')
    await page.reload()
    await dashboardPage.waitForState('Live')
    expect(await colorScheme()).to.equal('light')
    await page.getByRole('button', { name: /^Theme: light/ }).click()
    await page.emulateMedia({ colorScheme: 'light' })
    expect(await colorScheme()).to.equal('dark')
    await page.getByRole('button', { name: /^Theme: dark/ }).click()
    expect(await colorScheme()).to.equal('light')
    dashboardPage.expectNoProblems()
  })
})

/** Resolves when the link of this lock has the focus. */
async function waitForFocusOn(dashboardPage: DashboardPage, lockKey: string): Promise<void> {
  await dashboardPage.page.waitForFunction(
    (linkText) => document.activeElement?.textContent === linkText,
    lockKey,
  )
}

/**
 * Runs in the page. Returns the controls without an accessible name, and by how many pixels the
 * content is wider than the window.
 */
function inspect(): { nameless: string[]; overflowPx: number } {
  const controls = document.querySelectorAll(
    'a, button, input, select, [role=table], [role=img], [tabindex]',
  )
  const isNamed = (element: Element) =>
    (element.textContent ?? '').trim() !== '' ||
    element.hasAttribute('aria-label') ||
    // This element is not a control, although the page can focus it.
    element.id === 'main' ||
    ((element as HTMLInputElement).labels?.length ?? 0) > 0
  const { scrollWidth, clientWidth } = document.documentElement
  return {
    nameless: [...controls].filter((element) => !isNamed(element)).map((e) => e.outerHTML),
    overflowPx: Math.max(0, scrollWidth - clientWidth),
  }
}
