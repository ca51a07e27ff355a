/**
 * Tests clients that connect through a real proxy. An option or environment variables name the
 * proxy.
 */
import { expect } from 'chai'
import { makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { needs } from '../support/needs.js'
import { connectProxy } from './connectProxy.js'
import { expectRejection, Stage } from './stage.js'

const upperCaseNames = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY']
const variableNames = [...upperCaseNames, ...upperCaseNames.map((name) => name.toLowerCase())]

describe('e2e: a proxy', () => {
  const stage = Stage.forEachTest()
  const savedVariables = variableNames.map((name) => [name, process.env[name]] as const)

  beforeEach(() => {
    for (const name of variableNames) delete process.env[name]
  })

  after(() => {
    for (const [name, value] of savedVariables) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  /**
   * A broker with a second URL, `outerUrl`. The environment variables apply to this URL, because
   * its host 0.0.0.0 is no loopback name. The option `hosts` allows this name in requests.
   */
  async function brokerBeyondLoopback() {
    const { url, port } = await stage.startBroker({ hosts: ['0.0.0.0'] })
    return { url, port, outerUrl: url.replace('127.0.0.1', '0.0.0.0') }
  }

  it('is used for a loopback URL only if an option of the client names it', async () => {
    const { url, port } = await stage.startBroker()
    const proxy = await connectProxy(stage)
    process.env['HTTP_PROXY'] = proxy.url
    await stage.openSession(url)
    await stage.openSession(url.replace('127.0.0.1', 'localhost'))
    expect(proxy.requestedTunnels).to.deep.equal([])
    const session = await stage.openSession(url, { proxy: proxy.url })
    expect((await session.lock('k')).held).to.equal(true)
    expect(proxy.requestedTunnels).to.deep.equal([`127.0.0.1:${port}`])
  })

  it('is set by variables in upper or lower case, unless NO_PROXY or proxy: false forbids it', async () => {
    const { outerUrl, port } = await brokerBeyondLoopback()
    const proxy = await connectProxy(stage)
    const options = { reconnect: false } as const
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy']) {
      process.env[name] = proxy.url
      await stage.openSession(outerUrl, options)
      expect(proxy.requestedTunnels, name).to.deep.equal([`0.0.0.0:${port}`])
      // Empties the list of the proxy. The connections below must not add a request.
      ;(proxy.requestedTunnels as string[]).length = 0
      await stage.openSession(outerUrl, { ...options, proxy: false })
      for (const exception of ['NO_PROXY', 'no_proxy']) {
        process.env[exception] = 'x.test,0.0.0.0'
        await stage.openSession(outerUrl, options)
        delete process.env[exception]
      }
      expect(proxy.requestedTunnels, name).to.deep.equal([])
      delete process.env[name]
    }
    // This variable is for wss://, and the URL of the broker begins with ws://.
    process.env['HTTPS_PROXY'] = proxy.url
    await stage.openSession(outerUrl, options)
    expect(proxy.requestedTunnels).to.deep.equal([])
  })

  it('gets the user name and password of its URL, and no error shows the password', async () => {
    const { url } = await stage.startBroker()
    const acceptingProxy = await connectProxy(stage)
    await stage.openSession(url, { proxy: acceptingProxy.url.replace('//', '//user:p%40ss@') })
    const basic = Buffer.from('user:p@ss').toString('base64')
    expect(acceptingProxy.credentials).to.deep.equal([`Basic ${basic}`])

    const refusal = 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n'
    const refusingProxy = await connectProxy(stage, { refusal })
    const proxy = refusingProxy.url.replace('//', '//user:secret@')
    const error = await expectRejection(stage.openSession(url, { proxy }), 'UNAVAILABLE')
    expect(error.message).to.contain('the proxy refused').and.contain('HTTP 407')
    expect(error.message).to.contain('user name and password').and.not.contain('secret')
  })

  it('is blamed in the error, with its HTTP status, if it refuses', async () => {
    const { url } = await stage.startBroker()
    const refusal = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'
    const proxy = await connectProxy(stage, { refusal })
    const error = await expectRejection(stage.openSession(url, { proxy: proxy.url }), 'UNAVAILABLE')
    expect(error.message).to.contain('the proxy refused with HTTP 403 Forbidden')
  })

  it('is named in the error if it is unreachable, or if a variable names an unsupported proxy; the option refuses such a URL and other invalid values', async () => {
    const { url } = await stage.startBroker()
    const unreachable = await expectRejection(
      stage.openSession(url, { proxy: 'http://user:secret@127.0.0.1:1' }),
      'UNAVAILABLE',
    )
    expect(unreachable.message).to.contain('through the proxy http://***@127.0.0.1:1')
    expect(unreachable.message).to.not.contain('secret')
    process.env['ALL_PROXY'] = 'socks5://user:secret@127.0.0.1:1'
    const { outerUrl } = await brokerBeyondLoopback()
    const unusable = await expectRejection(stage.openSession(outerUrl), 'UNAVAILABLE')
    expect(unusable.message).to.contain('socks5://***@127.0.0.1:1 is not an http://')
    for (const proxy of ['socks5://user:secret@host', 'host:80', 7, true]) {
      const options = { proxy } as unknown as { proxy: string }
      const refused = await expectRejection(stage.openSession(url, options), 'INVALID_OPTION')
      expect(refused.message).to.contain('proxy must').and.not.contain('secret')
    }
  })

  it('does not delay an abort of connecting if it never answers', async () => {
    const { url } = await stage.startBroker()
    const proxy = await connectProxy(stage, { silent: true })
    const controller = new AbortController()
    const connecting = expectRejection(
      stage.openSession(url, { proxy: proxy.url, signal: controller.signal }),
      'ABORTED',
    )
    controller.abort()
    await connecting
  })

  describe('before a broker with TLS', () => {
    needs('openssl')

    it('leaves the check of the certificate to the client, which needs the option ca', async () => {
      const { cert, key } = makeCertificate(makeScratchFolder(stage))
      const { url, port } = await stage.startBroker({ tls: { cert, key } })
      const proxy = await connectProxy(stage)
      const session = await stage.openSession(url, { proxy: proxy.url, ca: cert })
      expect((await session.lock('k')).held).to.equal(true)
      expect(proxy.requestedTunnels).to.deep.equal([`127.0.0.1:${port}`])
      await expectRejection(stage.openSession(url, { proxy: proxy.url }), 'UNAVAILABLE')
    })
  })
})
