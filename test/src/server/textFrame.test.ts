/**
 * Tests the text frames that the broker encodes itself and writes to the raw socket, without `ws`
 * (the fast path). A client of the package `ws` must read these frames.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { plainTextFrame } from '@holdfast/server/internal'
import { assert } from 'chai'
import { type RawData, WebSocket, WebSocketServer } from 'ws'

describe('a text frame of the fast path', () => {
  let server: Server
  let client: WebSocket
  /** The server's raw socket, to which the tests write the frames of the fast path. */
  let raw: Duplex
  /** The server's end of the WebSocket, to which `ws` writes. */
  let serverEnd: WebSocket

  before(async () => {
    server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const webSocketServer = new WebSocketServer({ noServer: true })
    const accepted = once(server, 'upgrade').then(([request, socket, head]) => {
      raw = socket as Duplex
      return new Promise<void>((resolve) => {
        webSocketServer.handleUpgrade(request, socket, head, (websocket) => {
          serverEnd = websocket
          resolve()
        })
      })
    })
    client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await Promise.all([once(client, 'open'), accepted])
  })

  after(() => {
    client.terminate()
    server.close()
  })

  /** Calls `send`, and resolves with the next `count` messages that the client gets. */
  function received(count: number, send: () => void): Promise<string[]> {
    return new Promise((resolve) => {
      const texts: string[] = []
      client.on('message', function onMessage(data: RawData, isBinary: boolean) {
        texts.push(isBinary ? 'binary' : String(data))
        if (texts.length < count) return
        client.off('message', onMessage)
        resolve(texts)
      })
      send()
    })
  }

  // The length takes one byte of the header up to 125, and two more bytes up to 65,535.
  for (const length of [0, 1, 2, 125, 126, 127, 255, 256, 32_768, 65_535]) {
    it(`of ${length} characters arrives unchanged`, async () => {
      // The 95 printable characters of ASCII, from the space (32) on.
      const text = Array.from({ length }, (_, i) => String.fromCharCode(32 + (i % 95))).join('')
      const texts = await received(1, () => raw.write(plainTextFrame(text)!, 'latin1'))
      assert.deepEqual(texts, [text])
    })
  }

  it('arrives in order with the frames that ws writes', async () => {
    const texts = await received(4, () => {
      raw.write(plainTextFrame('1')!, 'latin1')
      serverEnd.send('2é')
      raw.write(plainTextFrame('3')!, 'latin1')
      serverEnd.send('4')
    })
    assert.deepEqual(texts, ['1', '2é', '3', '4'])
  })

  it('is not made for long texts, nor for characters beyond printable ASCII', () => {
    for (const text of ['é', 'a\u007f', 'a\nb', '\u0000', '😀', 'x'.repeat(65_536)]) {
      assert.isUndefined(plainTextFrame(text), JSON.stringify(text.slice(0, 8)))
    }
  })
})
