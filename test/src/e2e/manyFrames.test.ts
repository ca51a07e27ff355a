/**
 * Many small frames over real sockets. The broker reads only a few frames in one turn of its event
 * loop, so it handles the request of a bystander between them.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Connection, costs, turnBudget } from '@holdfast/server/internal'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { openWire, type Wire } from '../bench/load/wire.js'
import { RawClient } from './raw.js'
import { Stage } from './stage.js'

const hostiles = 100
/** Together larger than the 64 KiB of one socket read. */
const tinyFrames = 2_500
const pings = 600
/**
 * Twice the number of frames that the budget of one turn and the least shares of all connections
 * allow.
 */
const maxPerTurn = (2 * (turnBudget.all + hostiles * turnBudget.minimum)) / costs.message

/** Counts the frames that arrive at the brokers of this process. */
class FrameCounter {
  readonly #original = methodsOf(Connection.prototype)
  #inTurn = 0
  #isOver = false
  total = 0
  /** The largest number of frames in one turn of the event loop. */
  max = 0

  begin(): void {
    const count = (): void => {
      this.total++
      this.max = Math.max(this.max, ++this.#inTurn)
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
    const next = (): void => {
      this.#inTurn = 0
      if (!this.#isOver) setImmediate(next)
    }
    next()
  }

  end(): void {
    this.#isOver = true
    Object.assign(Connection.prototype, this.#original)
  }
}

function methodsOf({ onFrame, onControlFrame }: Connection) {
  return { onFrame, onControlFrame }
}

describe('e2e: many small frames', function () {
  this.timeout(60_000)
  const stage = Stage.forEachTest()

  async function openHostile(url: string): Promise<Wire> {
    const wire = await openWire(url, subprotocol)
    stage.onClear(() => wire.destroy())
    const welcomed = new Promise<void>((resolve) => {
      wire.listen({ onText: () => resolve(), onTurn: () => {}, onClose: () => {} })
    })
    wire.send('{"type":"hello","name":"hostile","lease":300000}')
    await welcomed
    wire.listen({ onText: () => {}, onTurn: () => {}, onClose: () => {} })
    return wire
  }

  const kinds: readonly (readonly [title: string, frames: number, send: (wire: Wire) => void])[] = [
    [
      'frames of one pong',
      tinyFrames,
      (wire) => wire.sendSingly('{"type":"pong","n":1}', tinyFrames),
    ],
    ['WebSocket pings', pings, (wire) => wire.sendPings(pings)],
  ]
  for (const [title, frames, send] of kinds) {
    it(`do not delay a bystander: ${title}`, async () => {
      const { url } = await stage.broker()
      const wires = await Promise.all(Array.from({ length: hostiles }, () => openHostile(url)))
      const bystander = await RawClient.open(url)
      const counter = new FrameCounter()
      stage.onClear(() => counter.end())
      counter.begin()
      for (const wire of wires) send(wire)
      bystander.send({ type: 'lock', id: 1, key: 'free' })
      await bystander.receive('granted')
      const all = hostiles * frames
      expect(counter.total, 'frames before the answer').to.be.within(hostiles, all / 2)
      while (counter.total < all) await turn()
      expect(counter.max, 'frames in one turn').to.be.below(maxPerTurn)
    })
  }
})

describe('e2e: WebSocket pings', () => {
  const stage = Stage.forEachTest()

  it('get one pong for each turn, which answers the newest ping', async () => {
    const { url } = await stage.broker()
    const client = await RawClient.open(url)
    const pongs: string[] = []
    const last = new Promise<void>((resolve) => {
      client.socket.on('pong', (data) => {
        pongs.push(String(data))
        if (String(data) === '299') resolve()
      })
    })
    for (let i = 0; i < 300; i++) client.socket.ping(String(i))
    await last
    expect(pongs).to.have.length.below(100)
    const numbers = pongs.map(Number)
    expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b))
    client.drop()
  })
})
