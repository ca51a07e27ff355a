/**
 * Tests watches and queries. For a watch, the broker sends the held locks first, and then each
 * event of the watched keys once. A fence is the number of a grant, and identifies the granted
 * lock. The fake wall clock of the broker begins at 1,700,000,000,000 ms.
 */
import type { WatchEvent } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

/**
 * The events that a client got since the last call. An event for several watches is listed once for
 * each watch, as `watch: event key`.
 */
function events(client: Client): string[] {
  return client
    .takeMessages()
    .filter((message): message is WatchEvent => message.type === 'event')
    .flatMap(({ watch, event }) => [watch].flat().map((id) => `${id}: ${event.event} ${event.key}`))
}

/** A broker with a client that watches, and a client that locks and unlocks. */
function setUp(): { harness: BrokerHarness; watcher: Client; busy: Client } {
  const harness = new BrokerHarness()
  return { harness, watcher: harness.openSession(), busy: harness.openSession() }
}

describe('a watch', () => {
  it('gets the held locks first, then the events', () => {
    const { watcher, busy } = setUp()
    const fence = busy.acquire('k', { metadata: { job: 7 }, mode: 'shared' })
    watcher.say({ type: 'watch', id: 1, key: 'k' })
    const lock = {
      key: 'k',
      mode: 'shared',
      session: busy.session,
      metadata: { job: 7 },
      fence,
      since: 1_700_000_000_000,
    }
    expect(watcher.takeMessages()).to.deep.equal([
      { type: 'watching', id: 1, held: [lock], heldCount: 1, more: false },
    ])
    busy.unlock(fence)
    expect(watcher.takeMessages()).to.deep.equal([
      { type: 'event', watch: 1, event: { event: 'unlocked', ...lock } },
    ])
  })

  it('reports unlocked, expired and lost as different events', () => {
    const { harness, watcher, busy } = setUp()
    watcher.say({ type: 'watch', id: 1 })
    const stealer = harness.openSession()
    busy.unlock(busy.acquire('a'))
    busy.acquire('b', { ttl: 100 })
    harness.environment.advance(100)
    busy.acquire('c')
    stealer.lock('c', { steal: true })
    busy.acquire('d')
    // The end of the session releases `d`.
    busy.say({ type: 'bye' })
    expect(events(watcher)).to.deep.equal([
      '1: locked a',
      '1: unlocked a',
      '1: locked b',
      '1: expired b',
      '1: locked c',
      '1: lost c',
      '1: locked c',
      '1: locked d',
      '1: lost d',
    ])
  })

  it('reports the end of the old lock before the grant of the new lock', () => {
    const { harness, watcher, busy } = setUp()
    const fence = busy.acquire('k')
    harness.openSession().lock('k')
    watcher.say({ type: 'watch', id: 1, key: 'k' })
    watcher.takeMessages()
    busy.unlock(fence)
    expect(events(watcher)).to.deep.equal(['1: unlocked k', '1: locked k'])
  })

  it('covers one key, a prefix, or all keys', () => {
    const { watcher, busy } = setUp()
    watcher.say(
      { type: 'watch', id: 1, key: 'a:1' },
      { type: 'watch', id: 2, prefix: 'a:' },
      { type: 'watch', id: 3 },
      { type: 'watch', id: 4, prefix: '' },
    )
    watcher.takeMessages()
    for (const key of ['a:1', 'a:2', 'a', 'b']) busy.acquire(key)
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

  it('does not report waiting requests', () => {
    const { harness, watcher, busy } = setUp()
    busy.acquire('k')
    watcher.say({ type: 'watch', id: 1 })
    watcher.takeMessages()
    const waiter = harness.openSession()
    waiter.say({ type: 'cancel', request: waiter.lock('k') })
    expect(watcher.takeMessages()).to.deep.equal([])
  })

  it('ends with an `unwatch`, or with its connection', () => {
    const { harness, watcher, busy } = setUp()
    watcher.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2 }, { type: 'unwatch', watch: 1 })
    watcher.takeMessages()
    busy.acquire('k')
    expect(events(watcher)).to.deep.equal(['2: locked k'])
    const frameCount = watcher.socket.frames.length
    watcher.socket.drop()
    busy.acquire('l')
    harness.environment.endTurn()
    expect(watcher.socket.frames).to.have.length(frameCount)
  })

  it('is independent of another client’s watch with the same id', () => {
    const { harness, watcher, busy } = setUp()
    const other = harness.openSession()
    watcher.say({ type: 'watch', id: 1, key: 'a' })
    other.say({ type: 'watch', id: 1, key: 'b' })
    watcher.takeMessages()
    other.takeMessages()
    other.say({ type: 'unwatch', watch: 1 })
    busy.acquire('a')
    busy.acquire('b')
    expect(events(watcher)).to.deep.equal(['1: locked a'])
    expect(events(other)).to.deep.equal([])
  })

  it('fails beyond `watchesPerSession`, until the client ends another watch', () => {
    const harness = new BrokerHarness({ limits: { watchesPerSession: 2 } })
    const client = harness.openSession()
    client.say(
      { type: 'watch', id: 1 },
      { type: 'watch', id: 2 },
      { type: 'watch', id: 3 },
      { type: 'unwatch', watch: 1 },
      { type: 'watch', id: 4 },
    )
    expect(
      client
        .takeMessages()
        .map((message) => ('id' in message ? `${message.type} ${message.id}` : '')),
    ).to.deep.equal(['watching 1', 'watching 2', 'failed 3', 'watching 4'])
  })

  it('gets many held locks in parts, and the events after the last part', () => {
    const { harness, watcher, busy } = setUp()
    for (let i = 0; i < 100; i++) busy.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
    watcher.socket.isClientReading = false
    watcher.say({ type: 'watch', id: 1 })
    busy.lock('after')
    while (watcher.socket.bufferedBytes > 0) {
      watcher.socket.letClientRead()
      harness.environment.endTurn()
    }
    const heard = watcher.takeMessages()
    expect(heard.pop()).to.deep.include({ type: 'event', watch: 1 })
    const parts = heard.filter((message) => message.type === 'watching')
    expect(parts, 'all messages before the event').to.have.length(heard.length)
    expect(parts.flatMap(({ held }) => held)).to.have.length(100)
    expect(parts.map(({ more }) => more)).to.deep.equal(parts.map((_, i) => i < parts.length - 1))
  })
})

