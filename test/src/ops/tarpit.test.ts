/**
 * Tests the tarpit, which waits for half a second before it refuses a WebSocket upgrade above a
 * rate limit. The tarpit slows down a client that connects again and again.
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { Tarpit } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeClock } from '../support/fakeClock.js'

const refusal = { status: '429 Too Many Requests', reason: 'Come back later.' }

/** Makes a tarpit that has been asked to refuse this many sockets. */
function tarpitWith(count: number) {
  const clock = new FakeClock()
  const tarpit = new Tarpit(clock)
  const sockets = Array.from({ length: count }, () => new PassThrough())
  for (const socket of sockets) tarpit.refuseLater(socket, refusal)
  return { clock, tarpit, sockets }
}

describe('the tarpit', () => {
  it('refuses an upgrade after half a second', () => {
    const { clock, sockets } = tarpitWith(2)
    clock.advance(499)
    expect(sockets.map((socket) => socket.readableLength)).to.deep.equal([0, 0])
    clock.advance(1)
    for (const socket of sockets) {
      expect(String(socket.read())).to.match(/^HTTP\/1\.1 429 .*\r\n\r\nCome back later\.\n$/s)
      expect(socket.writableEnded).to.equal(true)
    }
    expect(clock.timerCount).to.equal(0)
  })

  it('delays at most a thousand refusals, and destroys the sockets of the others', () => {
    const { clock, tarpit, sockets } = tarpitWith(1_001)
    // The thousandth socket is the last that is still open.
    expect(sockets.map((socket) => socket.destroyed).lastIndexOf(false)).to.equal(999)
    expect(sockets.at(-1)?.destroyed).to.equal(true)
    clock.advance(500)
    const laterSocket = new PassThrough()
    tarpit.refuseLater(laterSocket, refusal)
    expect(laterSocket.destroyed, 'after the earlier refusals').to.equal(false)
  })

  it('keeps no timer for a socket that closes or fails', async () => {
    const { clock, sockets } = tarpitWith(2)
    sockets[0]!.destroy()
    sockets[1]!.destroy(new Error('reset'))
    // `once` rejects at the error of the second socket.
    const closes = sockets.map((socket) => socket.closed || once(socket, 'close').catch(() => {}))
    await Promise.all(closes)
    expect(clock.timerCount).to.equal(0)
  })

  it('destroys all delayed sockets when it closes', () => {
    const { clock, tarpit, sockets } = tarpitWith(3)
    tarpit.close()
    expect(sockets.map((socket) => socket.destroyed)).to.deep.equal([true, true, true])
    expect(clock.timerCount).to.equal(0)
  })
})
