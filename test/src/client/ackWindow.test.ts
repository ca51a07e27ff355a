/**
 * Tests the ack window of a session with a grace, which is the time for which the broker keeps a
 * session without a connection. The broker stores each response until an `ack` of the client lists
 * the id of the request. An `ack` of the broker confirms the first `n` messages of the client. The
 * ack window has room for 512 requests. A request leaves the window when the broker confirms an
 * `ack` that the client sent after the request.
 */
import type { Session } from '@holdfast/client'
import type { ClientMessage } from '@holdfast/shared'
import { expect } from 'chai'
import {
  emptyAck,
  openScriptedSessionWithGrace,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  acquireLock,
  errorCodeOf,
  openScriptedSession,
  untilTurnEnds,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** Requests this many locks with different keys. */
function requestLocks(session: Session, count: number): Promise<unknown>[] {
  return Array.from({ length: count }, (_, i) => session.lock(`k${i}`))
}

/** The ids of the messages of one type. */
function idsOf(messages: readonly ClientMessage[], type: ClientMessage['type']): number[] {
  return messages.flatMap((message) =>
    message.type === type && 'id' in message ? [message.id] : [],
  )
}

describe('the ack window', () => {
  it('lets 512 requests pass, then an ack, and more requests after the broker confirms the ack', async () => {
    const { session, socket } = await openScriptedSession({}, welcomeWithGrace())
    // More requests than two ack windows.
    requestLocks(session, 1_100)
    await untilTurnEnds()
    const first = socket.newMessages()
    expect(idsOf(first, 'lock')).to.deep.equal(Array.from({ length: 512 }, (_, i) => i + 1))
    // This ack lists no ids: the client needs only its confirmation, to send more requests.
    expect(first.at(-1)).to.deep.equal(emptyAck)
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_001 })
    await untilTurnEnds()
    const second = socket.newMessages()
    expect(idsOf(second, 'lock').at(0)).to.equal(513)
    expect(idsOf(second, 'lock').length).to.equal(512)
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_002 })
    await untilTurnEnds()
    expect(idsOf(socket.newMessages(), 'lock').at(-1)).to.equal(1_100)
  })

  it('counts only the requests after the newest confirmed ack, and ignores the confirmation of a pong', async () => {
    const { session, socket } = await openScriptedSession({}, welcomeWithGrace())
    requestLocks(session, 10)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 1 }, { type: 'ping', n: 1 })
    requestLocks(session, 600)
    await untilTurnEnds()
    const sent = socket.newMessages()
    expect(idsOf(sent, 'lock').at(-1)).to.equal(512)
    // `sent` begins with message 2, after the hello: ten lock requests, the pong (message 12), and
    // this ack (message 13).
    expect(sent[11]).to.deep.equal({ type: 'ack', ids: [1] })
    socket.deliver({ type: 'ack', n: 12, at: 50_001 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
    socket.deliver({ type: 'ack', n: 13, at: 50_001 })
    await untilTurnEnds()
    // Ten of the 512 requests came before the ack, so ten more requests may pass.
    expect(idsOf(socket.newMessages(), 'lock')).to.deep.equal(
      Array.from({ length: 10 }, (_, i) => i + 513),
    )
  })

  it('makes the client acknowledge 64 responses immediately, and fewer with the next pong', async () => {
    const { session, socket } = await openScriptedSession({}, welcomeWithGrace())
    requestLocks(session, 70)
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver(
      ...Array.from({ length: 70 }, (_, i) => ({ type: 'granted', id: i + 1, fence: i + 1 })),
    )
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'ack', ids: Array.from({ length: 64 }, (_, i) => i + 1) },
    ])
    socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'ack', ids: [65, 66, 67, 68, 69, 70] },
    ])
  })

  it('does not exist without a grace: the client limits no requests and acknowledges no responses', async () => {
    const { session, socket } = await openScriptedSession()
    requestLocks(session, 1_100)
    await untilTurnEnds()
    // With a grace, 64 responses would make the client send an ack.
    socket.deliver(
      ...Array.from({ length: 99 }, (_, i) => ({ type: 'granted', id: i + 1, fence: i + 1 })),
    )
    socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    const sent = socket.newMessages()
    expect(idsOf(sent, 'lock').length).to.equal(1_100)
    expect(sent.at(-1)).to.deep.equal({ type: 'pong', n: 1 })
  })

  it('never lets a request pass that its caller aborted while the window was full', async () => {
    const { session, socket } = await openScriptedSession({}, welcomeWithGrace())
    requestLocks(session, 512)
    const controller = new AbortController()
    const requesting = errorCodeOf(session.lock('late', { signal: controller.signal }))
    await untilTurnEnds()
    socket.newMessages()
    controller.abort()
    expect(await requesting).to.equal('ABORTED')
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_001 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('makes the client repeat a request with a new id if stored responses used up the quota of the session', async () => {
    const scene = await openScriptedSessionWithGrace()
    const { socket } = scene
    const lock = await acquireLock(scene, { fence: 9 })
    const unlocking = lock.unlock()
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'failed', id: 2, code: 'QUOTA_EXCEEDED', message: '' })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'ack', ids: [1, 2] },
      { type: 'unlock', id: 3, fence: 9 },
    ])
    socket.deliver({ type: 'unlocked', id: 3 })
    await unlocking
  })

  it('is open again on a new connection', async () => {
    const scene = await openScriptedSessionWithGrace()
    requestLocks(scene.session, 512)
    await untilTurnEnds()
    const sent = (await resumeSession(scene, snapshot())) as ClientMessage[]
    expect(idsOf(sent, 'lock').length).to.equal(512)
  })

  it('does not make the client repeat an acknowledgement that the broker has confirmed', async () => {
    const scene = await openScriptedSessionWithGrace()
    await acquireLock(scene)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'ack', ids: [1] })
    scene.socket.deliver({ type: 'ack', n: scene.socket.sent.length, at: 50_001 })
    expect(await resumeSession(scene)).to.deep.equal([emptyAck])
  })
})
