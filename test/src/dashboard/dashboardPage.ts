/**
 * A page of the dashboard in Chromium, for tests. It collects its errors and warnings, and a test
 * checks at its end that there are none.
 */
import { expect } from 'chai'
import type { BrowserContext, Locator, Page } from 'playwright-core'

export class DashboardPage {
  readonly page: Page
  /** Errors and warnings of the console, uncaught errors, and requests to other origins. */
  readonly problems: string[] = []

  private constructor(page: Page) {
    this.page = page
  }

  /**
   * Opens a page of the dashboard in a new tab.
   *
   * @param url The URL of the broker, `ws://host:port`.
   * @param hash The page of the dashboard, such as `#/locks`. Default: the overview.
   */
  static async open(context: BrowserContext, url: string, hash = ''): Promise<DashboardPage> {
    const page = await context.newPage()
    const origin = url.replace(/^ws/, 'http')
    const dashboardPage = new DashboardPage(page)
    // The timeout is long, because a busy machine is slow.
    page.setDefaultTimeout(100_000)
    page.on('console', (message) => {
      if (/error|warning|assert/.test(message.type())) dashboardPage.problems.push(message.text())
    })
    page.on('pageerror', ({ message }) => dashboardPage.problems.push(message))
    page.on('request', (request) => {
      if (!request.url().startsWith(`${origin}/dashboard/`))
        dashboardPage.problems.push(request.url())
    })
    await page.goto(`${origin}/dashboard/${hash}`)
    return dashboardPage
  }

  /** Navigates to a page of the dashboard, as a link does. */
  async go(hash: string): Promise<void> {
    await this.page.evaluate((to) => {
      location.hash = to
    }, hash)
  }

  /** Resolves when the page shows this text. */
  async waitForText(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor()
  }

  /** Resolves when the page no longer shows this text. */
  async waitUntilHidden(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor({ state: 'hidden' })
  }

  /** Resolves when the badge shows this state of the connection. */
  async waitForState(
    state: 'Live' | 'Connection lost' | 'Connecting' | 'Token needed',
  ): Promise<void> {
    await this.page.getByRole('status').getByText(state, { exact: true }).waitFor()
  }

  /** The rows of a table that the page has drawn. A long table draws only visible rows. */
  rows(table: string): Locator {
    return this.page.getByRole('table', { name: table }).locator('.virtual-row')
  }

  /** Resolves when a table has exactly one row for each of these texts, in this order. */
  async waitForRows(table: string, texts: readonly string[]): Promise<void> {
    await this.page.waitForFunction(
      ([name, expected]) => {
        const rows = [...document.querySelectorAll(`[aria-label="${name}"] .virtual-row`)]
        const indexOf = (row: Element) => Number(row.getAttribute('aria-rowindex'))
        rows.sort((a, b) => indexOf(a) - indexOf(b))
        const hasText = (row: Element | undefined, text: string) =>
          (row?.textContent ?? '').includes(text)
        return (
          rows.length === expected.length && expected.every((text, i) => hasText(rows[i], text))
        )
      },
      [table, texts] as const,
    )
  }

  /** Fails if the page had an error, a warning or a request to another origin. */
  expectNoProblems(): void {
    expect(this.problems).to.deep.equal([])
  }
}
