/**
 * Somebody who looks at the dashboard in a real browser. Whatever goes wrong in the page that a
 * person would only see in its console is kept, and nothing may be left at the end of a test.
 */
import { expect } from 'chai'
import type { BrowserContext, Locator, Page } from 'playwright-core'

export class Visitor {
  readonly page: Page
  /** Errors and warnings of the console, errors that nobody caught, requests to anyone else. */
  readonly problems: string[] = []

  private constructor(page: Page) {
    this.page = page
  }

  /** @param url Of the broker, as `ws://host:port`. */
  static async at(context: BrowserContext, url: string, hash = ''): Promise<Visitor> {
    const page = await context.newPage()
    const origin = url.replace(/^ws/, 'http')
    const visitor = new Visitor(page)
    // A busy machine is slow, and that is no fault of the page.
    page.setDefaultTimeout(100_000)
    page.on('console', (message) => {
      if (/error|warning|assert/.test(message.type())) visitor.problems.push(message.text())
    })
    page.on('pageerror', ({ message }) => visitor.problems.push(message))
    page.on('request', (request) => {
      if (!request.url().startsWith(`${origin}/dashboard/`)) visitor.problems.push(request.url())
    })
    await page.goto(`${origin}/dashboard/${hash}`)
    return visitor
  }

  /** Goes to a page of the dashboard as a link would. */
  async go(hash: string): Promise<void> {
    await this.page.evaluate((to) => {
      location.hash = to
    }, hash)
  }

  /** Resolves once this can be read somewhere. */
  async sees(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor()
  }

  /** Resolves once this can no longer be read. */
  async seesNoMore(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor({ state: 'hidden' })
  }

  /** The connection is as this says. */
  async isTold(
    standing: 'Live' | 'Connection lost' | 'Connecting' | 'Token needed',
  ): Promise<void> {
    await this.page.getByRole('status').getByText(standing, { exact: true }).waitFor()
  }

  /** The names in a queue or another table, row by row as they are drawn. */
  rows(table: string): Locator {
    return this.page.getByRole('table', { name: table }).locator('.virtual-row')
  }

  /** Resolves once the rows of a table have these words in them, in this order. */
  async seesRows(table: string, words: readonly string[]): Promise<void> {
    await this.page.waitForFunction(
      ([name, wanted]) => {
        const rows = [...document.querySelectorAll(`[aria-label="${name}"] .virtual-row`)]
        const place = (row: Element) => Number(row.getAttribute('aria-rowindex'))
        const texts = rows.sort((a, b) => place(a) - place(b)).map((row) => row.textContent ?? '')
        return texts.length === wanted.length && wanted.every((word, n) => texts[n]?.includes(word))
      },
      [table, words] as const,
    )
  }

  expectNoProblems(): void {
    expect(this.problems).to.deep.equal([])
  }
}
