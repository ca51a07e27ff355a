/**
 * Tests the WebSockets of the broker, on a fake TCP socket. The broker itself answers common
 * upgrades, and the package `ws` answers the others. The tests are about pauses, the end of a
 * paused connection, and pings of a client that does not read. The first byte of a frame is 0x81
 * for a text, 0x88 for a close, 0x89 for a ping, and 0x8a for a pong.
 */
import { createServer, type IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import {
  acceptUpgrades,
  ByteCounters,
  type Socket,
  type SocketListener,
  type Upgrade,
  type UpgradeOptions,
} from '@holdfast/server/internal'
import { subprotocol } from '@holdfast/shared'
import { assert, expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { encodeFrame, maskedFrame } from './upgraded.js'

/**
 * The most bytes of answers to pings that the broker buffers while the client does not read. A
 * socket with more than 32 KiB is full and answers no further ping; the last answer has less than
 * 1 KiB.
 */
const maxUnreadBytes = (32 + 1) * 1024

/** Both ends of a connection: a client on a fake TCP socket, and the broker's WebSocket. */
class Peer {
  /** The texts and other events that the broker got from its WebSocket, in order. */
  readonly events: string[] = []
  /** The broker's WebSocket. */
  readonly socket: Socket
  /** The fake TCP socket under {@link socket}. */
  readonly raw: Duplex
  /** Called after each event except `close`. */
  onEvent: () => void = () => {}
  /** The bytes that the broker has written. */
  written = ''
  /** Whether the broker's writes stay pending, as when the client does not read. */
  isBlocked = false
  /** The callbacks of the writes that have not ended. */
  #blocked: (() => void)[] = []

  /**
   * @param offered The subprotocols that the client offers in its upgrade.
   * @param dataListener A data listener that the embedding program has added to the TCP socket.
   */
  constructor(offered: string = subprotocol, dataListener?: () => void) {
    this.raw = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        this.written += chunk.toString('latin1')
        if (this.isBlocked) this.#blocked.push(done)
        else done()
      },
    })
    let socket: Socket | undefined
    const record = (event: string): void => {
      this.events.push(event)
      this.onEvent()
    }
    const socketListener: SocketListener = {
      onFrame: record,
      onBinary: () => record('binary'),
      onControlFrame: () => record('control'),
      onFault: () => record('fault'),
      onDrain: () => {},
      onClose: () => this.events.push('close'),
    }
    const options: UpgradeOptions = {
      path: undefined,
      upgradePolicy: {
        admit: () => ({ address: undefined, token: undefined, secure: true }),
      } as unknown as UpgradeOptions['upgradePolicy'],
      upgradeQueue: {
        add: ({ accept }: Upgrade) => accept(),
      } as unknown as UpgradeOptions['upgradeQueue'],
      tarpit: {} as UpgradeOptions['tarpit'],
      isOwnPage: () => false,
      connect: (connected) => {
        socket = connected
        return socketListener
      },
      frameBytes: 64 * 1024,
      byteCounters: new ByteCounters(),
      onRefused: () => {},
    }
    const server = createServer()
    acceptUpgrades(server, options)
    if (dataListener !== undefined) this.raw.on('data', dataListener)
    const headers = {
      upgrade: 'websocket',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
      'sec-websocket-version': '13',
      'sec-websocket-protocol': offered,
    }
    const request = { method: 'GET', url: '/', headers, socket: this.raw }
    server.emit(
      'upgrade',
      request as unknown as IncomingMessage,
      this.raw as TLSSocket,
      Buffer.alloc(0),
    )
    this.socket = socket!
    // Drops the answer to the upgrade.
    this.written = ''
  }

  /** The client sends these texts, each in a frame, in one chunk. */
  say(...texts: readonly string[]): void {
    this.raw.push(Buffer.concat(texts.map((text) => encodeFrame(maskedFrame(0x81, text)))))
  }

  /** The client sends a WebSocket ping. */
  ping(data: string): void {
    this.raw.push(encodeFrame(maskedFrame(0x89, data)))
  }

  /** The client sends a frame with this first byte. */
  sendFrame(first: number, text: string): void {
    this.raw.push(encodeFrame(maskedFrame(first, text)))
  }

  /** Lets all writes of the broker end. */
  unblock(): void {
    this.isBlocked = false
    for (let done = this.#blocked.shift(); done; done = this.#blocked.shift()) done()
  }
}

