/**
 * Tests the web page that a reader of client/README.md can copy, in two windows of a real browser.
 * The test changes only the URL of the broker, because the port in the README may be in use.
 */
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { firstExample } from '../conventions/docs.js'
import { read } from '../conventions/repository.js'
import { Collector, Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { openContext } from './sharedChromium.js'
import { openSite, type Site } from './site.js'

const brokerUrlInPage = "'ws://127.0.0.1:7420'"

describe('the web page that a reader of client/README.md can copy', function () {
  this.timeout(60_000)
  needs('chromium')
  const stage = Stage.forEachTest()
  const { language, code = '' } = firstExample(read('client/README.md'), 'page to copy') ?? {}
  let site: Site

  afterEach(() => site?.close())

  /** Opens the page in a window, and answers its question for a name. */
  async function openWindow(name: string): Promise<Page> {
    // Each page has a window of its own. A page behind another page in one window would draw no
    // animation frames, but a click of Playwright waits for these frames.
    const { context, close } = await openContext()
    stage.onCleanUp(close)
    const page = await context.newPage()
    page.on('pageerror', (error) => {
      throw error
    })
    page.on('dialog', (dialog) => void dialog.accept(name))
    await page.goto(`${site.origin}/minutes.html`)
    return page
  }

  /** Resolves when the element `#locks` of a page has this text. */
  const waitForText = (page: Page, text: string) =>
    page.locator('#locks', { hasText: new RegExp(`^${text}$`) }).waitFor()

  it('takes a lock, shows the holder in every window, and releases the lock when the window of the holder closes', async () => {
    expect(language).to.equal('html')
    // `replace` changes only the first URL, so the page must have the URL exactly once. A text that
    // has the URL once splits into two parts.
    expect(code.split(brokerUrlInPage)).to.have.length(2)
    // With `dev`, the broker allows pages that this machine serves. The page needs the URL of the
    // broker before the site starts, so the test cannot use the site's own broker.
    const { url } = await stage.startBroker({ dev: true })
    site = await openSite({ pages: { '/minutes.html': code.replace(brokerUrlInPage, `'${url}'`) } })
    const [ann, ben] = [await openWindow('Ann'), await openWindow('Ben')]
    await waitForText(ann, 'Free to edit')
    await waitForText(ben, 'Free to edit')

    await ann.locator('#edit').click()
    await waitForText(ann, 'Ann edits documents/minutes')
    await waitForText(ben, 'Ann edits documents/minutes')
    const session = await stage.openSession(url)
    const { held } = await session.query({ key: 'documents/minutes' })
    expect(held.map(({ name }) => name)).to.deep.equal(['Ann'])

    const events = new Collector<string>()
    session.watch({ key: 'documents/minutes', queue: true }, ({ event }) => events.add(event))
    await ben.locator('#edit').click()
    await events.waitUntil((seen) => seen.includes('queued'))
    await ann.close()
    await waitForText(ben, 'Ben edits documents/minutes')
    await ben.close()
    // Both windows lost the lock when they were closed.
    await events.waitUntil((seen) => seen.filter((event) => event === 'lost').length === 2)
  })
})
