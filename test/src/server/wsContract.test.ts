/**
 * Checks that the installed `ws` meets the assumptions of the fast path, by which common frames
 * bypass `ws`. `server/src/http/fastPath/index.ts` lists the assumptions. If a release of `ws`
 * fails a check, change or remove the fast path. The checks themselves are tested with changed
 * versions of `ws`, which must fail.
 *
 * The first byte of a frame is 0x81 for a text and 0x89 for a ping. A text in two frames has the
 * first bytes 0x01 and 0x80.
 */
import type { Duplex } from 'node:stream'
import { plainTextFrame } from '@holdfast/server/internal'
import { assert } from 'chai'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import {
  adoptSocket,
  dropConnections,
  encodeFrame,
  makeSocket,
  maskedFrame,
  type Upgraded,
  upgradeConnection,
} from './upgraded.js'

type OnData = (this: Duplex, chunk: Buffer) => void
/** Makes a connection; `onWrite` is called for each write to the raw socket. */
type Connect = (onWrite?: (chunk: Buffer, done: () => void) => void) => Upgraded

const options = { noServer: true, maxPayload: 1_000, autoPong: false } as const

/** Connects. Returns the data listener of `ws`, and the messages and pings that `ws` emits. */
function connectReader(connect: Connect): { read: (bytes: Buffer) => void; heard: string[] } {
  const { raw, websocket } = connect()
  const heard: string[] = []
  websocket.on('message', (data: RawData) => heard.push(String(data)))
  websocket.on('ping', (data) => heard.push(`ping ${String(data)}`))
  websocket.on('error', () => {})
  const [onData] = raw.listeners('data') as OnData[]
  return { read: (bytes) => onData!.call(raw, Buffer.from(bytes)), heard }
}

/**
 * A connection whose writes end immediately, or stay blocked until `endWrites` is called.
 * `endWrites` returns all written text.
 */
function connectWriter(
  connect: Connect,
  isBlocked: boolean,
): Upgraded & { endWrites: () => string } {
  const chunks: Buffer[] = []
  const blocked: (() => void)[] = []
  const upgraded = connect((chunk, done) => {
    chunks.push(chunk)
    if (isBlocked) blocked.push(done)
    else done()
  })
  // Ends the write of the upgrade response.
  blocked.shift()?.()
  chunks.length = 0
  const endWrites = (): string => {
    for (let done = blocked.shift(); done; done = blocked.shift()) done()
    return Buffer.concat(chunks).toString()
  }
  return { ...upgraded, endWrites }
}

const checks: Readonly<Record<string, (connect: Connect) => void>> = {
  'has one data listener': (connect) => {
    assert.lengthOf(connect().raw.listeners('data'), 1)
  },

  'keeps no state in its data listener between frames': (connect) => {
    const text = encodeFrame(maskedFrame(0x81, 'next'))
    for (let at = 0; at <= text.length; at++) {
      const { read, heard } = connectReader(connect)
      read(encodeFrame(maskedFrame(0x81, 'first')))
      read(encodeFrame(maskedFrame(0x89, 'p')))
      // Before the next text, the fast path could itself read texts, of which `ws` gets no byte.
      for (const part of [text.subarray(0, at), text.subarray(at)]) {
        if (part.length > 0) read(part)
      }
      assert.deepEqual(heard, ['first', 'ping p', 'next'])
    }
  },

  'emits a message before its data listener returns': (connect) => {
    const { read, heard } = connectReader(connect)
    read(encodeFrame(maskedFrame(0x01, 'a')))
    read(encodeFrame(maskedFrame(0x89, 'p')))
    assert.deepEqual(heard, ['ping p'])
    read(encodeFrame(maskedFrame(0x80, 'b')))
    assert.deepEqual(heard, ['ping p', 'ab'])
  },

  'emits neither a refused message nor a later one': (connect) => {
    const { read, heard } = connectReader(connect)
    // The byte 0xff is not UTF-8.
    read(encodeFrame({ ...maskedFrame(0x81, ''), payload: Buffer.from([0xff]) }))
    read(encodeFrame(maskedFrame(0x81, 'after the refused message')))
    assert.deepEqual(heard, [])
  },

  'keeps its own writes and raw writes in order': (connect) => {
    for (const isBlocked of [false, true]) {
      const { raw, websocket, endWrites } = connectWriter(connect, isBlocked)
      websocket.send('1')
      raw.write(plainTextFrame('2')!, 'latin1')
      websocket.send('3é')
      websocket.send(Buffer.from('4'))
      raw.write(plainTextFrame('5')!, 'latin1')
      websocket.pong('6')
      raw.write(plainTextFrame('7')!, 'latin1')
      websocket.close(4_000, '8')
      raw.write(plainTextFrame('9')!, 'latin1')
      assert.equal(endWrites().replace(/[^1-9]/g, ''), '123456789')
    }
  },

  'counts raw writes as buffered': (connect) => {
    const isBlocked = true
    const { raw, websocket } = connectWriter(connect, isBlocked)
    const before = websocket.bufferedAmount
    raw.write(plainTextFrame('x'.repeat(100))!, 'latin1')
    // The frame has two bytes before its text.
    assert.equal(websocket.bufferedAmount, before + 102)
  },

  'pauses the raw socket, and leaves unread bytes in the socket until the close': (connect) => {
    const { raw, websocket } = connect()
    websocket.pause()
    assert.isTrue(raw.isPaused())
    raw.push(encodeFrame(maskedFrame(0x81, 'unread')))
    let unread = 0
    // This listener runs before the listener of `ws`, which reads the bytes.
    raw.prependListener('close', () => {
      unread = raw.readableLength
    })
    raw.emit('close')
    assert.equal(unread, encodeFrame(maskedFrame(0x81, 'unread')).length)
  },
}

