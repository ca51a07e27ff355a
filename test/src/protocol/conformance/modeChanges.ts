/**
 * Tests of upgrades, downgrades and scopes over a socket. An upgrade makes a shared lock exclusive
 * when its key has no other lock. A downgrade makes an exclusive lock shared immediately. A scope
 * is one logical task of a session. The broker refuses a request of a scope that would complete a
 * deadlock.
 *
 * A fence is the number of a grant. An upgrade is a second grant, but the client names its lock by
 * the first fence even then. A peer is a client without the client library.
 */
import { expect } from 'chai'
import type { Stage } from './stage.js'

/** Defines the tests of upgrades and downgrades. */
export function modeChanges(stage: Stage): void {
  it('grants an upgrade with a new fence, ahead of queued requests, when its lock is the only lock', async () => {
    const [first, second, third] = await stage.openSessions(3)
    const key = stage.key()
    const { fence } = await first!.hearAnswer(
      'granted',
      first!.request({ type: 'lock', key, mode: 'shared' }),
    )
    const { fence: fenceOfSecond } = await second!.hearAnswer(
      'granted',
      second!.request({ type: 'lock', key, mode: 'shared' }),
    )
    const upgradeRequest = first!.request({ type: 'upgrade', fence })
    expect(await first!.unreadMessages()).to.deep.equal([])
    // While an upgrade waits, the broker does not grant even shared requests for the key.
    const waiting = third!.request({ type: 'lock', key, mode: 'shared', timeout: 60_000 })
    expect(await third!.unreadMessages()).to.deep.equal([])
    // Two upgrades would wait for each other.
    const refused = second!.request({ type: 'upgrade', fence: fenceOfSecond })
    expect(await second!.hearAnswer('failed', refused)).to.include({ code: 'DEADLOCK' })
    second!.request({ type: 'unlock', fence: fenceOfSecond })
    const upgraded = await first!.hearAnswer('granted', upgradeRequest)
    expect(upgraded.fence).to.be.above(fenceOfSecond)
    await first!.hearAnswer('downgraded', first!.request({ type: 'downgrade', fence }))
    await third!.hearAnswer('granted', waiting)
    await first!.hearAnswer('unlocked', first!.request({ type: 'unlock', fence }))
  })

  it('refuses to upgrade or downgrade a lock of several keys: BAD_MESSAGE', async () => {
    const peer = await stage.openSession()
    const items = [{ key: stage.key() }, { key: stage.key() }]
    const { fence } = await peer.hearAnswer('granted', peer.request({ type: 'lockAll', items }))
    for (const type of ['upgrade', 'downgrade'] as const) {
      const failed = await peer.hearAnswer('failed', peer.request({ type, fence }))
      expect(failed).to.include({ code: 'BAD_MESSAGE' })
    }
  })
}

/** Defines the tests of scopes. */
export function scopes(stage: Stage): void {
  it('fails the waiting request of an ended scope with ABORTED, and then answers endScope', async () => {
    const [holder, peer] = await stage.openSessions(2)
    const key = stage.key()
    await holder!.acquire(key)
    const waiting = peer!.lock(key, { scope: 1 })
    const endRequest = peer!.request({ type: 'endScope', scope: 1 })
    const [failed, scopeEnded] = await peer!.unreadMessages()
    expect(failed).to.include({ type: 'failed', id: waiting, code: 'ABORTED' })
    expect(scopeEnded).to.deep.equal({ type: 'scopeEnded', id: endRequest })
  })

  it('refuses the request that completes a deadlock, and releases all locks of an ended scope', async () => {
    const [first, second] = await stage.openSessions(2)
    const [firstKey, secondKey] = [stage.key(), stage.key()]
    await first!.hearAnswer('granted', first!.request({ type: 'lock', key: firstKey, scope: 1 }))
    await second!.hearAnswer('granted', second!.request({ type: 'lock', key: secondKey, scope: 1 }))
    const waiting = first!.request({ type: 'lock', key: secondKey, scope: 1, timeout: 60_000 })
    expect(await first!.unreadMessages()).to.deep.equal([])
    // A scope waits for one request at a time.
    const furtherRequest = first!.request({ type: 'lock', key: stage.key(), scope: 1 })
    expect(await first!.hearAnswer('failed', furtherRequest)).to.include({ code: 'BAD_MESSAGE' })
    const refused = second!.request({ type: 'lock', key: firstKey, scope: 1 })
    const failed = await second!.hearAnswer('failed', refused)
    expect(failed.code).to.equal('DEADLOCK')
    expect((failed.cycle as object[]).length).to.equal(2)
    await second!.hearAnswer('scopeEnded', second!.request({ type: 'endScope', scope: 1 }))
    await first!.hearAnswer('granted', waiting)
    await first!.hearAnswer('scopeEnded', first!.request({ type: 'endScope', scope: 1 }))
  })
}
