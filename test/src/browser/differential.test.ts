/**
 * Compares `session.locks` with `navigator.locks` of Chromium, in the same page. Each scenario must
 * give its expected log with either lock manager, except where Chromium is known to deviate. Each
 * random plan of lock requests must give the same log with both. A quiet point is a place in a log
 * where the scenario waited until nothing more happened. In some scenarios, the order of the lines
 * between two quiet points is undefined.
 */
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { drawPlan } from '../locks/plan.js'
import { scenarios } from '../locks/scenarios/index.js'
import { type Script, sortedBetweenQuietPoints } from '../locks/script.js'
import { quickOrFull, Random, seed } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { type Chromium, openPage } from './chromium.js'
import type { Implementation } from './inPage/differential.js'
import { openContext } from './sharedChromium.js'
import { openSite, type Site } from './site.js'

type ScriptResult = Pick<Script, 'log' | 'quietPoints'>

/** The module on the site whose functions run in the page. */
const modulePath = '/built/browser/inPage/differential.js'
/** The number of turns of a random plan. All actions of a turn start together. */
const turnsPerPlan = 12

describe('session.locks compared with navigator.locks', function () {
  this.timeout(600_000)
  needs('chromium')
  let site: Site
  let chromium: Chromium
  let page: Page

  before(async () => {
    site = await openSite()
    chromium = await openContext()
    page = await openPage(chromium.context, `${site.origin}/page.html`)
  })

  after(async () => {
    await chromium?.close()
    await site?.close()
  })

  /** Calls a function of the module in the page. */
  function inPage<T>(name: string, ...args: unknown[]): Promise<T> {
    return page.evaluate(
      async ([modulePath, name, args]) => {
        const module = await import(modulePath as string)
        return module[name as string](...(args as unknown[]))
      },
      [modulePath, name, args] as const,
    ) as Promise<T>
  }

  const titles: Record<Implementation, string> = {
    native: "the browser's own locks",
    session: 'session.locks',
    twoSessions: 'session.locks of two sessions',
  }
  for (const [implementation, suiteTitle] of Object.entries(titles)) {
    describe(suiteTitle, () => {
      for (const [index, scenario] of scenarios.entries()) {
        const { title, anyOrder } = scenario
        const deviation = implementation === 'native' ? scenario.chromium : undefined
        const suffix = deviation === undefined ? '' : ` (NOT in Chromium: ${deviation.why})`
        it(title + suffix, async () => {
          const { log, quietPoints } = await inPage<ScriptResult>(
            'scenarioLog',
            implementation,
            site.url,
            index,
          )
          const expected = deviation?.log ?? scenario.log
          // Two sessions have two connections, so their events may arrive in any order.
          const isOrderDefined = implementation !== 'twoSessions' && !anyOrder
          if (isOrderDefined) expect(log).to.deep.equal(expected)
          expect(sortedBetweenQuietPoints(log, quietPoints)).to.deep.equal(
            sortedBetweenQuietPoints(expected, quietPoints),
          )
        })
      }
    })
  }

  it('gives the same log for each random plan', async () => {
    // The first number is for a quick run, and the second number is for a full run.
    const [planCount, batchSize] = [quickOrFull(4, 500), quickOrFull(4, 20)]
    const random = new Random(seed)
    for (let firstPlan = 0; firstPlan < planCount; firstPlan += batchSize) {
      const plans = Array.from({ length: batchSize }, () => drawPlan(random, turnsPerPlan))
      const nativeLogs = await inPage<string[][]>('planLogs', 'native', site.url, plans)
      const sessionLogs = await inPage<string[][]>('planLogs', 'session', site.url, plans)
      for (const [i, nativeLog] of nativeLogs.entries()) {
        const description = `HOLDFAST_SEED=${seed}, plan ${firstPlan + i}`
        expect(sessionLogs[i], description).to.deep.equal(nativeLog)
      }
    }
  })
})
