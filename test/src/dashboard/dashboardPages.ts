/**
 * Opens Chromium for the tests of one suite, and opens pages of the dashboard in Chromium. Closes
 * each page at the end of its test, and the browser after the last test.
 */
import type { BrowserContext } from 'playwright-core'
import type { Chromium } from '../browser/chromium.js'
import { openContext } from '../browser/sharedChromium.js'
import type { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { DashboardPage } from './dashboardPage.js'

export class DashboardPages {
  readonly #stage: Stage
  #chromium: Chromium | undefined

  private constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Must be called in a `describe`. Its tests are skipped if the machine has no Chromium. */
  static forSuite(stage: Stage): DashboardPages {
    needs('chromium')
    const dashboardPages = new DashboardPages(stage)
    before(async () => {
      dashboardPages.#chromium = await openContext()
    })
    after(() => dashboardPages.#chromium?.close())
    return dashboardPages
  }

  get context(): BrowserContext {
    return this.#chromium!.context
  }

  /**
   * Opens a page of the dashboard.
   *
   * @param url The URL of the broker, `ws://host:port`.
   */
  async openPage(url: string, hash?: string): Promise<DashboardPage> {
    const dashboardPage = await DashboardPage.open(this.context, url, hash)
    this.#stage.onClear(() => dashboardPage.page.close())
    return dashboardPage
  }

  /** Opens a page as {@link openPage} does. Waits until the page has connected to the broker. */
  async openConnectedPage(url: string, hash?: string): Promise<DashboardPage> {
    const dashboardPage = await this.openPage(url, hash)
    await dashboardPage.waitForState('Live')
    return dashboardPage
  }
}
