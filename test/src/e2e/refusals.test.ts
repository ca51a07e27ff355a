/**
 * Tests the errors of a client whose upgrade to a WebSocket is refused. The error has the HTTP
 * status, the body of the response and a way to fix the problem. The client tries again, unless the
 * server would refuse again.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fixedInterval } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, nextEvent, Stage } from './stage.js'

describe('e2e: a refused upgrade', () => {
  const stage = Stage.forEachTest()

  /** Starts a server that refuses every upgrade with this HTTP response, and returns its URL. */
  async function startRefusing(httpResponse: string): Promise<string> {
    const server = await startServer(stage, 0)
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => {})
      socket.end(httpResponse)
    })
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  const response = (status: string, body: string, type = 'text/plain; charset=utf-8') =>
    `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

  const cases: [
    status: string,
    code: 'UNAUTHORIZED' | 'FORBIDDEN' | 'UNAVAILABLE',
    advice: string,
  ][] = [
    ['400 Bad Request', 'UNAVAILABLE', 'check that the URL'],
    ['401 Unauthorized', 'UNAUTHORIZED', 'give a token'],
    ['403 Forbidden', 'FORBIDDEN', 'origins'],
    ['404 Not Found', 'UNAVAILABLE', 'path of the URL'],
    ['418 I am a teapot', 'UNAVAILABLE', 'check that the URL'],
    ['426 Upgrade Required', 'UNAVAILABLE', 'pass on the upgrade'],
    ['429 Too Many Requests', 'UNAVAILABLE', 'again later'],
    ['431 Request Header Fields Too Large', 'UNAVAILABLE', 'headers are too large'],
    ['502 Bad Gateway', 'UNAVAILABLE', 'does not reach the broker'],
    ['503 Service Unavailable', 'UNAVAILABLE', 'again later'],
  ]
  for (const [status, code, advice] of cases) {
    it(`rejects with ${code} at ${status}, and shows the reason and a way to fix the problem`, async () => {
      const url = await startRefusing(response(status, 'This is why.\n'))
      const error = await expectRejection(stage.openSession(`${url}/?token=secret`), code)
      expect(error.message).to.contain(`HTTP ${status}: "This is why."`).and.contain(advice)
      expect(error.message).to.contain(url).and.not.contain('secret')
      expect(error.cause).to.have.property('status', Number(status.slice(0, 3)))
    })
  }

  it('shows no HTML page, no control characters and at most one line of the answer', async () => {
    const controlSequences = '\u001b[2J\u009b1m'
    // The last answer ends before the 99 bytes that its header announces.
    const answers = [
      response('503 Busy', '<html>page</html>', 'text/html'),
      response(`503 ${'x'.repeat(500)}`, `a${controlSequences}\r\nb${'c'.repeat(5_000)}`),
      'HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\ncut',
    ]
    for (const answer of answers) {
      const error = await expectRejection(
        stage.openSession(await startRefusing(answer)),
        'UNAVAILABLE',
      )
      expect(error.message)
        .to.contain('HTTP 503')
        .and.not.match(/\p{Cc}|<html>/u)
      // The second answer has a status of 500 letters and a body of 5,000: the client cuts them.
      expect(error.message.length).to.be.lessThan(650)
    }
  })

  it('names the target of a redirect without its secrets', async () => {
    const url = await startRefusing(
      'HTTP/1.1 301 Moved\r\nLocation: wss://user:secret@locks.test/?secret\r\nContent-Length: 0\r\n\r\n',
    )
    const error = await expectRejection(stage.openSession(url), 'UNAVAILABLE')
    expect(error.message).to.contain('connect to wss://***@locks.test/?***')
  })

  it('closes a reconnecting session at 401, but not at 503, where the client tries again', async () => {
    // Without a code, the session must stay open.
    for (const [status, code] of [
      ['401 Unauthorized', 'UNAUTHORIZED'],
      ['503 Service Unavailable', undefined],
    ] as const) {
      const { broker, url, port } = await stage.startBroker()
      const reconnect = fixedInterval({ interval: 1 })
      const session = await stage.openSession(url, { reconnect })
      const closed = nextEvent(session, 'closed')
      await broker.close()
      const server = await startServer(stage, port)
      let refusals = 0
      const refused = new Promise<void>((resolve) => {
        server.on('upgrade', (_, socket) => {
          socket.on('error', () => {})
          socket.end(response(status, ''))
          // Three refusals show that the client tries again.
          if (++refusals === 3) resolve()
        })
      })
      if (code === undefined) {
        await refused
        expect(session.state).to.equal('disconnected')
      } else {
        const error = await closed
        expect([error?.code, refusals]).to.deep.equal([code, 1])
      }
    }
  })
})

/** Starts an HTTP server, which is closed after the test. */
async function startServer(stage: Stage, port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  stage.onCleanUp(() => {
    server.closeAllConnections()
    server.close()
  })
  return server
}
