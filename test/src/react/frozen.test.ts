/**
 * Tests `@holdfast/client/react` in a tab of Chromium that is frozen. While the tab is frozen, no
 * code of the page runs. So the broker ends the session of the page when its lease (the longest
 * time without a message) is over. A session in Node is the rival of the page.
 *
 * The page shows the state of its lock, the error (`ok` for none) and the names of the holders. An
 * example is `held ok by [page]`.
 */
import { connect, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { DevTools, type Tab } from '../browser/devtools.js'
import { openSite, type Site } from '../browser/site.js'
import { Collector } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { bundleWithReact, reactVersions } from './bundle.js'
import type { ShownText } from './page.js'

for (const version of reactVersions) {
  describe(`the hooks for React ${version} in a tab that is frozen`, function () {
    this.timeout(60_000)
    needs('chromium')
    let site: Site
    let browser: DevTools
    let rival: Session
    let tab: Tab
    /** A second tab, which hides `tab`. */
    let coveringTab: Tab | undefined
    /** The effects at the broker, such as `ended page`: the session with the name "page" ended. */
    let log: Collector<string>

    before(async () => {
      const pages = {
        '/page.js': await bundleWithReact('react/page.js', 'development', version),
        '/react.html':
          '<!doctype html><title>React</title><script type="module" src="/page.js"></script>',
      }
      const observer = {
        onMessage: () => {},
        onEffect: (effect: { kind: string; session?: { name?: string } }) =>
          log.add(`${effect.kind} ${effect.session?.name}`),
        onFlushed: () => {},
        onRefused: () => {},
      }
      log = new Collector()
      // The leases are shorter than usual, so that a frozen tab soon loses its session.
      // The cast is needed, because the observer declares only the fields that the test reads.
      const brokerOptions = { lease: { min: 500, default: 1_500 }, observer: observer as never }
      site = await openSite({ brokerOptions, pages })
      browser = await DevTools.launch()
      rival = await connect(site.url, { name: 'rival', lease: 60_000 })
    })

    after(async () => {
      await rival?.close()
      await browser?.close()
      await site?.close()
    })

    beforeEach(async () => {
      log = new Collector()
      tab = await browser.open(`${site.origin}/react.html?url=${encodeURIComponent(site.url)}`)
    })

    afterEach(async () => {
      await tab.close()
      await coveringTab?.close()
      // Otherwise this session could end during the next test, which waits for such an end.
      await log.waitUntil(() => countOf('ended page') === countOf('opened page'))
    })

    const countOf = (text: string) => log.items.filter((item) => item === text).length
    /** Calls a function of the page's script. */
    const inPage = <T>(name: string, ...args: readonly string[]): Promise<T> =>
      tab.evaluate(`globalThis[${JSON.stringify(name)}](...${JSON.stringify(args)})`)
    const untilShown = (text: string) => inPage('untilShown', text)
    const setState = (state: 'frozen' | 'active') =>
      tab.send('Page.setWebLifecycleState', { state })

    /** Hides `tab` behind another tab, because only a hidden tab can freeze. Then freezes `tab`. */
    async function freeze(): Promise<void> {
      coveringTab = await browser.open(`${site.origin}/other.html`)
      await setState('frozen')
    }

    it('do not show a lost lock as held after the tab wakes, and wait for the lock again', async () => {
      await inPage('mount', 'root', 'auto', 'frozen')
      await untilShown('held ok by [page]')
      await inPage('startRecording')
      const granted = rival.lock('frozen')
      await freeze()
      const lock = await granted
      const wokenAt = Date.now()
      await setState('active')
      await untilShown('waiting ok by [rival]')
      const texts = await inPage<ShownText[]>('recordedTexts')
      await lock.unlock()
      await untilShown('held ok by [page]')
      const afterwards = texts.filter(({ at }) => at >= wokenAt).map(({ text }) => text)
      expect(afterwards).to.not.be.empty.and.not.include('held ok by [page]')
    })

    it('leave the queue while the tab is frozen, and wait again when it wakes', async () => {
      const lock = await rival.lock('queued')
      await inPage('mount', 'root', 'auto', 'queued')
      await untilShown('waiting ok by [rival]')
      await freeze()
      await log.waitUntil((items) => items.includes('ended page'))
      await lock.unlock()
      // The broker must not grant the lock to the frozen tab, which cannot use the lock.
      const nextLock = await rival.tryLock('queued')
      await setState('active')
      await nextLock.unlock()
      await untilShown('held ok by [page]')
    })
  })
}
