/**
 * Tests how a client opens a session: hello and welcome, lists of brokers, and servers that are not
 * brokers. The lease is how long the broker keeps a silent session. The grace is how long the
 * broker keeps a session without a connection.
 */
import { getEventListeners } from 'node:events'
import { connect, fixedInterval } from '@holdfast/client'
import { connectIn } from '@holdfast/client/internal'
import type { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  errorCodeOf,
  makeClientFakes,
  openScriptedSession,
  reconnect,
  untilTurnEnds,
  url,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

describe('connect', () => {
  it('offers the subprotocol and sends hello with the options', async () => {
    const fakes = makeClientFakes()
    const options = { token: 't', name: 'n', lease: 4_000, grace: 'lease' } as const
    const secureUrl = url.replace('ws:', 'wss:')
    const connecting = connectIn(secureUrl, options, fakes.environment)
    await untilTurnEnds()
    expect(fakes.network.lastSocket.url).to.equal(secureUrl)
    expect(fakes.network.lastSocket.offeredProtocols).to.equal('holdfast.v1')
    fakes.network.lastSocket.accept()
    expect(fakes.network.lastSocket.newMessages()).to.deep.equal([{ type: 'hello', ...options }])
    fakes.network.lastSocket.deliver(
      welcome({ session: 'x', lease: 5_000, grace: 5_000, secret: 's' }),
    )
    const session = await connecting
    expect([session.id, session.lease, session.grace]).to.deep.equal(['x', 5_000, 5_000])
    expect([session.name, session.state]).to.deep.equal(['n', 'connected'])
  })

  it('tries each broker of a list once, then rejects with UNAVAILABLE and a cause', async () => {
    const { environment, network } = makeClientFakes()
    const { signal } = new AbortController()
    const connecting = connectIn(['ws://a.test', 'ws://b.test'], { signal }, environment)
    const caught = connecting.catch((error: HoldfastError) => error)
    await untilTurnEnds()
    network.lastSocket.fail(new Error('refused'))
    await untilTurnEnds()
    expect(network.sockets.map((socket) => socket.url)).to.deep.equal([
      'ws://a.test',
      'ws://b.test',
    ])
    network.lastSocket.fail(new Error('refused too'))
    const error = (await caught) as HoldfastError
    expect(error.code).to.equal('UNAVAILABLE')
    expect(error.message).to.contain('ws://b.test').and.contain('refused too')
    expect(error.cause).to.be.an('error')
    expect(getEventListeners(signal, 'abort')).to.have.length(0)
    expect(network.sockets.length).to.equal(2)
  })

  it('uses the second broker of a list when the first broker closes the connection', async () => {
    const { environment, network } = makeClientFakes()
    const connecting = connectIn(['ws://a.test', 'ws://b.test'], {}, environment)
    await untilTurnEnds()
    network.lastSocket.end(1013)
    await untilTurnEnds()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome())
    expect((await connecting).state).to.equal('connected')
  })

  it('rejects at a close code that forbids another try, and tries no other broker', async () => {
    const codes: [number, string][] = [
      [4401, 'UNAUTHORIZED'],
      [4403, 'FORBIDDEN'],
      [4429, 'QUOTA_EXCEEDED'],
      [4400, 'BAD_MESSAGE'],
      [1007, 'BAD_MESSAGE'],
      [1009, 'BAD_MESSAGE'],
      // The broker requires another subprotocol.
      [4406, 'UNAVAILABLE'],
      // The client does not know this code. Unknown codes from 4400 to 4499 are final.
      [4499, 'UNAVAILABLE'],
    ]
    for (const [code, expected] of codes) {
      const { environment, network, clock } = makeClientFakes()
      const outcome = errorCodeOf(connectIn(['ws://a.test', 'ws://b.test'], {}, environment))
      await untilTurnEnds()
      network.lastSocket.accept()
      network.lastSocket.end(code)
      expect(await outcome, String(code)).to.equal(expected)
      expect(network.sockets.length).to.equal(1)
      expect(clock.timerCount).to.equal(0)
    }
  })

  it('rejects with UNAVAILABLE when a server does not answer as a broker does', async () => {
    const answers: ((scene: ReturnType<typeof makeClientFakes>) => void)[] = [
      // The server accepts the connection without a subprotocol, or with another subprotocol.
      ({ network }) => network.lastSocket.accept(''),
      ({ network }) => network.lastSocket.accept('chat'),
      ({ network }) => {
        network.lastSocket.accept()
        network.lastSocket.deliverData('hello!')
      },
      ({ network }) => {
        network.lastSocket.accept()
        network.lastSocket.deliverData(new ArrayBuffer(3))
      },
      ({ network }) => {
        network.lastSocket.accept()
        network.lastSocket.deliver({ type: 'welcome', session: 's1', lease: 'long' })
      },
      ({ network, clock }) => {
        // The server sends nothing until the client gives up.
        network.lastSocket.accept()
        clock.advance(10_000)
      },
      // The server does not even accept the connection.
      ({ clock }) => clock.advance(10_000),
    ]
    for (const answer of answers) {
      const fakes = makeClientFakes()
      const outcome = connectIn(url, {}, fakes.environment).catch((error: HoldfastError) => error)
      await untilTurnEnds()
      answer(fakes)
      const error = (await outcome) as HoldfastError
      expect(error.code).to.equal('UNAVAILABLE')
      expect(error.message).to.contain(`no Holdfast broker answered at ${url}`)
      expect(fakes.network.lastSocket.closedByClient).to.equal(true)
      expect(fakes.clock.timerCount).to.equal(0)
    }
  })

  it('can be aborted before and during an attempt to connect', async () => {
    const { environment, network, clock } = makeClientFakes()
    const early = connectIn(url, { signal: AbortSignal.abort('why') }, environment)
    const error = (await early.catch((reason: HoldfastError) => reason)) as HoldfastError
    expect([error.code, error.cause]).to.deep.equal(['ABORTED', 'why'])
    expect(network.sockets.length).to.equal(0)

    const controller = new AbortController()
    const abortedConnect = errorCodeOf(connectIn(url, { signal: controller.signal }, environment))
    await untilTurnEnds()
    controller.abort()
    expect(await abortedConnect).to.equal('ABORTED')
    expect(network.lastSocket.closedByClient).to.equal(true)
    expect(clock.timerCount).to.equal(0)
  })

  it('is not undone by a later abort', async () => {
    const controller = new AbortController()
    const { session } = await openScriptedSession({ signal: controller.signal })
    controller.abort()
    await untilTurnEnds()
    expect(session.state).to.equal('connected')
  })

  it('rejects invalid arguments with INVALID_OPTION', async () => {
    const invalidCalls: [unknown, object][] = [
      ['', {}],
      ['http://127.0.0.1:7420', {}],
      ['127.0.0.1:7420', {}],
      ['ws://broker/#here', {}],
      [7420, {}],
      [[], {}],
      [url, { token: '' }],
      // A token has at most 3,072 characters, a hello 4,096 bytes, and a name 256 characters. Each
      // `€` has 3 bytes.
      [url, { token: 'x'.repeat(3_073) }],
      [url, { token: '€'.repeat(3_000) }],
      [url, { name: 'x'.repeat(257) }],
      [url, { name: '\ud800' }],
      [url, { lease: 0 }],
      [url, { lease: 1.5 }],
      [url, { lease: '15s' }],
      [url, { grace: -1 }],
      [url, { grace: 'all' }],
      [url, { signal: {} }],
      [url, { reconnect: true }],
      [url, { WebSocket: {} }],
      [url, null as unknown as object],
    ]
    for (const [target, options] of invalidCalls) {
      const outcome = errorCodeOf(connect(target as string, options))
      expect(await outcome, JSON.stringify([target, options])).to.equal('INVALID_OPTION')
    }
  })

  it('accepts a WebSocket class and a retry strategy as options, and uses this class', async () => {
    const { environment } = makeClientFakes()
    const otherFakes = makeClientFakes()
    const options = {
      WebSocket: otherFakes.network.WebSocket,
      reconnect: fixedInterval({ interval: 1 }),
    }
    const connecting = connectIn(url, options, environment)
    await untilTurnEnds()
    otherFakes.network.lastSocket.accept()
    otherFakes.network.lastSocket.deliver(welcome())
    expect((await connecting).state).to.equal('connected')
  })

  it('rejects with UNAVAILABLE when the WebSocket constructor throws', async () => {
    const { environment } = makeClientFakes()
    const WebSocket = class {
      constructor() {
        throw new SyntaxError('no')
      }
    }
    const options = { WebSocket: WebSocket as unknown as typeof environment.WebSocket }
    expect(await errorCodeOf(connectIn(url, options, environment))).to.equal('UNAVAILABLE')
  })

  it('returns a session whose ref and unref apply to the present and the next connection', async () => {
    const scene = await openScriptedSession({ unref: true, grace: 'lease' }, welcomeWithGrace())
    const calls: string[] = []
    const callRecorder = { ref: () => calls.push('ref'), unref: () => calls.push('unref') }
    Object.assign(scene.socket, callRecorder)
    scene.session.ref().unref()
    expect(calls.splice(0)).to.deep.equal(['ref', 'unref'])
    await reconnect(scene)
    Object.assign(scene.socket, callRecorder)
    scene.session.ref()
    expect(calls).to.deep.equal(['ref'])
  })
})
