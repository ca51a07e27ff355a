/**
 * Tests the errors that a page gets when the browser or the broker refuses its connection. The
 * reasons are the origin of the page, the broker's host name, mixed content, or an invalid URL.
 */
import type { ErrorCode } from '@holdfast/client'
import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { Stage } from '../e2e/stage.js'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { needs } from '../support/needs.js'
import { type Chromium, openChromium, openPage } from './chromium.js'
import { openContext } from './sharedChromium.js'
import { openSite, type Site } from './site.js'

interface ConnectFailure {
  readonly code: ErrorCode
  readonly message: string
  readonly causeName: string
}

/**
 * Tries to connect in a page, and returns the error or `'connected'`.
 *
 * @param bundlePath The path of the client's bundle on the site.
 */
function tryConnect(
  page: Page,
  bundlePath: string,
  url: string,
): Promise<ConnectFailure | 'connected'> {
  return page.evaluate(
    async ([bundlePath, url]) => {
      const { connect } = await import(bundlePath as string)
      try {
        const session = await connect(url)
        await session.close()
        return 'connected' as const
      } catch (error) {
        const { code, message, cause } = error as ConnectFailure & { cause?: { name?: string } }
        return { code, message, causeName: `${cause?.name}` }
      }
    },
    [bundlePath, url] as const,
  )
}

describe('a refused page', function () {
  this.timeout(60_000)
  needs('chromium')
  const stage = Stage.forEachTest()
  let site: Site
  /**
   * A site whose broker refuses the pages of `site`, unless they are opened with the host
   * `localhost` instead of `127.0.0.1`. With `dev`, the broker would allow both hosts.
   */
  let strictSite: Site
  const strictRefusals = new RefusalRecorder()
  let chromium: Chromium
  let page: Page

  before(async () => {
    site = await openSite()
    strictSite = await openSite({
      brokerOptions: {
        dev: false,
        observer: strictRefusals,
        origins: [site.origin.replace('127.0.0.1', 'localhost')],
      },
    })
    chromium = await openContext()
    page = await openPage(chromium.context, `${site.origin}/page.html`)
  })

  after(async () => {
    await chromium?.close()
    await strictSite?.close()
    await site?.close()
  })

  it('gets an error that names its origin and the option `origins`', async () => {
    const failure = (await tryConnect(page, '/holdfast.js', strictSite.url)) as ConnectFailure
    expect(strictRefusals.all.map(({ cause, origin }) => [cause, origin])).to.deep.equal([
      ['origin', site.origin],
    ])
    expect(failure.code).to.equal('UNAVAILABLE')
    expect(failure.message).to.include(site.origin).and.include('origins').and.include('--origin')
  })

  it('can connect when `origins` has its origin', async () => {
    const localhostPage = await openPage(
      chromium.context,
      `${site.origin.replace('127.0.0.1', 'localhost')}/page.html`,
    )
    expect(await tryConnect(localhostPage, '/holdfast.js', strictSite.url)).to.equal('connected')
    await localhostPage.close()
  })

  it('cannot connect to another host name of the broker, unless `hosts` has the name', async () => {
    // This browser resolves another host name to the broker, as in an attack by DNS rebinding.
    const rebindingBrowser = await openChromium('--host-resolver-rules=MAP rebound.test 127.0.0.1')
    stage.onCleanUp(() => rebindingBrowser.close())
    const atReboundHost = (url: string) => url.replace('127.0.0.1', 'rebound.test')
    const origins = [atReboundHost(site.origin)]
    const refusals = new RefusalRecorder()
    const withoutHosts = await stage.startBroker({ origins, observer: refusals })
    const withHosts = await stage.startBroker({ origins, hosts: ['rebound.test'] })
    const reboundPage = await openPage(
      rebindingBrowser.context,
      atReboundHost(`${site.origin}/page.html`),
    )
    const url = atReboundHost(withoutHosts.url)
    const failure = (await tryConnect(reboundPage, '/holdfast.js', url)) as ConnectFailure
    expect(failure.code).to.equal('UNAVAILABLE')
    expect(refusals.causes).to.deep.equal(['host'])
    const outcome = await tryConnect(reboundPage, '/holdfast.js', atReboundHost(withHosts.url))
    expect(outcome).to.equal('connected')
  })

  it('that was loaded by https:// gets an error that suggests wss://', async () => {
    const script = await (await fetch(`${site.origin}/holdfast.js`)).text()
    await chromium.context.route('https://app.test/**', (route) =>
      route.fulfill(
        route.request().url().endsWith('.js')
          ? { contentType: 'text/javascript', body: script }
          : { contentType: 'text/html', body: '<!doctype html><title>secure</title>' },
      ),
    )
    const securePage = await openPage(chromium.context, 'https://app.test/')
    const failure = (await tryConnect(
      securePage,
      '/holdfast.js',
      'ws://broker.test/',
    )) as ConnectFailure
    expect(failure).to.include({ code: 'INVALID_OPTION', causeName: 'SecurityError' })
    expect(failure.message).to.include('https://app.test').and.include('wss://')
    await securePage.close()
  })

  it('gets an error with the allowed schemes for an invalid URL', async () => {
    for (const url of ['http://127.0.0.1/', '//127.0.0.1', '/locks', '', 'javascript:alert(1)']) {
      const failure = (await tryConnect(page, '/holdfast.js', url)) as ConnectFailure
      expect(failure.code, url).to.equal('INVALID_OPTION')
      expect(failure.message, url).to.include('ws://')
    }
  })
})
