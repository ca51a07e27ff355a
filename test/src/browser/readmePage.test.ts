/**
 * Tests the web page that a reader of client/README.md can copy, in two windows of a real browser.
 * The broker allows pages that this machine serves. The test changes only the URL of the broker,
 * because the port in the README may be in use.
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
    // A page in the background would draw no animation frames, so each page has its own window.
    const { context, close } = await openContext()
    stage.onClear(close)
    const page = await context.newPage()
    page.on('pageerror', (error) => {
      throw error
    })
    page.on('dialog', (dialog) => void dialog.accept(name))
    await page.goto(`${site.origin}/minutes.html`)
    return page
  }

  /** Resolves when the list of locks in a window has this text. */
  const waitForList = (page: Page, text: string) =>
    page.locator('#locks', { hasText: new RegExp(`^${text}$`) }).waitFor()

  it('takes a lock, shows the holder in every window, and releases the lock when the window of the holder closes', async () => {
    expect(language).to.equal('html')
    // The page must have the URL exactly once, because `replace` changes only the first URL. Then
    // `split` returns two parts.
    expect(code.split(brokerUrlInPage)).to.have.length(2)
    const { url } = await stage.broker({ dev: true })
    site = await openSite({}, { '/minutes.html': code.replace(brokerUrlInPage, `'${url}'`) })
    const [ann, ben] = [await openWindow('Ann'), await openWindow('Ben')]
    await waitForList(ann, 'Free to edit')
    await waitForList(ben, 'Free to edit')

    await ann.locator('#edit').click()
    await waitForList(ann, 'Ann edits documents/minutes')
    await waitForList(ben, 'Ann edits documents/minutes')
    const session = await stage.session(url)
    const { held } = await session.query({ key: 'documents/minutes' })
    expect(held.map(({ name }) => name)).to.deep.equal(['Ann'])

    const events = new Collector<string>()
    session.watch({ key: 'documents/minutes', queue: true }, ({ event }) => events.add(event))
    await ben.locator('#edit').click()
    await events.waitUntil((seen) => seen.includes('queued'))
    await ann.close()
    await waitForList(ben, 'Ben edits documents/minutes')
    await ben.close()
    // Both windows lost the lock when they were closed.
    await events.waitUntil((seen) => seen.filter((event) => event === 'lost').length === 2)
  })
})
