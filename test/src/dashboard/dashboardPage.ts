/**
 * A page of the dashboard in Chromium, for tests. The class collects the errors and warnings of the
 * page, and `expectNoProblems` checks that the page had none.
 */
import { expect } from 'chai'
import type { ConsoleMessage, Locator, Page, Request } from 'playwright-core'

/** The size of a new tab. */
const defaultSize = { width: 1_280, height: 720 }

export class DashboardPage {
  readonly page: Page
  /** Errors and warnings of the console, uncaught errors, and requests outside the dashboard. */
  readonly problems: string[] = []

  /** The origin of the dashboard, `http://host:port`. */
  readonly #origin: string

  private constructor(page: Page, origin: string) {
    this.page = page
    this.#origin = origin
  }

  /**
   * Opens a page of the dashboard in the tab `page`.
   *
   * @param url The URL of the broker, `ws://host:port`.
   * @param hash The page of the dashboard, such as `#/locks`. Default: the overview.
   */
  static async open(page: Page, url: string, hash = ''): Promise<DashboardPage> {
    const origin = url.replace(/^ws/, 'http')
    const dashboardPage = new DashboardPage(page, origin)
    // The timeout is long, because a busy machine is slow.
    page.setDefaultTimeout(100_000)
    page.on('console', dashboardPage.#onConsole)
    page.on('pageerror', dashboardPage.#onError)
    page.on('request', dashboardPage.#onRequest)
    await page.goto(`${origin}/dashboard/${hash}`)
    return dashboardPage
  }

  readonly #onConsole = (message: ConsoleMessage): void => {
    if (/error|warning|assert/.test(message.type())) this.problems.push(message.text())
  }

  readonly #onError = ({ message }: Error): void => void this.problems.push(message)

  readonly #onRequest = (request: Request): void => {
    if (!request.url().startsWith(`${this.#origin}/dashboard/`)) this.problems.push(request.url())
  }

  /**
   * Leaves the dashboard, so that the session of the page ends. Also resets the size and the
   * emulated theme of the tab, which can then open another page.
   */
  async leave(): Promise<void> {
    this.page.off('console', this.#onConsole)
    this.page.off('pageerror', this.#onError)
    this.page.off('request', this.#onRequest)
    await this.page.goto('about:blank')
    await this.page.setViewportSize(defaultSize)
    await this.page.emulateMedia({ colorScheme: null, reducedMotion: null })
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

  /** The drawn rows of a table. The page draws only the visible rows of a long table. */
  rows(table: string): Locator {
    return this.page.getByRole('table', { name: table }).locator('.virtual-row')
  }

  /** Resolves when a table has exactly one row for each of these texts, in this order. */
  async waitForRows(table: string, texts: readonly string[]): Promise<void> {
    await this.page.waitForFunction(
      ([name, expected]) => {
        const rows = [...document.querySelectorAll(`[aria-label="${name}"] .virtual-row`)]
        // The order of the elements may differ from the order in which the page shows the rows.
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

  /** Fails if the page had an error, a warning or a request outside the dashboard. */
  expectNoProblems(): void {
    expect(this.problems).to.deep.equal([])
  }
}
