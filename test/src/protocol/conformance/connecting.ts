/**
 * Tests of the sections 2, 4 and 8 of PROTOCOL.md over a socket: connections, frames, hello, bye
 * and ack. The lease is how long the broker keeps the session of a silent client. The grace is how
 * long a session outlives its connection. A peer is a client without the client library.
 */
import { request } from 'node:http'
import { isFinalClose, maxFrameBytes, subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { withToken } from './peer.js'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of connecting, `hello`, frames, `ack` and `bye`. */
export function connecting(stage: Stage): void {
  describe('a connection', () => {
    it('is closed with 4406 without the subprotocol', async () => {
      const peer = await stage.connect([])
      expect(await peer.closed).to.include({ code: 4406 })
    })

    it('is closed with 4406 for another subprotocol', async () => {
      expect(await closeCodeFor(await stage.target(), 'holdfast.v0, other')).to.equal(4406)
    })

    it('is accepted if the client offers holdfast.v1 after another subprotocol', async () => {
      const peer = await stage.connect(['other', subprotocol])
      peer.say({ type: 'hello', ...withToken(await stage.target()) })
      await peer.hear('welcome')
    })

    it('without a WebSocket upgrade gets an HTTP error, and does not stop the broker', async () => {
      const { url } = await stage.target()
      const response = await fetch(url.replace(/^ws/, 'http'))
      expect(response.status).to.be.within(400, 499)
      await stage.openSession()
    })
  })

  describe('a hello', () => welcomes(stage))
  describe('a frame', () => frames(stage))
  describe('an ack', () => acknowledgement(stage))
  describe('a bye', () => goodbyes(stage))
}

function welcomes(stage: Stage): void {
  it('is answered with a welcome that has the lease and the grace of the session', async () => {
    const { welcome } = await stage.openSession()
    expect(welcome).to.include.all.keys('type', 'session', 'resumed', 'lease', 'grace', 'at')
    expect(welcome).to.include({ resumed: false, grace: 0 })
    expect(welcome.session).to.be.a('string').with.length.above(0)
    expect(Number.isSafeInteger(welcome.at)).to.equal(true)
  })

  it('opens a new session on every connection', async () => {
    const sessions = (await stage.openSessions(5)).map((peer) => peer.welcome.session)
    expect(new Set(sessions).size).to.equal(5)
  })

  it('for another cell than the cell of the broker closes the connection with 4421', async () => {
    const peer = await stage.connect()
    // A cell serves a part of all keys. No broker under test should be the cell 1,000 of 1,024.
    peer.say({ type: 'hello', cell: '1000/1024', ...withToken(await stage.target()) })
    expect(await peer.closed).to.include({ code: 4421 })
    // The client must not reconnect.
    expect(isFinalClose(4421)).to.equal(true)
  })

  it('gets the requested lease within the bounds of the broker', async () => {
    const leaseFor = async (requested?: number) =>
      (await stage.openSession(requested === undefined ? {} : { lease: requested })).welcome.lease
    // The default bounds are 2 s and 300 s. A client that requests no lease gets 15 s.
    expect(await leaseFor(10_000)).to.equal(10_000)
    expect(await leaseFor(1)).to.equal(2_000)
    expect(await leaseFor(2 ** 31 - 1)).to.equal(300_000)
    expect(await leaseFor()).to.equal(15_000)
  })

  it('gets the requested grace, at most its lease, and a secret for resumes if the grace is not 0', async () => {
    const welcomeFor = async (grace: number | 'lease') =>
      (await stage.openSession({ lease: 5_000, grace })).welcome
    expect(await welcomeFor(1_000))
      .to.include({ grace: 1_000 })
      .and.to.have.property('secret')
    expect(await welcomeFor(60_000)).to.include({ grace: 5_000 })
    expect(await welcomeFor('lease')).to.include({ grace: 5_000 })
    expect(await welcomeFor(0))
      .to.include({ grace: 0 })
      .and.not.to.have.property('secret')
  })
}

function frames(stage: Stage): void {
  it('may have several messages, which the broker handles in order', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    const nextFrame = peer.frames.length
    peer.say(
      { type: 'lock', id: 1, key },
      { type: 'lock', id: 2, key, timeout: 0 },
      // No broker comes to the highest fence.
      { type: 'unlock', id: 3, fence: Number.MAX_SAFE_INTEGER },
      { type: 'lock', id: 4, key: stage.key() },
    )
    await peer.hearAnswer('granted', 4)
    // The broker may send the answers in one frame or in several.
    const messages = peer.frames
      .slice(nextFrame)
      .flatMap((frame) => JSON.parse(frame) as { type: string; id?: number })
    const answers = messages.filter(({ id }) => id !== undefined)
    expect(answers.map(({ type, id }) => `${type} ${id}`)).to.deep.equal([
      'granted 1',
      'failed 2',
      'failed 3',
      'granted 4',
    ])
  })

  it('may have one message', async () => {
    const peer = await stage.openSession()
    const [a, b] = [peer.lock(stage.key()), peer.lock(stage.key())]
    await peer.hearAnswer('granted', a)
    await peer.hearAnswer('granted', b)
  })

  it('may have 64 KiB', async () => {
    const peer = await stage.openSession()
    peer.sayText('{"type":"stats","id":1}'.padEnd(maxFrameBytes))
    await peer.hearAnswer('stats', 1)
  })
}