/** `ws` with a change to each connection. */
function withChange(change: (upgraded: Upgraded) => void): Connect {
  return (onWrite) => {
    const upgraded = upgradeConnection(new WebSocketServer(options), onWrite)
    change(upgraded)
    return upgraded
  }
}

/** `ws` with another class of WebSockets. */
function withSockets(Class: typeof WebSocket): Connect {
  return (onWrite) =>
    upgradeConnection(new WebSocketServer({ ...options, WebSocket: Class }), onWrite)
}

/** `ws` with another data listener. */
function withListener(make: (raw: Duplex, original: OnData) => OnData): Connect {
  return withChange(({ raw }) => {
    const [original] = raw.listeners('data') as OnData[]
    raw.off('data', original!)
    raw.on('data', make(raw, original!))
  })
}

/** Changed versions of `ws` that break an assumption, each with the check that must fail. */
const breaches: readonly (readonly [breach: string, checkName: string, connect: Connect])[] = [
  [
    'has a second data listener',
    'has one data listener',
    withChange(({ raw }) => raw.on('data', () => {})),
  ],
  [
    'keeps the last chunk in its data listener',
    'keeps no state in its data listener between frames',
    withListener((raw, original) => {
      let lastChunk = Buffer.alloc(0)
      return (chunk) => {
        original.call(raw, lastChunk)
        lastChunk = Buffer.from(chunk)
      }
    }),
  ],
  [
    'counts the bytes of the stream in its data listener',
    'keeps no state in its data listener between frames',
    withListener((raw, original) => {
      let bytes = 0
      return (chunk) => {
        bytes += chunk.length
        // Ignores chunks after which the number of bytes is even.
        if (bytes % 2 === 1) original.call(raw, chunk)
      }
    }),
  ],
  [
    'emits messages in a later turn',
    'emits a message before its data listener returns',
    (onWrite) =>
      upgradeConnection(
        new WebSocketServer({ ...options, allowSynchronousEvents: false }),
        onWrite,
      ),
  ],
  [
    'emits messages that are not UTF-8',
    'emits neither a refused message nor a later one',
    (onWrite) =>
      upgradeConnection(new WebSocketServer({ ...options, skipUTF8Validation: true }), onWrite),
  ],
  [
    'queues messages until the next turn',
    'keeps its own writes and raw writes in order',
    withSockets(
      class extends WebSocket {
        override send(data: unknown): void {
          setImmediate(() => super.send(data as string))
        }
      },
    ),
  ],
  [
    'keeps pongs back until the close',
    'keeps its own writes and raw writes in order',
    withSockets(
      class extends WebSocket {
        readonly #pongs: unknown[] = []

        override pong(data?: unknown): void {
          this.#pongs.push(data)
        }

        override close(code?: number, reason?: string): void {
          for (const data of this.#pongs) super.pong(data)
          super.close(code, reason)
        }
      },
    ),
  ],
  [
    'counts no raw writes',
    'counts raw writes as buffered',
    withChange(({ websocket }) => Object.defineProperty(websocket, 'bufferedAmount', { value: 0 })),
  ],
  [
    'does not pause the raw socket',
    'pauses the raw socket, and leaves unread bytes in the socket until the close',
    withSockets(
      class extends WebSocket {
        override pause(): void {}
      },
    ),
  ],
]

describe('the contract with ws', () => {
  afterEach(dropConnections)

  const installedWs: Connect = (onWrite) => upgradeConnection(new WebSocketServer(options), onWrite)

  for (const [checkName, check] of Object.entries(checks)) {
    it(`ws ${checkName}`, () => check(installedWs))
    it(`ws ${checkName}, for a WebSocket that was made without an upgrade`, () => {
      check((onWrite) => adoptSocket(makeSocket(onWrite), options))
    })
  }

  it('ws adds its data listener last, and does not resume a paused socket', () => {
    const raw = makeSocket()
    const onData = (): void => {}
    raw.on('data', onData)
    raw.pause()
    adoptSocket(raw, options)
    const [first, last] = raw.listeners('data')
    assert.strictEqual(first, onData)
    assert.isDefined(last)
    assert.isTrue(raw.isPaused())
  })

  for (const [breach, checkName, connect] of breaches) {
    it(`is broken by a ws that ${breach}`, () => {
      assert.throws(() => checks[checkName]!(connect))
    })
  }

  it('has for each check a changed ws that fails the check', () => {
    const breached = new Set(breaches.map(([, checkName]) => checkName))
    assert.deepEqual([...breached].sort(), Object.keys(checks).sort())
  })
})
