/** Tests the browser demo in two windows of Chromium, for the users Ada and Grace. */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { type Chromium, openPage } from '../browser/chromium.js'
import { openContext } from '../browser/sharedChromium.js'
import { needs } from '../support/needs.js'
import { type Demo, serveDemo } from './serve.js'

/** The largest number of lines of the page. */
const maxLines = 150

describe('the source of the browser demo', () => {
  it('is a page that people can copy: one file of at most 150 lines', () => {
    const source = readFileSync(new URL('../../src/demo-browser/page.tsx', import.meta.url), 'utf8')
    // The text after the last line break is empty.
    expect(source.split('\n').length - 1).to.be.at.most(maxLines)
  })
})

describe('the browser demo', function () {
  this.timeout(60_000)
  needs('chromium')
  let demo: Demo
  let chromium: Chromium
  let ada: Page
  let grace: Page

  before(async () => {
    demo = await serveDemo(0)
    chromium = await openContext()
  })

  after(async () => {
    await chromium?.close()
    await demo?.close()
  })

  beforeEach(async () => {
    ada = await visit(ada, 'Ada')
    grace = await visit(grace, 'Grace')
    // Both users open the first document.
    await ada.click('[data-id="1"]')
    await grace.click('[data-id="1"]')
  })

  afterEach(async () => {
    // A session ends when its tab leaves the demo.
    for (const tab of [ada, grace]) if (!tab.isClosed()) await tab.goto('about:blank')
  })

  /**
   * Opens the demo for a user. Uses the tab of the previous test, unless that test closed the tab.
   * A new tab costs three times as much CPU time as a new address in an open tab.
   */
  async function visit(tab: Page | undefined, user: string): Promise<Page> {
    const address = `${demo.url}?name=${user}`
    if (tab === undefined || tab.isClosed()) return openPage(chromium.context, address)
    await tab.goto(address)
    return tab
  }

  const waitForText = (page: Page, text: string | RegExp) => page.getByText(text).first().waitFor()
  const press = (page: Page, name: string) =>
    page.getByRole('button', { name, exact: true }).click()
  const waitForNoText = (page: Page, text: string) =>
    page.getByText(text).first().waitFor({ state: 'hidden' })

  it('shows the readers, the editor and the saved text of a document', async () => {
    await waitForText(ada, 'Also here: Grace')
    await waitForText(grace, 'Also here: Ada')
    await press(ada, 'Edit')
    await waitForText(grace, 'Ada is editing')
    await waitForText(ada, 'You are editing')
    await ada.fill('textarea', 'Written by Ada.')
    await press(grace, 'Edit when free')
    await waitForText(grace, 'You edit as soon as Ada is done.')
    await press(ada, 'Save')
    await waitForText(ada, 'Grace is editing')
    expect(await grace.inputValue('textarea')).to.equal('Written by Ada.')
    await press(grace, 'Discard')
    await waitForText(ada, /Written by Ada/)
    await waitForText(grace, /last saved by Ada/)
    await grace.close()
    await waitForText(ada, 'Only you have this open')
  })

  it('informs the editor of a stolen lock, and keeps the typed text', async () => {
    await press(ada, 'Edit')
    await ada.fill('textarea', 'Half a sent')
    await press(grace, 'Edit when free')
    await press(grace, 'Take over')
    await waitForText(grace, 'You are editing')
    await waitForText(ada, 'Grace took this document over.')
    await waitForText(ada, 'Half a sent')
    await grace.fill('textarea', 'Written by Grace.')
    await press(grace, 'Save')
    await waitForText(ada, /last saved by Grace/)
    await press(ada, 'All right')
    await waitForNoText(ada, 'Half a sent')
    // The document is free now: the take-over cancelled the waiting request of Grace, which would
    // otherwise have got the lock after the save.
    await ada.getByRole('button', { name: 'Edit', exact: true }).waitFor()
  })

  it('refuses a write with a lower fence than the last write (a fence is the number of a grant)', async () => {
    const write = (fence: number) =>
      ada.evaluate(async (fence) => {
        const body = JSON.stringify({ title: 't', text: 'x', by: 'Ada', fence })
        return (await fetch('documents/2', { method: 'PUT', body })).status
      }, fence)
    expect(await write(20)).to.equal(200)
    // The same holder may write again.
    expect(await write(20)).to.equal(200)
    // The server answers a lower fence with 409, and an invalid fence with 400.
    expect(await write(19)).to.equal(409)
    expect(await write(Number.NaN)).to.equal(400)
    // The path of this request is "//", because the URL of the demo ends with "/". In the server,
    // `new URL` throws for this path, but the server must continue.
    await fetch(`${demo.url}/`).catch(() => {})
    expect(await write(20)).to.equal(200)
  })

  it('fits on the screen of a phone, where a button leads from a document to the list', async () => {
    const screen = { width: 360, height: 740 }
    await ada.setViewportSize(screen)
    const width = await ada.evaluate(() => document.documentElement.scrollWidth)
    expect(width).to.equal(screen.width)
    await press(ada, '‹ All documents')
    await waitForText(ada, 'Recipe: rye bread')
  })
})
