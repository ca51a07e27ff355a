/** The tarpit: if upgrades exceed a rate limit, it answers them only after half a second. */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { Tarpit } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeClock } from '../support/fakeClock.js'

const refusal = { status: '429 Too Many Requests', reason: 'Come back later.' }

/** A tarpit that delays this many sockets. */
function roomOf(count: number) {
  const clock = new FakeClock()
  const room = new Tarpit(clock)
  const raws = Array.from({ length: count }, () => new PassThrough())
  for (const raw of raws) room.refuseLater(raw, refusal)
  return { clock, room, raws }
}

describe('the tarpit', () => {
  it('refuses an upgrade after half a second', () => {
    const { clock, raws } = roomOf(2)
    clock.advance(499)
    expect(raws.map((raw) => raw.readableLength)).to.deep.equal([0, 0])
    clock.advance(1)
    for (const raw of raws) {
      expect(String(raw.read())).to.match(/^HTTP\/1\.1 429 .*\r\n\r\nCome back later\.\n$/s)
      expect(raw.writableEnded).to.equal(true)
    }
    expect(clock.timers).to.equal(0)
  })

  it('delays at most a thousand refusals, and destroys the sockets of the others', () => {
    const { clock, room, raws } = roomOf(1_001)
    expect(raws.map((raw) => raw.destroyed).lastIndexOf(false)).to.equal(999)
    expect(raws.at(-1)?.destroyed).to.equal(true)
    clock.advance(500)
    const later = new PassThrough()
    room.refuseLater(later, refusal)
    expect(later.destroyed, 'there is room again').to.equal(false)
  })

  it('forgets a connection that closes or fails', async () => {
    const { clock, raws } = roomOf(2)
    raws[0]!.destroy()
    raws[1]!.destroy(new Error('reset'))
    await Promise.all(raws.map((raw) => raw.closed || once(raw, 'close').catch(() => {})))
    expect(clock.timers).to.equal(0)
  })

  it('destroys all delayed sockets when it closes', () => {
    const { clock, room, raws } = roomOf(3)
    room.close()
    expect(raws.map((raw) => raw.destroyed)).to.deep.equal([true, true, true])
    expect(clock.timers).to.equal(0)
  })
})
