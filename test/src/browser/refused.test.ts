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
  readonly cause: string
}

/**
 * Tries to connect in a page, and returns the error or `'connected'`.
 *
 * @param client The path of the client's bundle on the site.
 */
function tryConnect(
  page: Page,
  client: string,
  url: string,
): Promise<ConnectFailure | 'connected'> {
  return page.evaluate(
    async ([client, url]) => {
      const { connect } = await import(client as string)
      try {
        const session = await connect(url)
        await session.close()
        return 'connected' as const
      } catch (error) {
        const { code, message, cause } = error as ConnectFailure & { cause?: { name?: string } }
        return { code, message, cause: `${cause?.name}` }
      }
    },
    [client, url] as const,
  )
}

describe('a refused page', function () {
  this.timeout(60_000)
  needs('chromium')
  const stage = Stage.forEachTest()
  let site: Site
  /**
   * A site whose broker allows only one origin: that of `site`, but with `localhost` as its host.
   * Pages of `site` have `127.0.0.1` as their host, so the broker refuses these pages. With `dev`
   * the broker would allow all pages of this machine.
   */
  let strictSite: Site
  const strictRefusals = new RefusalRecorder()
  let chromium: Chromium
  let page: Page

  before(async () => {
    site = await openSite()
    strictSite = await openSite({
      dev: false,
      observer: strictRefusals,
      origins: [site.origin.replace('127.0.0.1', 'localhost')],
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
    const listed = await openPage(
      chromium.context,
      `${site.origin.replace('127.0.0.1', 'localhost')}/page.html`,
    )
    expect(await tryConnect(listed, '/holdfast.js', strictSite.url)).to.equal('connected')
    await listed.close()
  })

  it('cannot connect under another host name of the broker, unless the name is in hosts', async () => {
    // This browser resolves another host name to the broker, as in an attack by DNS rebinding.
    const rebinding = await openChromium('--host-resolver-rules=MAP rebound.test 127.0.0.1')
    stage.onClear(() => rebinding.close())
    const rebound = (url: string) => url.replace('127.0.0.1', 'rebound.test')
    const origins = [rebound(site.origin)]
    const refusals = new RefusalRecorder()
    const withoutHosts = await stage.broker({ origins, observer: refusals })
    const withHosts = await stage.broker({ origins, hosts: ['rebound.test'] })
    const reboundPage = await openPage(rebinding.context, rebound(`${site.origin}/page.html`))
    const url = rebound(withoutHosts.url)
    const failure = (await tryConnect(reboundPage, '/holdfast.js', url)) as ConnectFailure
    expect(failure.code).to.equal('UNAVAILABLE')
    expect(refusals.causes).to.deep.equal(['host'])
    const outcome = await tryConnect(reboundPage, '/holdfast.js', rebound(withHosts.url))
    expect(outcome).to.equal('connected')
  })

  it('gets an error that suggests wss:// if its own address begins with https://', async () => {
    const script = await (await fetch(`${site.origin}/holdfast.js`)).text()
    await chromium.context.route('https://app.test/**', (route) =>
      route.fulfill(
        route.request().url().endsWith('.js')
          ? { contentType: 'text/javascript', body: script }
          : { contentType: 'text/html', body: '<!doctype html><title>secure</title>' },
      ),
    )
    const secure = await openPage(chromium.context, 'https://app.test/')
    const failure = (await tryConnect(
      secure,
      '/holdfast.js',
      'ws://broker.test/',
    )) as ConnectFailure
    expect(failure).to.include({ code: 'INVALID_OPTION', cause: 'SecurityError' })
    expect(failure.message).to.include('https://app.test').and.include('wss://')
    await secure.close()
  })

  it('gets an error with the allowed schemes for an invalid URL', async () => {
    for (const url of ['http://127.0.0.1/', '//127.0.0.1', '/locks', '', 'javascript:alert(1)']) {
      const failure = (await tryConnect(page, '/holdfast.js', url)) as ConnectFailure
      expect(failure.code, url).to.equal('INVALID_OPTION')
      expect(failure.message, url).to.include('ws://')
    }
  })
})
