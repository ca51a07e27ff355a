/**
 * Watching: the state first, then everything that happens, once for each watch, until it is ended.
 */
import type { WatchEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'

/** The events a client has heard since it was last asked, as `watch: what key`. */
function events(client: Client): string[] {
  return client
    .heard()
    .filter((message): message is WatchEvent => message.type === 'event')
    .map(({ watch, event }) => `${watch}: ${event.event} ${event.key}`)
}

function bench(): { bench: Bench; watcher: Client; busy: Client } {
  const bench = new Bench()
  return { bench, watcher: bench.join(), busy: bench.join() }
}

describe('watch', () => {
  it('says first what is held, then what happens', () => {
    const { watcher, busy } = bench()
    const fence = busy.take('k', { metadata: { job: 7 }, mode: 'shared' })
    watcher.say({ type: 'watch', id: 1, key: 'k' })
    const lock = {
      key: 'k',
      mode: 'shared',
      session: busy.session,
      metadata: { job: 7 },
      fence,
      since: 1_700_000_000_000,
    }
    expect(watcher.heard()).to.deep.equal([
      { type: 'watching', id: 1, held: [lock], heldCount: 1, more: false },
    ])
    busy.unlock(fence)
    expect(watcher.heard()).to.deep.equal([
      { type: 'event', watch: 1, event: { event: 'unlocked', ...lock } },
    ])
  })

  it('tells unlocked, expired and lost apart', () => {
    const { bench: b, watcher, busy } = bench()
    watcher.say({ type: 'watch', id: 1 })
    const thief = b.join()
    busy.unlock(busy.take('unlocked'))
    busy.take('expired', { ttl: 100 })
    b.machine.pass(100)
    busy.take('stolen')
    thief.lock('stolen', { steal: true })
    busy.take('ended')
    busy.say({ type: 'bye' })
    expect(events(watcher)).to.deep.equal([
      '1: locked unlocked',
      '1: unlocked unlocked',
      '1: locked expired',
      '1: expired expired',
      '1: locked stolen',
      '1: lost stolen',
      '1: locked stolen',
      '1: locked ended',
      '1: lost ended',
    ])
  })

  it('tells the end of the old lock before the beginning of the new', () => {
    const { bench: b, watcher, busy } = bench()
    const fence = busy.take('k')
    b.join().lock('k')
    watcher.say({ type: 'watch', id: 1, key: 'k' })
    watcher.heard()
    busy.unlock(fence)
    expect(events(watcher)).to.deep.equal(['1: unlocked k', '1: locked k'])
  })

  it('is of one key, of a prefix, or of everything', () => {
    const { watcher, busy } = bench()
    watcher.say(
      { type: 'watch', id: 1, key: 'a:1' },
      { type: 'watch', id: 2, prefix: 'a:' },
      { type: 'watch', id: 3 },
      { type: 'watch', id: 4, prefix: '' },
    )
    watcher.heard()
    for (const key of ['a:1', 'a:2', 'a', 'b']) busy.take(key)
    expect(events(watcher).sort()).to.deep.equal([
      '1: locked a:1',
      '2: locked a:1',
      '2: locked a:2',
      '3: locked a',
      '3: locked a:1',
      '3: locked a:2',
      '3: locked b',
      '4: locked a',
      '4: locked a:1',
      '4: locked a:2',
      '4: locked b',
    ])
  })

  it('does not tell of who waits', () => {
    const { bench: b, watcher, busy } = bench()
    busy.take('k')
    watcher.say({ type: 'watch', id: 1 })
    watcher.heard()
    const waiter = b.join()
    waiter.say({ type: 'cancel', request: waiter.lock('k') })
    expect(watcher.heard()).to.deep.equal([])
  })

  it('ends when it is ended, or with its connection', () => {
    const { bench: b, watcher, busy } = bench()
    watcher.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2 }, { type: 'unwatch', watch: 1 })
    watcher.heard()
    busy.take('k')
    expect(events(watcher)).to.deep.equal(['2: locked k'])
    const before = watcher.socket.frames.length
    watcher.socket.drop()
    busy.take('l')
    b.machine.endTurn()
    expect(watcher.socket.frames).to.have.length(before)
  })

  it('is not told to others who hold the same id', () => {
    const { bench: b, watcher, busy } = bench()
    const other = b.join()
    watcher.say({ type: 'watch', id: 1, key: 'a' })
    other.say({ type: 'watch', id: 1, key: 'b' })
    watcher.heard()
    other.heard()
    other.say({ type: 'unwatch', watch: 1 })
    busy.take('a')
    busy.take('b')
    expect(events(watcher)).to.deep.equal(['1: locked a'])
    expect(events(other)).to.deep.equal([])
  })

  it('is bounded in number: more is QUOTA_EXCEEDED, and makes room when one ends', () => {
    const b = new Bench({ limits: { watchesPerSession: 2 } })
    const client = b.join()
    client.say(
      { type: 'watch', id: 1 },
      { type: 'watch', id: 2 },
      { type: 'watch', id: 3 },
      { type: 'unwatch', watch: 1 },
      { type: 'watch', id: 4 },
    )
    expect(
      client.heard().map((message) => ('id' in message ? `${message.type} ${message.id}` : '')),
    ).to.deep.equal(['watching 1', 'watching 2', 'failed 3', 'watching 4'])
  })

  it('sends a long state in parts, and the events after the last of them', () => {
    const { bench: b, watcher, busy } = bench()
    for (let i = 0; i < 100; i++) busy.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
    watcher.socket.isReading = false
    watcher.say({ type: 'watch', id: 1 })
    busy.lock('after')
    while (watcher.socket.bufferedBytes > 0) {
      watcher.socket.read()
      b.machine.endTurn()
    }
    const heard = watcher.heard()
    expect(heard.pop()).to.deep.include({ type: 'event', watch: 1 })
    const parts = heard.filter((message) => message.type === 'watching')
    expect(parts).to.have.length(heard.length)
    expect(parts.flatMap(({ held }) => held)).to.have.length(100)
    expect(parts.map(({ more }) => more)).to.deep.equal(parts.map((_, i) => i < parts.length - 1))
  })
})

describe('query', () => {
  it('shows who holds and who waits, and counts what it does not show', () => {
    const { bench: b, watcher, busy } = bench()
    busy.take('a:1')
    busy.take('a:2')
    busy.take('b')
    const waiter = b.join({ name: 'patient' })
    waiter.lock('a:1', { mode: 'shared' })
    watcher.say({ type: 'query', id: 1, prefix: 'a:', limit: 1 })
    const [found] = watcher.heard()
    const since = 1_700_000_000_000
    expect(found).to.deep.equal({
      type: 'found',
      id: 1,
      held: [{ key: 'a:1', mode: 'exclusive', session: busy.session, fence: 1, since }],
      waiting: [{ key: 'a:1', mode: 'shared', session: waiter.session, name: 'patient', since }],
      heldCount: 2,
      waitingCount: 1,
      more: false,
    })
  })

  it('of a key that nobody uses is empty', () => {
    const { watcher } = bench()
    watcher.say({ type: 'query', id: 1, key: '__proto__' })
    expect(watcher.heard()).to.deep.equal([
      {
        type: 'found',
        id: 1,
        held: [],
        waiting: [],
        heldCount: 0,
        waitingCount: 0,
        more: false,
      },
    ])
  })
})
