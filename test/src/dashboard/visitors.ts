/**
 * Opens Chromium for the tests of one suite, and opens pages of the dashboard in Chromium. Closes
 * each page at the end of its test, and the browser after the last test.
 */
import type { BrowserContext } from 'playwright-core'
import { type Chromium, openChromium } from '../browser/chromium.js'
import type { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { Visitor } from './visitor.js'

export class Visitors {
  readonly #stage: Stage
  #chromium: Chromium | undefined

  private constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Must be called in a `describe`. Its tests are skipped if the machine has no Chromium. */
  static forSuite(stage: Stage): Visitors {
    needs('chromium')
    const visitors = new Visitors(stage)
    before(async () => {
      visitors.#chromium = await openChromium()
    })
    after(() => visitors.#chromium?.close())
    return visitors
  }

  get context(): BrowserContext {
    return this.#chromium!.context
  }

  /**
   * Opens a page of the dashboard.
   *
   * @param url The URL of the broker, `ws://host:port`.
   */
  async at(url: string, hash?: string): Promise<Visitor> {
    const visitor = await Visitor.at(this.context, url, hash)
    this.#stage.onClear(() => visitor.page.close())
    return visitor
  }

  /** Opens a page as {@link at} does, and waits until the page has connected to the broker. */
  async live(url: string, hash?: string): Promise<Visitor> {
    const visitor = await this.at(url, hash)
    await visitor.isTold('Live')
    return visitor
  }
}