/** Lets turns of the event loop pass: by default more than `ws` needs for its events. */
async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

/** What may happen to a WebSocket. */
const steps: Readonly<Record<string, (peer: Peer) => void>> = {
  'the client sends a text': (peer) => peer.say('text'),
  'the client sends two texts in a chunk': (peer) => peer.say('one', 'two'),
  'the client sends a text beyond ASCII': (peer) => peer.say('é'),
  'the client sends a text that is not UTF-8': ({ raw }) => {
    raw.push(encodeFrame({ ...maskedFrame(0x81, ''), payload: Buffer.from([0xff]) }))
  },
  'the client sends a ping': (peer) => peer.ping('data'),
  'the client sends a first fragment': (peer) => peer.sendFrame(0x01, 'be'),
  'the client sends a last fragment': (peer) => peer.sendFrame(0x80, 'gin'),
  'the client sends a binary message': (peer) => peer.sendFrame(0x82, 'bytes'),
  'the client sends a part of a frame': ({ raw }) =>
    raw.push(encodeFrame(maskedFrame(0x81, 'part')).subarray(0, 8)),
  'the client sends a close frame': (peer) => peer.sendFrame(0x88, ''),
  'the client ends its side of the connection': ({ raw }) => raw.push(null),
  'the connection breaks': ({ raw }) => raw.destroy(new Error('ECONNRESET')),
  'the broker sends a text': ({ socket }) => socket.send('answer'),
  'the broker sends a text beyond ASCII': ({ socket }) => socket.send('ä'),
  'the broker pauses': ({ socket }) => socket.pause(),
  'the broker resumes': ({ socket }) => socket.resume(),
  'the broker closes': ({ socket }) => socket.close(4_000, 'enough'),
  'the broker terminates': ({ socket }) => socket.terminate(),
}

