/**
 * A real browser for the tests of one suite, and whoever looks at the dashboard in it. Pages are
 * closed with the stage of the test that opened them; the browser, after the last test.
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

  /** To be called in a `describe`; its tests are skipped where there is no Chromium. */
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

  /** @param url Of the broker, as `ws://host:port`. */
  async at(url: string, hash?: string): Promise<Visitor> {
    const visitor = await Visitor.at(this.context, url, hash)
    this.#stage.onClear(() => visitor.page.close())
    return visitor
  }

  /** The same, connected. */
  async live(url: string, hash?: string): Promise<Visitor> {
    const visitor = await this.at(url, hash)
    await visitor.isTold('Live')
    return visitor
  }
}
