/**
 * Tests of `once` and `complete` of PROTOCOL.md over a socket. One client (the runner) does the
 * work and sends the value with `complete`. The clients that wait meanwhile (its followers) get
 * this value. With `keep`, later calls get the value too, for a time. A fence is the number of a
 * grant. A peer is a client without the client library.
 */
import { expect } from 'chai'
import type { Stage } from './stage.js'

/** Defines the tests of `once` and of kept values. */
export function once(stage: Stage): void {
  describe('once: the broker', () => runs(stage))
  describe('keep: the broker', () => keeps(stage))
}

function runs(stage: Stage): void {
  it('grants the first call of `once`, and answers the waiting calls with the value of the runner', async () => {
    const [runner, follower, lateClient] = await stage.openSessions(3)
    const key = stage.key()
    const { fence } = await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const waiting = follower!.request({ type: 'once', key })
    expect(await follower!.unreadMessages()).to.deep.equal([])
    const value = { rows: [1, null, 'x'] }
    await runner!.hearAnswer('unlocked', runner!.request({ type: 'complete', fence, value }))
    expect(await follower!.hearAnswer('result', waiting))
      .to.include({ fence })
      .and.deep.include({ value })
    await lateClient!.hearAnswer('granted', lateClient!.request({ type: 'once', key }))
  })

  it('leaves the value out of `result` if `complete` has no value', async () => {
    const [runner, follower] = await stage.openSessions(2)
    const key = stage.key()
    const { fence } = await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const waiting = follower!.request({ type: 'once', key })
    await follower!.settle()
    runner!.request({ type: 'complete', fence })
    expect(await follower!.hearAnswer('result', waiting)).not.to.have.property('value')
  })

  it('answers a follower whose call came after a waiting lock request', async () => {
    const [runner, a, b] = await stage.openSessions(3)
    const key = stage.key()
    const { fence } = await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const lockRequest = a!.request({ type: 'lock', key })
    await a!.settle()
    const waiting = b!.request({ type: 'once', key })
    await b!.settle()
    runner!.request({ type: 'complete', fence, value: 1 })
    await b!.hearAnswer('result', waiting)
    await a!.hearAnswer('granted', lockRequest)
  })

  it('grants the next call of `once` after an unlock', async () => {
    const [runner, next] = await stage.openSessions(2)
    const key = stage.key()
    const { fence } = await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const waiting = next!.request({ type: 'once', key })
    await next!.settle()
    runner!.request({ type: 'unlock', fence })
    await next!.hearAnswer('granted', waiting)
  })

  it('answers LOCK_NOT_HELD to a `complete` of an ordinary lock', async () => {
    const peer = await stage.openSession()
    const lockRequest = peer.request({ type: 'lock', key: stage.key() })
    const { fence } = await peer.hearAnswer('granted', lockRequest)
    const failed = await peer.hearAnswer('failed', peer.request({ type: 'complete', fence }))
    expect(failed).to.include({ code: 'LOCK_NOT_HELD' })
    await peer.hearAnswer('unlocked', peer.request({ type: 'unlock', fence }))
  })

  it('answers LOCK_HELD to a `once` with timeout 0 while another client is the runner', async () => {
    const [runner, other] = await stage.openSessions(2)
    const key = stage.key()
    await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const failed = await other!.hearAnswer(
      'failed',
      other!.request({ type: 'once', key, timeout: 0 }),
    )
    expect(failed).to.include({ code: 'LOCK_HELD' })
  })
}

function keeps(stage: Stage): void {
  it('answers later calls of `once` with a kept value, even while the key is locked', async () => {
    const [runner, other] = await stage.openSessions(2)
    const key = stage.key()
    const { fence } = await runner!.hearAnswer('granted', runner!.request({ type: 'once', key }))
    const lockRequest = other!.request({ type: 'lock', key })
    await other!.settle()
    runner!.request({ type: 'complete', fence, value: 'kept', keep: 600_000 })
    await other!.hearAnswer('granted', lockRequest)
    const result = await other!.hearAnswer(
      'result',
      other!.request({ type: 'once', key, timeout: 0 }),
    )
    expect(result).to.include({ fence, value: 'kept' })
  })

  it('forgets a kept value when its time is over', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    const { fence } = await peer.hearAnswer('granted', peer.request({ type: 'once', key }))
    await peer.hearAnswer('unlocked', peer.request({ type: 'complete', fence, keep: 1 }))
    // For 1 ms the broker answers with the kept value, which is `undefined`.
    for (;;) {
      const id = peer.request({ type: 'once', key })
      const { type } = await peer.hearAnswerTo(id)
      if (type === 'granted') return
      expect(type).to.equal('result')
    }
  })
}
