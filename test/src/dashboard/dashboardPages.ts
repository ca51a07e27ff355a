/**
 * Opens a browser context for one suite, and opens pages of the dashboard in tabs of the context.
 * At the end of a test, its tab leaves the dashboard, and the next test uses the tab again, because
 * a new tab costs three times as much CPU time. Closes the context after the last test.
 */
import type { BrowserContext, Page } from 'playwright-core'
import type { Chromium } from '../browser/chromium.js'
import { openContext } from '../browser/sharedChromium.js'
import type { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { DashboardPage } from './dashboardPage.js'

export class DashboardPages {
  readonly #stage: Stage
  /** The browser context of the suite; undefined until the hook `before` has opened it. */
  #opened: Chromium | undefined
  /** The tab of an earlier test, for the next page. */
  #idleTab: Page | undefined

  private constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Must be called in a `describe`. Its tests are skipped if the machine has no Chromium. */
  static forSuite(stage: Stage): DashboardPages {
    needs('chromium')
    const dashboardPages = new DashboardPages(stage)
    before(async () => {
      dashboardPages.#opened = await openContext()
    })
    after(() => dashboardPages.#opened?.close())
    return dashboardPages
  }

  /** The browser context of the suite. Only hooks and tests can read it. */
  get context(): BrowserContext {
    return this.#opened!.context
  }

  /**
   * Opens a page of the dashboard.
   *
   * @param url The URL of the broker, `ws://host:port`.
   */
  async openPage(url: string, hash?: string): Promise<DashboardPage> {
    const tab = this.#idleTab ?? (await this.context.newPage())
    this.#idleTab = undefined
    const dashboardPage = await DashboardPage.open(tab, url, hash)
    this.#stage.onCleanUp(() => this.#leave(dashboardPage))
    return dashboardPage
  }

  /** Leaves a page after its test. Keeps one tab for the next test, and closes other tabs. */
  async #leave(dashboardPage: DashboardPage): Promise<void> {
    const { page } = dashboardPage
    if (page.isClosed()) return
    if (this.#idleTab !== undefined) return page.close()
    await dashboardPage.leave()
    this.#idleTab = page
  }

  /** Opens a page as {@link openPage} does. Waits until the page has connected to the broker. */
  async openConnectedPage(url: string, hash?: string): Promise<DashboardPage> {
    const dashboardPage = await this.openPage(url, hash)
    await dashboardPage.waitForState('Live')
    return dashboardPage
  }
}