describe('a WebSocket of the broker', () => {
  it('behaves the same whether the broker itself or `ws` has answered its upgrade', async () => {
    const names = fc.array(fc.constantFrom(...Object.keys(steps)), { maxLength: 12 })
    const property = fc.asyncProperty(names, async (chosen) => {
      // `ws` answers an upgrade that offers more than one subprotocol.
      const peers = [new Peer(), new Peer(`${subprotocol}, other`)]
      for (const name of chosen) {
        // After the broker has read the end of the client's side, the test takes no further step.
        for (const peer of peers) if (!peer.raw.readableEnded) steps[name]!(peer)
        await turns()
      }
      for (const { socket } of peers) {
        socket.resume()
        socket.terminate()
      }
      await turns()
      const [byBroker, byWs] = peers.map(({ events, written }) => ({ events, written }))
      assert.deepEqual(byBroker, byWs)
      assert.equal(byBroker!.events.at(-1), 'close')
    })
    await fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('reads its frames with `ws` if the TCP socket has another data listener', async () => {
    let chunkCount = 0
    const peer = new Peer(subprotocol, () => chunkCount++)
    peer.say('1', '2')
    peer.ping('data')
    await turns()
    // If the broker itself read the frames, the ping would cause an event 'control'. But `ws`
    // reports only messages to the broker.
    expect(peer.events).to.deep.equal(['1', '2'])
    expect(peer.written).to.equal('\u008a\u0004data')
    expect(chunkCount).to.equal(2)
  })

  it('reads no further frame of a chunk after a pause', async () => {
    const peer = new Peer()
    peer.onEvent = () => peer.socket.pause()
    peer.say('1', '2', '3')
    await turns()
    expect(peer.events).to.deep.equal(['1'])
    expect(peer.socket.unreadBytes).to.equal(2 * encodeFrame(maskedFrame(0x81, '2')).length)
    peer.socket.resume()
    expect(peer.events).to.deep.equal(['1'])
    await turns()
    expect(peer.events).to.deep.equal(['1', '2'])
    peer.socket.resume()
    await turns()
    expect(peer.events).to.deep.equal(['1', '2', '3'])
    expect(peer.socket.unreadBytes).to.equal(0)
  })

  it('stays paused if the broker pauses it again directly after resume', async () => {
    const peer = new Peer()
    peer.socket.pause()
    peer.say('1')
    await turns()
    peer.socket.resume()
    peer.socket.pause()
    await turns()
    expect(peer.events).to.deep.equal([])
    peer.socket.resume()
    await turns()
    expect(peer.events).to.deep.equal(['1'])
  })

  it('reads the remaining frames after resume if its TCP socket broke during a pause', async () => {
    const peer = new Peer()
    peer.onEvent = () => peer.socket.pause()
    peer.say('1', '2')
    peer.say('bye')
    await turns()
    peer.raw.destroy(new Error('ECONNRESET'))
    await turns()
    const allEvents = ['1', '2', 'bye', 'close']
    // No pause can delay the close, so `close` follows `bye` immediately.
    for (const count of [1, 2, 4]) {
      await turns()
      expect(peer.events).to.deep.equal(allEvents.slice(0, count))
      peer.socket.resume()
    }
    await turns()
    expect(peer.events).to.deep.equal(allEvents)
  })

  for (const method of ['close', 'terminate'] as const) {
    it(`drops its unread frames after ${method} if its TCP socket broke during a pause`, async () => {
      const peer = new Peer()
      peer.onEvent = () => peer.socket.pause()
      peer.say('1', '2')
      await turns()
      peer.raw.destroy()
      await turns()
      expect(peer.events).to.deep.equal(['1'])
      peer.socket[method](4_000, 'enough')
      await turns()
      expect(peer.events).to.deep.equal(['1', 'close'])
    })
  }

  it('reads no frame after terminate', async () => {
    const peer = new Peer()
    peer.onEvent = () => peer.socket.pause()
    peer.say('1', '2')
    await turns()
    peer.socket.terminate()
    await turns()
    expect(peer.events).to.deep.equal(['1', 'close'])
  })

  it('ends when the close frame of its client arrives, even if the client keeps TCP open', async () => {
    for (const isClosedByBroker of [false, true]) {
      const peer = new Peer()
      if (isClosedByBroker) peer.socket.close(4_000, 'enough')
      peer.raw.push(encodeFrame(maskedFrame(0x88, '')))
      await turns()
      expect(peer.events).to.deep.equal(['close'])
      expect(peer.written).to.match(/^\u0088/)
    }
  })

  it('stays open after an invalid frame, until the client has ended the connection', async () => {
    const peer = new Peer()
    // The payload of a close frame is invalid with one byte, because a close code has two bytes.
    peer.raw.push(encodeFrame(maskedFrame(0x88, 'x')))
    await turns()
    expect(peer.events).to.deep.equal(['fault'])
    peer.raw.push(null)
    await turns()
    expect(peer.events).to.deep.equal(['fault', 'close'])
  })

  it('answers only the newest ping of a turn', async () => {
    const peer = new Peer()
    for (const data of ['one', 'two', 'three']) peer.ping(data)
    await turns()
    expect(peer.events).to.deep.equal(['control', 'control', 'control'])
    // A pong with five bytes.
    expect(peer.written).to.equal('\u008a\u0005three')
    peer.ping('four')
    await turns()
    expect(peer.written).to.equal('\u008a\u0005three\u008a\u0004four')
  })

  it('answers no ping while its buffer is full, and afterwards only the newest of these pings', async () => {
    const peer = new Peer()
    peer.isBlocked = true
    for (let i = 0; i < 1_000; i++) {
      peer.ping(`${i} ${'x'.repeat(100)}`)
      // Each ping arrives in a turn of its own, so each is the newest ping of its turn.
      await turns(2)
    }
    // The broker answered pings until the socket was full. The lower bound is generous.
    expect(peer.socket.bufferedBytes).to.be.within(16 * 1024, maxUnreadBytes)
    peer.unblock()
    await turns()
    expect(peer.socket.bufferedBytes).to.equal(0)
    expect(peer.written).to.include('999 xxx')
    expect(peer.written).not.to.include('998 xxx')
  })
})
