/**
 * The flow control of a session with a grace: the client limits its requests, and acknowledges
 * responses.
 */
import type { Session } from '@holdfast/client'
import type { ClientMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { nothingToAck, openGraced, resume, snapshot } from '../support/resuming.js'
import {
  acquireLock,
  codeOf,
  openScene,
  turn,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

function ask(session: Session, count: number): Promise<unknown>[] {
  return Array.from({ length: count }, (_, i) => session.lock(`k${i}`))
}

function idsOf(messages: readonly ClientMessage[], type: ClientMessage['type']): number[] {
  return messages.flatMap((message) =>
    message.type === type && 'id' in message ? [message.id] : [],
  )
}

describe('the ack window', () => {
  it('sends 512 requests and an ack, and the rest when the ack is acknowledged', async () => {
    const { session, socket } = await openScene({}, welcomeWithGrace())
    ask(session, 1_100)
    await turn()
    const first = socket.newMessages()
    expect(idsOf(first, 'lock')).to.deep.equal(Array.from({ length: 512 }, (_, i) => i + 1))
    expect(first.at(-1)).to.deep.equal({ type: 'ack', ids: [] })
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_001 })
    await turn()
    const second = socket.newMessages()
    expect(idsOf(second, 'lock').at(0)).to.equal(513)
    expect(idsOf(second, 'lock').length).to.equal(512)
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_002 })
    await turn()
    expect(idsOf(socket.newMessages(), 'lock').at(-1)).to.equal(1_100)
  })

  it('opens by as many requests as an acknowledged ack covers, and not by a pong', async () => {
    const { session, socket } = await openScene({}, welcomeWithGrace())
    ask(session, 10)
    await turn()
    socket.deliver({ type: 'granted', id: 1, fence: 1 }, { type: 'ping', n: 1 })
    ask(session, 600)
    await turn()
    const sent = socket.newMessages()
    expect(idsOf(sent, 'lock').at(-1)).to.equal(512)
    // The hello, ten lock requests, the pong, and the ack of the first response.
    expect(sent[11]).to.deep.equal({ type: 'ack', ids: [1] })
    socket.deliver({ type: 'ack', n: 12, at: 50_001 })
    await turn()
    expect(socket.newMessages()).to.deep.equal([])
    socket.deliver({ type: 'ack', n: 13, at: 50_001 })
    await turn()
    expect(idsOf(socket.newMessages(), 'lock')).to.deep.equal(
      Array.from({ length: 10 }, (_, i) => i + 513),
    )
  })

  it('acknowledges 64 responses at once, and fewer with the next pong', async () => {
    const { session, socket } = await openScene({}, welcomeWithGrace())
    ask(session, 70)
    await turn()
    socket.newMessages()
    socket.deliver(
      ...Array.from({ length: 70 }, (_, i) => ({ type: 'granted', id: i + 1, fence: i + 1 })),
    )
    await turn()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'ack', ids: Array.from({ length: 64 }, (_, i) => i + 1) },
    ])
    socket.deliver({ type: 'ping', n: 1 })
    await turn()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'ack', ids: [65, 66, 67, 68, 69, 70] },
    ])
  })

  it('does not limit or acknowledge anything without a grace', async () => {
    const { session, socket } = await openScene()
    ask(session, 1_100)
    await turn()
    socket.deliver(
      ...Array.from({ length: 99 }, (_, i) => ({ type: 'granted', id: i + 1, fence: i + 1 })),
    )
    socket.deliver({ type: 'ping', n: 1 })
    await turn()
    const sent = socket.newMessages()
    expect(idsOf(sent, 'lock').length).to.equal(1_100)
    expect(sent.at(-1)).to.deep.equal({ type: 'pong', n: 1 })
  })

  it('does not send a request that was aborted while it waited for the window', async () => {
    const { session, socket } = await openScene({}, welcomeWithGrace())
    ask(session, 512)
    const controller = new AbortController()
    const asking = codeOf(session.lock('late', { signal: controller.signal }))
    await turn()
    socket.newMessages()
    controller.abort()
    expect(await asking).to.equal('ABORTED')
    socket.deliver({ type: 'ack', n: socket.sent.length, at: 50_001 })
    await turn()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('repeats a request with a new id if the broker could not store its response', async () => {
    const scene = await openGraced()
    const { socket } = scene
    const lock = await acquireLock(scene, { fence: 9 })
    const unlocking = lock.unlock()
    await turn()
    socket.newMessages()
    socket.deliver({ type: 'failed', id: 2, code: 'QUOTA_EXCEEDED', message: '' })
    await turn()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'ack', ids: [1, 2] },
      { type: 'unlock', id: 3, fence: 9 },
    ])
    socket.deliver({ type: 'unlocked', id: 3 })
    await unlocking
  })

  it('begins with an open window on a new connection', async () => {
    const scene = await openGraced()
    ask(scene.session, 512)
    await turn()
    const said = (await resume(scene, snapshot())) as ClientMessage[]
    expect(idsOf(said, 'lock').length).to.equal(512)
  })

  it('does not repeat an acknowledgement that the broker has received', async () => {
    const scene = await openGraced()
    await acquireLock(scene)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await turn()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'ack', ids: [1] })
    scene.socket.deliver({ type: 'ack', n: scene.socket.sent.length, at: 50_001 })
    expect(await resume(scene)).to.deep.equal([nothingToAck])
  })
})