function acknowledgement(stage: Stage): void {
  it('from the broker answers each pong and ack from the client, and counts the arrived messages', async () => {
    const peer = await stage.openSession()
    peer.say({ type: 'stats', id: 1 }, { type: 'stats', id: 2 }, { type: 'ack', ids: [] })
    const first = await peer.hear('ack')
    // The hello, two requests for statistics, and the ack have arrived.
    expect(first.n).to.equal(4)
    peer.say({ type: 'pong', n: 0 })
    const second = await peer.hear('ack')
    expect(second.n).to.equal(peer.said)
    expect(first.at).to.be.at.least(peer.welcome.at)
    expect(second.at).to.be.at.least(first.at)
  })

  it('from the client may name unknown ids, and so may a cancel and an unwatch', async () => {
    const peer = await stage.openSession()
    peer.say({ type: 'ack', ids: [7, 8] }, { type: 'cancel', request: 9 })
    peer.say({ type: 'unwatch', watch: 10 })
    expect(await peer.unreadMessages()).to.deep.equal([])
  })

  it('from the broker answers a pong with any number, even if no ping preceded the pong', async () => {
    const peer = await stage.openSession()
    peer.say({ type: 'pong', n: 77 })
    // The hello and the pong have arrived.
    expect(await peer.hear('ack')).to.include({ n: 2 })
  })

  it('from the broker counts refused messages', async () => {
    const peer = await stage.openSession()
    peer.sayText('{"type":"nonsense","id":1}')
    await peer.hearAnswer('failed', 1)
    peer.say({ type: 'ack', ids: [] })
    // The hello, the refused message and the ack have arrived.
    expect(await peer.hear('ack')).to.include({ n: 3 })
  })
}

function goodbyes(stage: Stage): void {
  it('closes with 1000 and ends the session immediately, although the session has a grace', async () => {
    const remaining = await stage.openSession()
    const leaving = await stage.openSession({ grace: 'lease' })
    const [heldKey, wantedKey] = [stage.key(), stage.key()]
    await leaving.acquire(heldKey)
    await remaining.acquire(wantedKey)
    leaving.lock(wantedKey)
    await leaving.settle()
    const id = remaining.lock(heldKey)
    leaving.say({ type: 'bye' })
    expect(await leaving.closed).to.include({ code: 1000 })
    await remaining.hearAnswer('granted', id)
    expect(await queryAll(remaining, { key: wantedKey })).to.include({ waitingCount: 0 })
  })

  it('ends the session, and the broker ignores the messages after the bye', async () => {
    const [peer, other] = await stage.openSessions(2)
    const key = stage.key()
    peer!.say({ type: 'bye' }, { type: 'lock', id: 1, key })
    expect(await peer!.closed).to.include({ code: 1000 })
    // The client must not reconnect.
    expect(isFinalClose(1000)).to.equal(true)
    expect(await queryAll(other!, { key })).to.include({ heldCount: 0 })
  })
}

/**
 * The code with which the broker closes a connection that offers these subprotocols. A WebSocket of
 * `ws` would fail before the close, because the broker selects none of the subprotocols.
 */
function closeCodeFor({ url }: { url: string }, offered: string): Promise<number> {
  const upgrade = request(url.replace(/^ws/, 'http'), {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      'sec-websocket-protocol': offered,
    },
  })
  return new Promise((resolve, reject) => {
    upgrade.on('error', reject)
    upgrade.on('response', ({ statusCode }) => {
      reject(new Error(`Expected an upgrade, received the HTTP status ${statusCode}`))
    })
    upgrade.on('upgrade', (_response, socket, head) => {
      let bytes = head
      const read = (): void => {
        // A close frame has one byte with its opcode, one byte with its length, and then its code.
        if (bytes.length < 4) return
        socket.destroy()
        // 0x88 is the FIN bit (0x80) with the opcode of a close (8).
        if (bytes[0] === 0x88) resolve(bytes.readUInt16BE(2))
        else reject(new Error(`Expected a close frame, received ${bytes.toString('hex')}`))
      }
      socket.on('data', (more: Buffer) => {
        bytes = Buffer.concat([bytes, more])
        read()
      })
      socket.on('error', reject)
      read()
    })
    upgrade.end()
  })
}
