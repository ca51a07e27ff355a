/**
 * Compares `session.locks` with `navigator.locks` of Chromium: the same scenarios and the same
 * random plans run in the same page, and their logs must be equal.
 */
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { drawPlan } from '../locks/plan.js'
import { scenarios } from '../locks/scenarios/index.js'
import { type Script, sortedBetween } from '../locks/script.js'
import { count, Random, seed } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { type Chromium, openChromium, openPage } from './chromium.js'
import type { Whose } from './inPage/differential.js'
import { openSite, type Site } from './site.js'

type Told = Pick<Script, 'log' | 'rests'>

const script = '/built/browser/inPage/differential.js'

describe('session.locks compared with navigator.locks', function () {
  this.timeout(600_000)
  needs('chromium')
  let site: Site
  let chromium: Chromium
  let page: Page

  before(async () => {
    site = await openSite()
    chromium = await openChromium()
    page = await openPage(chromium.context, `${site.origin}/page.html`)
  })

  after(async () => {
    await chromium?.close()
    await site?.close()
  })

  /** Calls a function of the script in the page. */
  function inPage<T>(name: string, ...args: unknown[]): Promise<T> {
    return page.evaluate(
      async ([script, name, args]) => {
        const module = await import(script as string)
        return module[name as string](...(args as unknown[]))
      },
      [script, name, args] as const,
    ) as Promise<T>
  }

  const whoses: Record<Whose, string> = {
    native: "the browser's own locks",
    ours: 'session.locks',
    two: 'session.locks of two sessions',
  }
  for (const [whose, of] of Object.entries(whoses)) {
    describe(of, () => {
      for (const [index, scenario] of scenarios.entries()) {
        const { title, anyOrder, chromium: different } = scenario
        const odd = whose === 'native' ? different : undefined
        it(odd === undefined ? title : `${title} (NOT in Chromium: ${odd.why})`, async () => {
          const { log, rests } = await inPage<Told>('scenarioLog', whose, site.url, index)
          const wanted = odd?.log ?? scenario.log
          const loosely = whose === 'two' || anyOrder
          if (!loosely) expect(log).to.deep.equal(wanted)
          expect(sortedBetween(log, rests)).to.deep.equal(sortedBetween(wanted, rests))
        })
      }
    })
  }

  it('has equal logs of random plans', async () => {
    const wanted = count(20, 500)
    const random = new Random(seed)
    for (let done = 0; done < wanted; done += 20) {
      const plans = Array.from({ length: 20 }, () => drawPlan(random, 12))
      const native = await inPage<string[][]>('planStories', 'native', site.url, plans)
      const ours = await inPage<string[][]>('planStories', 'ours', site.url, plans)
      for (const [i, story] of native.entries()) {
        expect(ours[i], `HOLDFAST_SEED=${seed}, plan ${done + i}`).to.deep.equal(story)
      }
    }
  })
})