describe('watches of one connection that match the same event', () => {
  it('get the event in one message', () => {
    const { watcher, busy } = setUp()
    const ids = Array.from({ length: 1_000 }, (_, i) => i + 1)
    watcher.say(...ids.map((id) => ({ type: 'watch', id, prefix: '' })))
    watcher.takeMessages()
    busy.unlock(busy.acquire('k'))
    const heard = watcher.takeMessages()
    expect(heard.map((message) => message.type)).to.deep.equal(['event', 'event'])
    for (const message of heard) expect(message).to.deep.include({ watch: ids })
  })

  it('get the event in one message if their prefixes are nested', () => {
    const { watcher, busy } = setUp()
    watcher.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2, prefix: 'a' })
    watcher.say({ type: 'watch', id: 3, key: 'ab' }, { type: 'watch', id: 4, prefix: 'abc' })
    watcher.takeMessages()
    busy.acquire('ab')
    expect(
      watcher.takeMessages().map((message) => 'watch' in message && message.watch),
    ).to.deep.equal([[1, 2, 3]])
  })

  it('each get only the events after its own start, even if earlier events are not written yet', () => {
    const { harness, watcher, busy } = setUp()
    watcher.say({ type: 'watch', id: 1 })
    watcher.takeMessages()
    // `socket.say` does not end the turn, so the broker has not written this event yet.
    busy.socket.say({ type: 'lock', id: 1, key: 'k' })
    watcher.socket.say({ type: 'watch', id: 2, prefix: 'k' })
    busy.socket.say({ type: 'lock', id: 2, key: 'k2' })
    harness.environment.endTurn()
    expect(events(watcher).sort()).to.deep.equal(['1: locked k', '1: locked k2', '2: locked k2'])
  })

  it('go on when a watch with a shorter prefix ends', () => {
    const { watcher, busy } = setUp()
    watcher.say(
      { type: 'watch', id: 1, key: 'a' },
      { type: 'watch', id: 2, prefix: 'ab' },
      { type: 'watch', id: 3, prefix: 'abc' },
      { type: 'watch', id: 4, key: 'abcd' },
      { type: 'watch', id: 5, prefix: 'a' },
      { type: 'unwatch', watch: 5 },
    )
    watcher.takeMessages()
    for (const key of ['a', 'ab', 'abcd']) busy.acquire(key)
    expect(events(watcher)).to.deep.equal([
      '1: locked a',
      '2: locked ab',
      '2: locked abcd',
      '3: locked abcd',
      '4: locked abcd',
    ])
  })

  it('get one message for all of them, also if several connections have such watches', () => {
    const harness = new BrokerHarness()
    const crowd = Array.from({ length: 5 }, () => harness.openSession())
    for (const client of crowd) {
      const prefixes = Array.from({ length: 100 }, (_, i) => 'k'.repeat(i))
      client.say(...prefixes.map((prefix, id) => ({ type: 'watch', id: id + 1, prefix })))
      client.takeMessages()
    }
    harness.openSession().acquire('k'.repeat(200))
    for (const client of crowd) expect(client.takeMessages()).to.have.length(1)
  })

  it('get many long messages in several frames, so that no turn encodes all of them', () => {
    const { watcher, busy } = setUp()
    const ids = Array.from({ length: 1_000 }, (_, i) => i + 1)
    watcher.say(...ids.map((id) => ({ type: 'watch', id })))
    watcher.takeMessages()
    const locks = Array.from({ length: 100 }, (_, i) => ({ type: 'lock', id: i + 1, key: `k${i}` }))
    busy.socket.say(...locks)
    // The pong does nothing, but `busy.say` ends the turn.
    busy.say({ type: 'pong', n: 1 })
    expect(watcher.socket.frames.length).to.be.above(5)
    // The watcher has got 100 events, each for 1,000 watches.
    expect(events(watcher)).to.have.length(100 * 1_000)
  })

  it('get the events that each watch would get alone, for any watches and unwatches', () => {
    const texts = ['', 'a', 'ab', 'abc', 'abd', 'b', 'é', 'aé']
    const step = fc.oneof(
      fc.record({
        watch: fc.integer({ min: 1, max: 8 }),
        text: fc.constantFrom(...texts),
        isKey: fc.boolean(),
      }),
      fc.record({ unwatch: fc.integer({ min: 1, max: 8 }) }),
      // This step locks and unlocks a key, which cannot be empty. The list has the step twice, so
      // that keys often change.
      fc.record({ touch: fc.constantFrom(...texts.slice(1)) }),
      fc.record({ touch: fc.constantFrom(...texts.slice(1)) }),
      fc.constant({ turn: true }),
    )
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { harness, watcher, busy } = setUp()
      /** By id, the watches that have begun and not ended. */
      const openWatches = new Map<number, { readonly text: string; readonly isKey: boolean }>()
      const expected: string[] = []
      let id = 0
      let fence = 0
      for (const action of steps) {
        if ('watch' in action) {
          const { watch, text, isKey } = action
          if (isKey && text === '') continue
          // A new watch replaces an open watch with the same id. The broker then drops the
          // events of the open watch that are not written. So the test first ends the turn.
          if (openWatches.has(watch)) harness.environment.endTurn()
          watcher.socket.say({ type: 'watch', id: watch, [isKey ? 'key' : 'prefix']: text })
          harness.environment.endTurn()
          openWatches.set(watch, action)
        } else if ('unwatch' in action) {
          harness.environment.endTurn()
          watcher.socket.say({ type: 'unwatch', watch: action.unwatch })
          openWatches.delete(action.unwatch)
        } else if ('touch' in action) {
          busy.socket.say({ type: 'lock', id: ++id, key: action.touch })
          busy.socket.say({ type: 'unlock', id: ++id, fence: ++fence })
          for (const event of ['locked', 'unlocked']) {
            for (const [watch, { text, isKey }] of openWatches) {
              if (isKey ? action.touch !== text : !action.touch.startsWith(text)) continue
              expected.push(`${watch}: ${event} ${action.touch}`)
            }
          }
        } else harness.environment.endTurn()
      }
      harness.environment.endTurn()
      expect(events(watcher).sort()).to.deep.equal(expected.sort())
    })
    fc.assert(property, quickOrFullRuns(100, 2_000))
  })
})

describe('a query', () => {
  it('lists locks and waiting requests up to its limit, and counts all of them', () => {
    const { harness, watcher, busy } = setUp()
    busy.acquire('a:1')
    busy.acquire('a:2')
    busy.acquire('b')
    const waiter = harness.openSession({ name: 'patient' })
    waiter.lock('a:1', { mode: 'shared' })
    watcher.say({ type: 'query', id: 1, prefix: 'a:', limit: 1 })
    const [found] = watcher.takeMessages()
    const since = 1_700_000_000_000
    // The counts include `a:2`, which the limit leaves out. `more` is false in the last part.
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

  it('returns nothing for an unused key, even if every object has a property with this name', () => {
    const { watcher } = setUp()
    watcher.say({ type: 'query', id: 1, key: '__proto__' })
    expect(watcher.takeMessages()).to.deep.equal([
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
