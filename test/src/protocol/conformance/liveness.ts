/**
 * Sections 2, 4 and 8 of PROTOCOL.md over a socket: how the broker treats silent clients. These
 * tests take the time that the protocol gives to clients, so all of them begin at once in `before`.
 */
import { expect } from 'chai'
import type { Closed, Peer } from './peer.js'
import { look, type Stage } from './stage.js'

export function liveness(stage: Stage): void {
  describe('silence', function () {
    this.timeout(30_000)
    let wordless: Promise<Closed>
    let frozen: Promise<Closed>
    let alive: Promise<void>
    let cut: Promise<CutScene>

    before(async () => {
      const peer = await stage.connect()
      wordless = peer.closed
      frozen = freeze(stage)
      alive = stayAlive(stage)
      cut = cutHolder(stage)
      // A failure is reported by the test that awaits the promise.
      for (const one of [frozen, alive, cut]) one.catch(() => {})
    })

    it('closes with 4408 without a hello', async () => {
      expect(await wordless).to.include({ code: 4408 })
    })

    it('ends a session with 4410 after its lease, despite pings of the WebSocket', async () => {
      expect(await frozen).to.include({ code: 4410 })
    })

    it('keeps a session whose client answers pings', () => alive)

    it('keeps the locks of a connection that it cut for the lease and no longer', async () => {
      const { close, heldOff, granted } = await cut
      expect(close).to.include({ code: 4400 })
      expect(heldOff).to.equal('LOCK_HELD')
      expect(granted).to.equal(true)
    })
  })
}

/** A frozen client: it sends pings of the WebSocket, and no messages. */
async function freeze(stage: Stage): Promise<Closed> {
  const peer = await stage.open({ lease: 2_000 })
  const holder = await stage.open()
  peer.mute = true
  const key = stage.key()
  await peer.take(key)
  const next = holder.lock(key)
  void pingBelow(peer)
  await holder.answer('granted', next)
  return peer.closed
}

async function pingBelow(peer: Peer): Promise<void> {
  try {
    for (;;) {
      await peer.hear('ping')
      peer.pingBelow()
    }
  } catch {
    // Closed, which is what this waits for.
  }
}

/** A client that answers pings for longer than its lease. */
async function stayAlive(stage: Stage): Promise<void> {
  const peer = await stage.open({ lease: 2_000 })
  const fence = await peer.take(stage.key())
  let last = -1
  for (let acks = 0; acks < 4; acks++) {
    const { at } = await peer.hear('ack')
    expect(at).to.be.greaterThan(last)
    last = at
  }
  expect(last - peer.welcome.at).to.be.greaterThan(2_000)
  await peer.release(fence)
}

interface CutScene {
  readonly close: Closed
  readonly heldOff: string
  readonly granted: boolean
}

/** A client without a grace that sends an invalid message while it holds a lock. */
async function cutHolder(stage: Stage): Promise<CutScene> {
  const peer = await stage.open({ lease: 2_000 })
  const other = await stage.open()
  const key = stage.key()
  await peer.take(key)
  peer.sayText('nonsense')
  const close = await peer.closed
  const { code } = await other.answer('failed', other.lock(key, { timeout: 0 }))
  const { type } = await other.answer('granted', other.lock(key))
  expect((await look(other, { key })).heldCount).to.equal(1)
  return { close, heldOff: code, granted: type === 'granted' }
}
