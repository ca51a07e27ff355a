/**
 * Tests many small frames of hostile clients over real sockets. The broker reads only a few frames
 * in one turn of its event loop. Therefore the broker handles the request of a bystander (a
 * well-behaved client) between these frames.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Connection, costs, turnBudget } from '@holdfast/server/internal'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { openWire, type Wire } from '../bench/load/wire.js'
import { RawClient } from './raw.js'
import { Stage } from './stage.js'

/** The number of hostile clients. */
const hostileClients = 100
/**
 * The number of frames of each hostile client in the test of pongs: one pong in each frame. The
 * broker needs several reads of the socket, 64 KiB each, for the frames of one client.
 */
const pongFrames = 2_500
/** The number of frames of each hostile client in the test of WebSocket pings. */
const pings = 600
/**
 * The most frames in one turn that this test accepts: twice the limit of the broker. The limit is
 * the work budget of a turn, and beyond it a guaranteed minimum for each connection.
 */
const maxPerTurn = (2 * (turnBudget.all + hostileClients * turnBudget.minimum)) / costs.message

/**
 * Counts the frames that the brokers of this process receive. The counter replaces two methods of
 * `Connection`, the class of a connection in the broker.
 */
class FrameCounter {
  readonly #original = methodsOf(Connection.prototype)
  #countInTurn = 0
  #hasEnded = false
  /** The number of frames since `begin`. */
  total = 0
  /** The largest number of frames in one turn of the event loop. */
  max = 0

  /** Starts to count. */
  begin(): void {
    const count = (): void => {
      this.total++
      this.max = Math.max(this.max, ++this.#countInTurn)
    }
    const { onFrame, onControlFrame } = this.#original
    Connection.prototype.onFrame = function (this: Connection, text) {
      count()
      onFrame.call(this, text)
    }
    Connection.prototype.onControlFrame = function (this: Connection) {
      count()
      onControlFrame.call(this)
    }
    const beginTurn = (): void => {
      this.#countInTurn = 0
      if (!this.#hasEnded) setImmediate(beginTurn)
    }
    beginTurn()
  }

  /** Stops counting, and restores the methods. */
  end(): void {
    this.#hasEnded = true
    Object.assign(Connection.prototype, this.#original)
  }
}

/** The two methods that the counter replaces. */
function methodsOf({ onFrame, onControlFrame }: Connection) {
  return { onFrame, onControlFrame }
}

describe('e2e: many small frames', function () {
  this.timeout(60_000)
  const stage = Stage.forEachTest()

  /** Opens the connection of a hostile client, and resolves after its welcome. */
  async function openHostile(url: string): Promise<Wire> {
    const wire = await openWire(url, subprotocol)
    stage.onCleanUp(() => wire.destroy())
    const welcomed = new Promise<void>((resolve) => {
      wire.listen({ onText: () => resolve(), onTurn: () => {}, onClose: () => {} })
    })
    // The broker ends a session that is silent for longer than its lease. This lease is so long
    // that the hostile client need not answer pings.
    wire.send('{"type":"hello","name":"hostile","lease":300000}')
    await welcomed
    wire.listen({ onText: () => {}, onTurn: () => {}, onClose: () => {} })
    return wire
  }

  const kinds: readonly (readonly [title: string, frames: number, send: (wire: Wire) => void])[] = [
    [
      'frames of one pong',
      pongFrames,
      (wire) => wire.sendSingly('{"type":"pong","n":1}', pongFrames),
    ],
    ['WebSocket pings', pings, (wire) => wire.sendPings(pings)],
  ]
  for (const [title, frames, send] of kinds) {
    it(`do not delay a bystander: ${title}`, async () => {
      const { url } = await stage.startBroker()
      const wires = await Promise.all(
        Array.from({ length: hostileClients }, () => openHostile(url)),
      )
      const bystander = await RawClient.open(url)
      const counter = new FrameCounter()
      stage.onCleanUp(() => counter.end())
      counter.begin()
      for (const wire of wires) send(wire)
      bystander.send({ type: 'lock', id: 1, key: 'free' })
      await bystander.receive('granted')
      const sentFrames = hostileClients * frames
      // The hostile clients sent their frames first, so the broker reads at least one frame of each
      // of them before the grant. By then, the broker must not have read half of all frames.
      expect(counter.total, 'frames before the grant').to.be.within(hostileClients, sentFrames / 2)
      while (counter.total < sentFrames) await turn()
      expect(counter.max, 'frames in one turn').to.be.below(maxPerTurn)
    })
  }
})

describe('e2e: WebSocket pings', () => {
  const stage = Stage.forEachTest()

  it('are answered in order by far fewer pongs, and the newest ping is answered', async () => {
    const { url } = await stage.startBroker()
    const client = await RawClient.open(url)
    const pingCount = 300
    const pongs: string[] = []
    const last = new Promise<void>((resolve) => {
      client.socket.on('pong', (data) => {
        pongs.push(String(data))
        if (Number(String(data)) === pingCount - 1) resolve()
      })
    })
    for (let i = 0; i < pingCount; i++) client.socket.ping(String(i))
    await last
    // The pings arrive in a few turns, and the broker answers only the newest ping of each turn.
    expect(pongs).to.have.length.below(100)
    const numbers = pongs.map(Number)
    expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b))
    client.drop()
  })
})
