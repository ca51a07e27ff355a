/**
 * Watching: the state first, then everything that happens, once for each watch, until it is ended.
 */
import type { WatchEvent } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { Bench, type Client } from './bench.js'

/** The events a client has heard since it was last asked, as `watch: what key`, for each watch. */
function events(client: Client): string[] {
  return client
    .heard()
    .filter((message): message is WatchEvent => message.type === 'event')
    .flatMap(({ watch, event }) => [watch].flat().map((id) => `${id}: ${event.event} ${event.key}`))
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
    b.environment.pass(100)
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
    b.environment.endTurn()
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
      b.environment.endTurn()
    }
    const heard = watcher.heard()
    expect(heard.pop()).to.deep.include({ type: 'event', watch: 1 })
    const parts = heard.filter((message) => message.type === 'watching')
    expect(parts).to.have.length(heard.length)
    expect(parts.flatMap(({ held }) => held)).to.have.length(100)
    expect(parts.map(({ more }) => more)).to.deep.equal(parts.map((_, i) => i < parts.length - 1))
  })
})

describe('watches of one connection that match the same event', () => {
  it('are told with one message, however many there are', () => {
    const { watcher, busy } = bench()
    const ids = Array.from({ length: 1_000 }, (_, i) => i + 1)
    watcher.say(...ids.map((id) => ({ type: 'watch', id, prefix: '' })))
    watcher.heard()
    busy.unlock(busy.take('k'))
    const heard = watcher.heard()
    expect(heard.map((message) => message.type)).to.deep.equal(['event', 'event'])
    for (const message of heard) expect(message).to.deep.include({ watch: ids })
  })

  it('are told with one message where they are nested', () => {
    const { watcher, busy } = bench()
    watcher.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2, prefix: 'a' })
    watcher.say({ type: 'watch', id: 3, key: 'ab' }, { type: 'watch', id: 4, prefix: 'abc' })
    watcher.heard()
    busy.take('ab')
    expect(watcher.heard().map((message) => 'watch' in message && message.watch)).to.deep.equal([
      [1, 2, 3],
    ])
  })

  it('are not told of what happened before they began, although it was not sent yet', () => {
    const { bench: b, watcher, busy } = bench()
    watcher.say({ type: 'watch', id: 1 })
    watcher.heard()
    busy.socket.say({ type: 'lock', id: 1, key: 'k' })
    watcher.socket.say({ type: 'watch', id: 2, prefix: 'k' })
    busy.socket.say({ type: 'lock', id: 2, key: 'k2' })
    b.environment.endTurn()
    expect(events(watcher).sort()).to.deep.equal(['1: locked k', '1: locked k2', '2: locked k2'])
  })

  it('go on when a wider watch ends, and are told once while there is one', () => {
    const { watcher, busy } = bench()
    watcher.say(
      { type: 'watch', id: 1, key: 'a' },
      { type: 'watch', id: 2, prefix: 'ab' },
      { type: 'watch', id: 3, prefix: 'abc' },
      { type: 'watch', id: 4, key: 'abcd' },
      { type: 'watch', id: 5, prefix: 'a' },
      { type: 'unwatch', watch: 5 },
    )
    watcher.heard()
    for (const key of ['a', 'ab', 'abcd']) busy.take(key)
    expect(events(watcher)).to.deep.equal([
      '1: locked a',
      '2: locked ab',
      '2: locked abcd',
      '3: locked abcd',
      '4: locked abcd',
    ])
  })

  it('cost the broker as many messages as connections match, not as watches do', () => {
    const b = new Bench()
    const crowd = Array.from({ length: 5 }, () => b.join())
    for (const client of crowd) {
      const prefixes = Array.from({ length: 100 }, (_, i) => 'k'.repeat(i))
      client.say(...prefixes.map((prefix, id) => ({ type: 'watch', id: id + 1, prefix })))
      client.heard()
    }
    b.join().take('k'.repeat(200))
    for (const client of crowd) expect(client.heard()).to.have.length(1)
  })

  it('are told by and by where that is long, so that no turn is', () => {
    const { watcher, busy } = bench()
    const ids = Array.from({ length: 1_000 }, (_, i) => i + 1)
    watcher.say(...ids.map((id) => ({ type: 'watch', id })))
    watcher.heard()
    const locks = Array.from({ length: 100 }, (_, i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    busy.socket.say(...locks)
    busy.say({ type: 'pong', n: 1 })
    expect(watcher.socket.frames.length).to.be.above(5)
    expect(events(watcher)).to.have.length(100 * 1_000)
  })

  it('hear what each of them alone would hear, whatever begins and ends', () => {
    const texts = ['', 'a', 'ab', 'abc', 'abd', 'b', 'é', 'aé']
    const step = fc.oneof(
      fc.record({
        watch: fc.integer({ min: 1, max: 8 }),
        text: fc.constantFrom(...texts),
        isKey: fc.boolean(),
      }),
      fc.record({ unwatch: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ touch: fc.constantFrom(...texts.slice(1)) }),
      fc.record({ touch: fc.constantFrom(...texts.slice(1)) }),
      fc.constant({ turn: true }),
    )
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { bench: b, watcher, busy } = bench()
      const model = new Map<number, { readonly text: string; readonly isKey: boolean }>()
      const expected: string[] = []
      let id = 0
      let fence = 0
      for (const one of steps) {
        if ('watch' in one) {
          const { watch, text, isKey } = one
          if (isKey && text === '') continue
          // What the former watch with this id has not been told yet comes to nothing.
          if (model.has(watch)) b.environment.endTurn()
          watcher.socket.say({ type: 'watch', id: watch, [isKey ? 'key' : 'prefix']: text })
          b.environment.endTurn()
          model.set(watch, one)
        } else if ('unwatch' in one) {
          b.environment.endTurn()
          watcher.socket.say({ type: 'unwatch', watch: one.unwatch })
          model.delete(one.unwatch)
        } else if ('touch' in one) {
          busy.socket.say({ type: 'lock', id: ++id, key: one.touch })
          busy.socket.say({ type: 'unlock', id: ++id, fence: ++fence })
          for (const event of ['locked', 'unlocked']) {
            for (const [watch, { text, isKey }] of model) {
              if (isKey ? one.touch !== text : !one.touch.startsWith(text)) continue
              expected.push(`${watch}: ${event} ${one.touch}`)
            }
          }
        } else b.environment.endTurn()
      }
      b.environment.endTurn()
      expect(events(watcher).sort()).to.deep.equal(expected.sort())
    })
    fc.assert(property, runs(100, 2_000))
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
