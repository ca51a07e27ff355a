/**
 * PROTOCOL.md §1 and §5 over a socket: what happens to those who say nothing. These take the time
 * that the protocol gives them, so they all begin at once, before the first of them is looked at.
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
      // Whoever fails first is reported by his own test.
      for (const one of [frozen, alive, cut]) one.catch(() => {})
    })

    it('instead of a hello is closed with 4408', async () => {
      expect(await wordless).to.include({ code: 4408 })
    })

    it('for longer than the lease ends the session with 4410, whatever WebSocket pings', async () => {
      expect(await frozen).to.include({ code: 4410 })
    })

    it('is none if pings are answered', () => alive)

    it('of a client that was cut leaves its locks for its lease, and then no longer', async () => {
      const { close, heldOff, granted } = await cut
      expect(close).to.include({ code: 4400 })
      expect(heldOff).to.equal('LOCK_HELD')
      expect(granted).to.equal(true)
    })
  })
}

/** A client whose page is frozen: WebSocket pings go out below it, and no message does. */
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

/** A client that answers pings, for longer than its lease. */
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

/** A client without a grace that says something wrong while it holds a lock. */
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
