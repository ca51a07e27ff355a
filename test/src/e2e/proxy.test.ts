/** Connecting through a real proxy, set by the option or by environment variables. */
import { expect } from 'chai'
import { certificate } from '../ops/certificate.js'
import { scratch } from '../ops/scratch.js'
import { needs } from '../support/needs.js'
import { connectProxy } from './connectProxy.js'
import { rejection, Stage } from './stage.js'

const names = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY']
const variables = [...names, ...names.map((name) => name.toLowerCase())]

describe('e2e: a proxy', () => {
  const stage = Stage.forEachTest()
  const before = variables.map((name) => [name, process.env[name]] as const)

  beforeEach(() => {
    for (const name of variables) delete process.env[name]
  })

  after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  /** A broker with a name that is not of loopback, and a proxy that leads to it. */
  async function namedBroker() {
    const { url, port } = await stage.broker({ hosts: ['0.0.0.0'] })
    return { url, port, named: url.replace('127.0.0.1', '0.0.0.0') }
  }

  it('is used for this machine only if the option names it', async () => {
    const { url, port } = await stage.broker()
    const proxy = await connectProxy(stage)
    process.env['HTTP_PROXY'] = proxy.url
    await stage.session(url)
    await stage.session(url.replace('127.0.0.1', 'localhost'))
    expect(proxy.requested).to.deep.equal([])
    const session = await stage.session(url, { proxy: proxy.url })
    expect((await session.lock('k')).held).to.equal(true)
    expect(proxy.requested).to.deep.equal([`127.0.0.1:${port}`])
  })

  it('is set by variables in either case, unless NO_PROXY or false forbids it', async () => {
    const { named, port } = await namedBroker()
    const proxy = await connectProxy(stage)
    const options = { reconnect: false } as const
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy']) {
      process.env[name] = proxy.url
      await stage.session(named, options)
      expect(proxy.requested, name).to.deep.equal([`0.0.0.0:${port}`])
      ;(proxy.requested as string[]).length = 0
      await stage.session(named, { ...options, proxy: false })
      for (const no of ['NO_PROXY', 'no_proxy']) {
        process.env[no] = 'x.test,0.0.0.0'
        await stage.session(named, options)
        delete process.env[no]
      }
      expect(proxy.requested, name).to.deep.equal([])
      delete process.env[name]
    }
    process.env['HTTPS_PROXY'] = proxy.url
    await stage.session(named, options)
    expect(proxy.requested).to.deep.equal([])
  })

  it('gets its user name and password, and no error shows them', async () => {
    const { url } = await stage.broker()
    const good = await connectProxy(stage)
    await stage.session(url, { proxy: good.url.replace('//', '//user:p%40ss@') })
    const basic = Buffer.from('user:p@ss').toString('base64')
    expect(good.credentials).to.deep.equal([`Basic ${basic}`])

    const answer = 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n'
    const bad = await connectProxy(stage, { answer })
    const proxy = bad.url.replace('//', '//user:secret@')
    const error = await rejection(stage.session(url, { proxy }), 'UNAVAILABLE')
    expect(error.message).to.contain('the proxy refused').and.contain('HTTP 407')
    expect(error.message).to.contain('user name and password').and.not.contain('secret')
  })

  it('is named in the error if it refuses', async () => {
    const { url } = await stage.broker()
    const answer = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'
    const proxy = await connectProxy(stage, { answer })
    const error = await rejection(stage.session(url, { proxy: proxy.url }), 'UNAVAILABLE')
    expect(error.message).to.contain('the proxy refused it with HTTP 403 Forbidden')
  })

  it('is named in the error if it is unreachable or of an unsupported kind', async () => {
    const { url } = await stage.broker()
    const gone = await rejection(
      stage.session(url, { proxy: 'http://user:secret@127.0.0.1:1' }),
      'UNAVAILABLE',
    )
    expect(gone.message).to.contain('through the proxy http://***@127.0.0.1:1')
    expect(gone.message).to.not.contain('secret')
    process.env['ALL_PROXY'] = 'socks5://user:secret@127.0.0.1:1'
    const { named } = await namedBroker()
    const unusable = await rejection(stage.session(named), 'UNAVAILABLE')
    expect(unusable.message).to.contain('socks5://***@127.0.0.1:1 is not an http://')
    for (const proxy of ['socks5://user:secret@host', 'host:80', 7, true]) {
      const options = { proxy } as unknown as { proxy: string }
      const refused = await rejection(stage.session(url, options), 'INVALID_OPTION')
      expect(refused.message).to.contain('proxy must').and.not.contain('secret')
    }
  })

  it('does not block when it never answers and connecting is aborted', async () => {
    const { url } = await stage.broker()
    const proxy = await connectProxy(stage, { silent: true })
    const controller = new AbortController()
    const connecting = rejection(
      stage.session(url, { proxy: proxy.url, signal: controller.signal }),
      'ABORTED',
    )
    controller.abort()
    await connecting
  })

  describe('with TLS', () => {
    needs('openssl')

    it('leads to a broker whose certificate is checked against ca', async () => {
      const { cert, key } = certificate(scratch(stage))
      const { url, port } = await stage.broker({ tls: { cert, key } })
      const proxy = await connectProxy(stage)
      const session = await stage.session(url, { proxy: proxy.url, ca: cert })
      expect((await session.lock('k')).held).to.equal(true)
      expect(proxy.requested).to.deep.equal([`127.0.0.1:${port}`])
      await rejection(stage.session(url, { proxy: proxy.url }), 'UNAVAILABLE')
    })
  })
})
