/**
 * Tests `@holdfast/client/react` with the development builds of React 18 and of the newest React in
 * a real Chromium. All components are in the strict mode of React, which mounts each of them twice.
 * A session in Node is the rival of the page, and an observer at the broker records the messages
 * and effects.
 */
import { connect, type Session } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { type Chromium, openPage } from '../browser/chromium.js'
import { openContext } from '../browser/sharedChromium.js'
import { openSite, type Site } from '../browser/site.js'
import { Collector } from '../e2e/stage.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import { bundleWithReact, loadServerRenderer, reactVersions } from './bundle.js'

for (const version of reactVersions) {
  describe(`the hooks for React ${version}`, function () {
    this.timeout(60_000)
    needs('chromium')
    /** The messages at the broker, such as `watch`, and the effects, such as `granted key-1`. */
    let log: Collector<string>
    let site: Site
    let chromium: Chromium
    let rival: Session
    let page: Page
    const consoleErrors: string[] = []

    before(async () => {
      const pages = {
        '/page.js': await bundleWithReact('react/page.js', 'development', version),
        '/react.html': html,
        '/empty.html': emptyHtml,
      }
      const observer = {
        onMessage: (type: string) => log.add(type),
        onEffect: (effect: {
          kind: string
          lock?: { key: string }
          session?: { name?: string }
        }) => {
          log.add(`${effect.kind} ${effect.lock?.key ?? effect.session?.name}`)
        },
        onFlushed: () => {},
        onRefused: () => {},
      }
      log = new Collector()
      // The cast is needed, because the observer declares only the fields that the test reads.
      site = await openSite({ brokerOptions: { observer: observer as never }, pages })
      chromium = await openContext()
      page = await openPage(chromium.context, `${site.origin}/empty.html`)
      page.on('console', (message) => {
        const text = message.text()
        // Chromium logs `WebSocket …` for each connection that fails, or that closes with its page.
        if (message.type() === 'error' && !text.startsWith('WebSocket ')) {
          consoleErrors.push(text)
        }
      })
      rival = await connect(site.url, { name: 'rival' })
    })

    after(async () => {
      await rival?.close()
      await chromium?.close()
      await site?.close()
    })

    beforeEach(async () => {
      log = new Collector()
      await loadReactPage(site.url)
    })

    afterEach(async () => {
      // The page of the test ends here, and its session with it.
      await page.goto(`${site.origin}/empty.html`)
      expect(consoleErrors.splice(0), 'the errors on the console').to.deep.equal([])
    })

    /** Loads the page anew in the one tab, because each new tab costs half a second. */
    async function loadReactPage(url: string): Promise<void> {
      await page.goto(`${site.origin}/react.html?url=${encodeURIComponent(url)}`)
    }

    /** Calls a function of the page's script. */
    const inPage = (name: string, ...args: readonly string[]) =>
      page.evaluate(`globalThis[${JSON.stringify(name)}](...${JSON.stringify(args)})`)
    /**
     * Waits for a text of `components.tsx`. The text of a lock, such as `held ok by [page]`, has
     * the state, the error (or `ok`) and the holders. The text of a session, such as
     * `connected page true ok`, has the state, the name, whether the id is right, and the error.
     * Without a session, `no session` replaces the name and the id. The text of a leader has the
     * value, and `me` if the page leads, otherwise `other`.
     */
    const shows = (text: string) => page.getByText(text, { exact: true }).first().waitFor()
    const press = (name: string) => page.getByRole('button', { name, exact: true }).click()
    const untilLogged = (text: string) => log.waitUntil((items) => items.includes(text))
    const countOf = (text: string) => log.items.filter((item) => item === text).length
    /** The grants and releases of these keys, in order. */
    const historyOf = (...keys: readonly string[]) =>
      log.items.filter((item) => keys.some((key) => item.endsWith(` ${key}`)))

    /**
     * Waits until exactly these keys with the prefix are held, and no request for a key with the
     * prefix waits.
     */
    async function untilHeld(prefix: string, keys: readonly string[]): Promise<void> {
      await log.waitUntil(() => {
        const { held, waitingCount } = site.broker.query({ prefix })
        return waitingCount === 0 && String(held.map(({ key }) => key)) === String(keys)
      })
    }

    it('open one session and take a lock once, and release the lock and end the session when unmounted', async () => {
      // The component `auto` with the key `once`.
      await inPage('mount', 'root', 'auto', 'once')
      await shows('held ok by [page]')
      await shows('once exclusive')
      await inPage('unmount', 'root')
      await untilLogged('ended page')
      expect(countOf('opened page')).to.equal(1)
      expect(historyOf('once')).to.deep.equal(['granted once', 'released once'])
      // The log also has the types of the client's messages.
      expect([countOf('lock'), countOf('watch')]).to.deep.equal([1, 1])
    })

    it('release the lock of an unmounted component, although its provider stays mounted', async () => {
      await inPage('mount', 'root', 'auto', 'stays')
      await shows('held ok by [page]')
      await inPage('mount', 'root', 'nothing')
      await untilLogged('released stays')
      await untilLogged('unwatch')
      expect(countOf('ended page')).to.equal(0)
    })

    it('take the lock of the new key when the key changes, and no longer show the former lock', async () => {
      await inPage('mount', 'root', 'shared', 'key-1')
      await shows('key-1 shared')
      await inPage('mount', 'root', 'shared', 'key-2')
      await shows('key-2 shared')
      await shows('held ok by [page]')
      expect(historyOf('key-1', 'key-2')).to.deep.equal([
        'granted key-1',
        'released key-1',
        'granted key-2',
      ])
    })

    it('take no lock for components that are unmounted immediately', async () => {
      await inPage('flash', 'root', 'auto', 'flashed')
      await page.waitForFunction('document.title === "flashed"')
      await inPage('mount', 'later', 'auto', 'afterwards')
      await shows('held ok by [page]')
      expect(historyOf('flashed')).to.deep.equal([])
      expect(countOf('granted afterwards')).to.equal(1)
    })

    it('withdraw the request of a component that is unmounted', async () => {
      const lock = await rival.lock('withdrawn')
      await inPage('mount', 'root', 'auto', 'withdrawn')
      await shows('waiting ok by [rival]')
      await inPage('mount', 'root', 'nothing')
      await untilLogged('cancel')
      await lock.unlock()
      await (await rival.lock('withdrawn')).unlock()
      // The rival was granted the lock twice and released the lock twice. The page had no grant.
      expect(historyOf('withdrawn').length).to.equal(4)
    })

    it('leave the queue of the former key when the key changes while the request waits', async () => {
      const lock = await rival.lock('former')
      await inPage('mount', 'root', 'auto', 'former')
      await shows('waiting ok by [rival]')
      await inPage('mount', 'root', 'auto', 'next')
      await untilLogged('cancel')
      await shows('held ok by [page]')
      await shows('next exclusive')
      await lock.unlock()
      await (await rival.lock('former')).unlock()
      // The entry before these four is the rival's first grant of "former".
      const lastFour = ['granted next', 'released former', 'granted former', 'released former']
      expect(historyOf('former', 'next').slice(-4)).to.deep.equal(lastFour)
    })

    for (const pause of ['microtask', 'task', 'frame']) {
      it(`hold only the lock of the last key when the key changes after each ${pause}`, async () => {
        const keys = Array.from({ length: 20 }, (_, i) => `${pause}/${i}`)
        await inPage('mountInTurn', 'root', 'auto', pause, ...keys)
        await shows(`${keys.at(-1)} exclusive`)
        await untilHeld(`${pause}/`, [keys.at(-1)!])
      })

      it(`hold no lock in the end if the component is mounted or unmounted after each ${pause}`, async () => {
        // An empty key unmounts the component.
        const keys = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? pause : ''))
        await inPage('mountInTurn', 'root', 'auto', pause, ...keys)
        await untilHeld(pause, [])
        // The page still gets the lock, so nothing of the former components is in the queue.
        await inPage('mount', 'root', 'auto', pause)
        await shows('held ok by [page]')
      })
    }

    it('close every session of providers that are unmounted at any moment', async () => {
      const pauses = Array.from({ length: 24 }, (_, i) => ['microtask', 'task', 'frame'][i % 3]!)
      await inPage('flashInTurn', 'root', 'auto', 'unmounted', ...pauses)
      await inPage('mount', 'last', 'auto', 'unmounted')
      await shows('held ok by [page]')
      await inPage('unmount', 'last')
      await log.waitUntil(
        () => countOf('opened page') > 0 && countOf('ended page') === countOf('opened page'),
      )
      expect(countOf('released unmounted')).to.equal(countOf('granted unmounted'))
    })

    it('wait, hold, lose and steal a lock by the buttons of a page', async () => {
      const lock = await rival.lock('edit')
      await inPage('mount', 'root', 'idle', 'edit')
      await shows('idle ok by [rival]')
      await press('acquire')
      await shows('waiting ok by [rival]')
      await press('release')
      await shows('idle ok by [rival]')
      await press('acquire')
      await shows('waiting ok by [rival]')
      await lock.unlock()
      await shows('held ok by [page]')
      const rivalLock = await rival.lock('edit', { steal: true })
      await shows('lost stolen by [rival]')
      await press('acquire')
      await shows('waiting ok by [rival]')
      await press('steal')
      await shows('held ok by [page]')
      expect(rivalLock.held).to.equal(false)
      await press('release')
      await shows('idle ok by []')
    })

    it('take the lock again in a new session after the connection was lost', async () => {
      await inPage('mount', 'root', 'auto', 'again')
      await shows('held ok by [page]')
      await inPage('dropConnections')
      await log.waitUntil(() => countOf('granted again') === 2)
      await shows('held ok by [page]')
      expect(countOf('opened page')).to.equal(2)
    })

    it('show an error for an option that does not exist', async () => {
      await inPage('mount', 'root', 'misspelt', 'misspelt')
      await shows('failed INVALID_OPTION by []')
    })

    it('share one watch, and show all changes of the holders', async () => {
      const lock = await rival.lock('list/a', { mode: 'shared' })
      await inPage('mount', 'root', 'sharedWatch', 'list/')
      await shows('1 [list/a shared] ok')
      const secondLock = await rival.lock('list/b')
      await shows('2 [list/a shared,list/b exclusive] ok')
      // An upgraded lock has a new fence, and the holders come in the order of their fences.
      await lock.upgrade()
      await shows('2 [list/b exclusive,list/a exclusive] ok')
      await secondLock.unlock()
      await lock.downgrade()
      await shows('1 [list/a shared] ok')
      await lock.unlock()
      await shows('0 [] ok')
      expect(countOf('watch')).to.equal(1)
      // A key must not contain a control character.
      await inPage('mount', 'root', 'sharedWatch', 'a\nb')
      await shows('unknown [] INVALID_KEY')
    })

    it('show the leader of an election and its value', async () => {
      await inPage('mount', 'root', 'leader', 'chair')
      await shows('leader undefined other')
      const leadership = await rival.campaign('chair', { value: 'a' })
      await shows('leader a other')
      await leadership.proclaim('b')
      await shows('leader b other')
      await leadership.resign()
      await shows('leader undefined other')
    })

    it('request no lock for a component that suspends before it is mounted', async () => {
      await inPage('mount', 'root', 'suspended', 'suspended')
      await shows('fallback')
      await untilLogged('opened page')
      expect(countOf('lock')).to.equal(0)
      await inPage('endSuspension')
      await shows('shown held')
      expect(historyOf('suspended')).to.deep.equal(['granted suspended'])
    })

    it('hydrate the page of a server, and then take the lock', async () => {
      const { renderOnServer } = await loadServerRenderer(version)
      const markup = renderOnServer(site.url, 'hydrated')
      expect(markup).to.include('idle ok by []')
      await inPage('hydrate', 'root', markup, 'auto', 'hydrated')
      await shows('held ok by [page]')
      expect(historyOf('hydrated')).to.deep.equal(['granted hydrated'])
    })

    it('show an error while no broker answers, and connect when a broker answers', async () => {
      const port = await freePort()
      await loadReactPage(`ws://127.0.0.1:${port}`)
      await inPage('mount', 'root', 'session')
      await shows('connecting no session UNAVAILABLE')
      const broker = createBroker({ dev: true })
      await broker.listen({ port })
      try {
        await shows('connected page true ok')
        await broker.close()
        await shows('disconnected page true UNAVAILABLE')
      } finally {
        await broker.close()
      }
    })
  })
}

// Without the link, Chromium would request an icon, and report its absence on the console.
const emptyHtml = `<!doctype html><title>empty</title><link rel="icon" href="data:,">`

const html = `<!doctype html><title>React</title><link rel="icon" href="data:,">
<script type="module" src="/page.js"></script>`
