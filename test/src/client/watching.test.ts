/**
 * Tests how a client watches keys: it passes the held locks (the state) to a callback, then events,
 * and the state again after a reconnect. The field `event` of a message is an event, and the field
 * `event` of an event is the kind of change. A fence is the number of a grant.
 */
import type { WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import {
  openScriptedSession,
  reconnect,
  untilTurnEnds,
  welcome,
} from '../support/scriptedSession.js'

/** A held lock, as states and events show it. */
const heldLock = { key: 'k', mode: 'exclusive', session: 's', fence: 1, since: 2 }

describe('a session that watches keys', () => {
  it('passes the complete state first, and then the events', async () => {
    const { session, socket } = await openScriptedSession()
    const events: WatchEvent[] = []
    session.watch('k', (event) => events.push(event))
    session.watch({ prefix: 'o' }, () => {})
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'watch', id: 1, key: 'k' },
      { type: 'watch', id: 2, prefix: 'o' },
    ])
    // The state arrives in two messages.
    socket.deliver({ type: 'watching', id: 1, held: [heldLock], heldCount: 2, more: true })
    expect(events).to.deep.equal([])
    socket.deliver({ type: 'watching', id: 1, held: [heldLock], heldCount: 2, more: false })
    socket.deliver({ type: 'event', watch: 1, event: { event: 'unlocked', ...heldLock } })
    expect(events).to.deep.equal([
      { event: 'state', held: [heldLock, heldLock], heldCount: 2, resync: false },
      { event: 'unlocked', ...heldLock },
    ])
  })

  it('passes an event to every watch that the message names', async () => {
    const { session, socket } = await openScriptedSession()
    const lines: string[] = []
    for (const name of ['a', 'b', 'c']) {
      session.watch('k', ({ event }) => lines.push(`${name} ${event}`))
    }
    await untilTurnEnds()
    const event = { event: 'unlocked', ...heldLock }
    // The client has no watch 9.
    socket.deliver({ type: 'event', watch: [1, 3, 9], event })
    expect(lines).to.deep.equal(['a unlocked', 'c unlocked'])
  })

  it('ignores events of an unknown kind, and passes known events with unknown values', async () => {
    const { session, socket } = await openScriptedSession()
    const kinds: string[] = []
    session.watch({ key: 'k', queue: true }, ({ event }) => kinds.push(event))
    await untilTurnEnds()
    // A newer broker may send kinds, modes and reasons that the client does not know.
    const queued = { ...heldLock, mode: 'newer', request: 3 }
    for (const event of [
      { event: 'newer', key: 5 },
      { event: 'dequeued', ...queued, reason: 'newer' },
    ]) {
      socket.deliver({ type: 'event', watch: 1, event })
    }
    expect([kinds, session.state]).to.deep.equal([['dequeued'], 'connected'])
  })

  it('watches again after a reconnect, and marks the new state as resync', async () => {
    const scene = await openScriptedSession()
    const events: WatchEvent[] = []
    scene.session.watch('k', (event) => events.push(event))
    await untilTurnEnds()
    scene.socket.deliver({ type: 'watching', id: 1, held: [heldLock], heldCount: 1, more: false })
    await reconnect(scene)
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'watch', id: 2, key: 'k' }])
    // A late event of the former watch must not reach the callback.
    scene.socket.deliver({ type: 'event', watch: 1, event: { event: 'unlocked', ...heldLock } })
    scene.socket.deliver({ type: 'watching', id: 2, held: [], heldCount: 0, more: false })
    expect(events.slice(1)).to.deep.equal([
      { event: 'state', held: [], heldCount: 0, resync: true },
    ])
  })

  it('begins and ends watches without a connection', async () => {
    const scene = await openScriptedSession()
    const ended = scene.session.watch('ended', () => {})
    await untilTurnEnds()
    const reconnecting = reconnect(scene)
    // The former connection has ended, and the new connection is not open yet.
    ended.close()
    scene.session.watch('begun', () => {})
    scene.session.watch('both', () => {}).close()
    await reconnecting
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    const [request, ...others] = scene.socket.newMessages()
    expect(request).to.deep.include({ type: 'watch', key: 'begun' })
    expect(others).to.deep.equal([])
  })

  it('passes no event after close, and ends the watch only once', async () => {
    const { session, socket } = await openScriptedSession()
    const events: WatchEvent[] = []
    const watch = session.watch('k', (event) => events.push(event))
    await untilTurnEnds()
    socket.newMessages()
    watch.close()
    watch[Symbol.dispose]()
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'unwatch', watch: 1 }])
    socket.deliver({ type: 'watching', id: 1, held: [], heldCount: 0, more: false })
    expect(events).to.deep.equal([])
  })

  it('passes the event "refused" when the broker refuses the watch, and does not ask again', async () => {
    const { session, socket } = await openScriptedSession()
    const events: WatchEvent[] = []
    session.watch('k', (event) => events.push(event))
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'failed', id: 1, code: 'QUOTA_EXCEEDED', message: 'too many' })
    const [event] = events
    expect(event?.event === 'refused' && event.error.code).to.equal('QUOTA_EXCEEDED')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })
})
