/**
 * Tests a client whose open WebSocket throws from `send`. The package `ws` throws like this if a
 * bundler has replaced the optional package `bufferutil` by a stub. The messages are lost, so the
 * client drops the connection.
 */
import { connectIn, type WebSocketConstructor } from '@holdfast/client/internal'
import type { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  makeClientFakes,
  untilTurnEnds,
  url,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'
import { ScriptedSocket } from '../support/scriptedSocket.js'

/** The error that `ws` throws when `bufferutil` is a stub. */
const failure = new TypeError('bufferUtil.mask is not a function')

/** Makes fakes whose sockets throw when they send a text of more than `maxUnits` UTF-16 units. */
function makeFailingFakes(maxUnits: number) {
  const fakes = makeClientFakes()
  const sockets: ScriptedSocket[] = []
  const WebSocket: WebSocketConstructor = class extends ScriptedSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(url, protocols)
      sockets.push(this)
    }

    override send(data: string): void {
      if (data.length > maxUnits) throw failure
      super.send(data)
    }
  }
  return { ...fakes, environment: { ...fakes.environment, WebSocket }, sockets }
}

describe('a client whose WebSocket throws from send', () => {
  it('fails the connection when send throws at hello', async () => {
    const { environment, sockets, clock } = makeFailingFakes(0)
    const connecting = connectIn(url, {}, environment).catch((error) => error)
    await untilTurnEnds()
    sockets[0]!.accept()
    const error = (await connecting) as HoldfastError
    expect([error.code, error.cause]).to.deep.equal(['UNAVAILABLE', failure])
    expect(error.message).to.contain(failure.message)
    expect([sockets[0]!.closedByClient, clock.timerCount]).to.deep.equal([true, 0])
  })

  it('fails the connection when send throws at a request, with that error as the cause', async () => {
    // The hello has fewer than 50 characters, and the request below has more.
    const { environment, sockets } = makeFailingFakes(50)
    const connecting = connectIn(url, { reconnect: false }, environment)
    await untilTurnEnds()
    sockets[0]!.accept()
    sockets[0]!.deliver(welcome())
    const session = await connecting
    const requesting = session.lock('x'.repeat(50)).catch((error) => error)
    await untilTurnEnds()
    const error = (await requesting) as HoldfastError
    expect([error.code, error.cause]).to.deep.equal(['UNAVAILABLE', failure])
    expect([session.state, sockets[0]!.closedByClient]).to.deep.equal(['closed', true])
  })

  it('reconnects and repeats the request, and gives up when send throws each time', async () => {
    // Only the frame with both requests below has more than 200 characters.
    const { environment, sockets, clock } = makeFailingFakes(200)
    const connecting = connectIn(url, { reconnect: [0, 0, 0, 0], grace: 'lease' }, environment)
    await untilTurnEnds()
    sockets[0]!.accept()
    sockets[0]!.deliver(welcomeWithGrace())
    const session = await connecting
    const short = session.lock('short').catch((error) => error)
    const long = session.lock('x'.repeat(200)).catch((error) => error)
    await untilTurnEnds()
    // The client gives up after three connections in a row that failed at the request. The first
    // connection has failed above.
    for (let i = 1; i < 3; i++) {
      clock.advance(0)
      sockets[i]!.accept()
      sockets[i]!.deliver(welcomeWithGrace({ resumed: true }), {
        type: 'snapshot',
        held: [],
        waiting: [],
        more: false,
      })
      await untilTurnEnds()
    }
    for (const requesting of [short, long]) {
      const error = (await requesting) as HoldfastError
      expect([error.code, error.cause]).to.deep.equal(['UNAVAILABLE', failure])
    }
    expect([session.state, sockets.length, clock.timerCount]).to.deep.equal(['closed', 3, 0])
  })

  it('ends the connection only once if a send fails while the user leaves the page', async () => {
    // The hello has fewer than 50 characters, and the watch below has more.
    const { environment, sockets } = makeFailingFakes(50)
    let leave = () => {}
    const page = {
      origin: 'http://page.test',
      watch: (watcher: { onLeave(): void }) => {
        leave = () => watcher.onLeave()
        return () => {}
      },
    }
    const connecting = connectIn(url, {}, { ...environment, page })
    await untilTurnEnds()
    sockets[0]!.accept()
    sockets[0]!.deliver(welcome())
    const session = await connecting
    session.watch('x'.repeat(50), () => {})
    // When the user leaves the page, the client immediately sends the watch and a `bye`.
    leave()
    await untilTurnEnds()
    // The client would take a second end for a failed try to connect.
    expect([session.state, sockets.length]).to.deep.equal(['disconnected', 1])
  })
})
