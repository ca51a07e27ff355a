/**
 * Tests many connections that watch the same keys, and one command that changes many of these keys.
 * The broker passes the events on in several turns of the event loop. Each watch must still get
 * each event once and in order, even if the initial state of the watch is not sent yet. A watch
 * that begins while events wait must not get the waiting events.
 */
import { turnBudget, WatchRegistry } from '@holdfast/server/internal'
import type { LockEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { collectGarbage } from '../support/garbage.js'
import { BrokerHarness, type Client } from './harness.js'

/** The number of connections that watch all keys. */
const watcherCount = 101
/** The number of locks that one command releases, which is enough for several turns. */
const lockCount = 1_000
/** The lease of each session, in ms. */
const lease = 60_000

/**
 * A broker with a client that holds many locks, and clients that watch these locks. All clients
 * have read their messages so far.
 */
function setUp() {
  const harness = new BrokerHarness()
  const holder = harness.openSession({ lease })
  for (let i = 0; i < lockCount; i += 500) {
    const ids = Array.from({ length: 500 }, (_, j) => i + j + 1)
    holder.say(...ids.map((id) => ({ type: 'lock', id, key: `k${id}` })))
  }
  holder.takeMessages()
  const watchers = Array.from({ length: watcherCount }, () => harness.openSession({ lease }))
  for (const watcher of watchers) {
    watcher.say({ type: 'watch', id: 1, prefix: 'k' })
    watcher.takeMessages()
  }
  return { harness, holder, watchers }
}

/** The keys of the events that a client has got, in order. */
function keysOf(client: Client): string[] {
  return client.takeMessages().flatMap((message) => {
    return message.type === 'event' ? [(message.event as LockEvent).key] : []
  })
}

/**
 * Ends a turn, and adds the keys of its events to `keys`, which has one list for each watcher.
 * Returns the number of these events as `count`. `hasMore` is false if the turn had no work, so no
 * later turn has work.
 */
function endTurnAndCount(harness: BrokerHarness, watchers: readonly Client[], keys: string[][]) {
  const hasMore = harness.environment.endOneTurn()
  let count = 0
  for (const [i, watcher] of watchers.entries()) {
    const heard = keysOf(watcher)
    count += heard.length
    keys[i]!.push(...heard)
  }
  return { hasMore, count }
}

const allKeys = Array.from({ length: lockCount }, (_, i) => `k${i + 1}`)

describe('events for many watching connections', function () {
  this.timeout(60_000)

  it('are passed on in several turns, in order and once', () => {
    const { harness, holder, watchers } = setUp()
    const keys = watchers.map((): string[] => [])
    // `bye` releases all locks. Unlike `holder.say`, `holder.socket.say` does not end the turn.
    holder.socket.say({ type: 'bye' })
    expect(harness.broker.table.heldCount).to.equal(0)
    let turns = 0
    for (let hasMore = true; hasMore; turns++) {
      const turn = endTurnAndCount(harness, watchers, keys)
      hasMore = turn.hasMore
      // The last event of a turn still goes to all watchers.
      expect(turn.count).to.be.at.most(turnBudget.notifications + watcherCount)
    }
    for (const heard of keys) expect(heard).to.deep.equal(allKeys)
    expect(turns).to.be.above((lockCount * watcherCount) / turnBudget.notifications)
  })

  it('come before the events of later commands', () => {
    const { harness, holder, watchers } = setUp()
    const keys = watchers.map((): string[] => [])
    // Joins first, because `join` ends all turns.
    const other = harness.openSession({ lease })
    holder.socket.say({ type: 'bye' })
    other.socket.say({ type: 'lock', id: 1, key: 'k after' })
    while (endTurnAndCount(harness, watchers, keys).hasMore);
    for (const heard of keys) expect(heard.at(-1)).to.equal('k after')
  })

  it('are not sent to a watch that begins while they wait', () => {
    const { harness, holder, watchers } = setUp()
    holder.socket.say({ type: 'bye' })
    const lateSocket = harness.connect()
    lateSocket.say({ type: 'hello', lease }, { type: 'watch', id: 1, prefix: 'k' })
    const [earlyWatcher] = watchers
    earlyWatcher!.socket.say({ type: 'watch', id: 2, prefix: 'k1' })
    harness.environment.endTurn()
    expect(lateSocket.takeMessagesOfType('watching').map(({ held }) => held)).to.deep.equal([[]])
    expect(lateSocket.takeMessagesOfType('event')).to.deep.equal([])
    // All events are for the first watch, and none for the second.
    const events = earlyWatcher!.socket.takeMessagesOfType('event')
    expect(events.map(({ watch }) => watch)).to.deep.equal(allKeys.map(() => 1))
  })

  it('tell a slow watch of the release of exactly the locks that its initial state listed', () => {
    const { harness, holder } = setUp()
    const slow = harness.openSession({ lease })
    slow.socket.isClientReading = false
    // The state of so many locks needs several messages, and the socket has no room for all.
    slow.say({ type: 'watch', id: 1, prefix: 'k' })
    holder.socket.say({ type: 'bye' })
    const listed = new Set<string>()
    const released: string[] = []
    // More turns than the broker needs.
    for (let turns = 0; turns < 500; turns++) {
      harness.environment.endOneTurn()
      for (const message of slow.takeMessages()) {
        if (message.type === 'watching') for (const { key } of message.held) listed.add(key)
        if (message.type === 'event') released.push((message.event as LockEvent).key)
      }
      slow.socket.letClientRead()
    }
    expect(listed.size, 'locks that the state listed before their release').to.be.below(lockCount)
    expect(released).to.deep.equal([...listed])
  })

  it('count as memory of the broker until the last event is sent', () => {
    const { harness, holder } = setUp()
    const { memory } = harness.broker
    const bytesBefore = memory.usedBytes
    holder.socket.say({ type: 'bye' })
    const bytesWhileWaiting = memory.usedBytes
    harness.environment.endTurn()
    // The broker pings a client after two thirds of its lease, and then counts its memory again.
    harness.environment.advance((lease * 2) / 3 + 1_000)
    const bytesAfter = memory.usedBytes
    // An event has more than 100 bytes.
    expect(bytesWhileWaiting - bytesAfter, 'bytes of the events that waited').to.be.above(
      lockCount * 100,
    )
    expect(bytesAfter).to.be.below(bytesBefore)
  })

  it('leave no data of a connection that has ended', async () => {
    const registry = new WatchRegistry({ scheduler: { turn: 0 }, endOfTurn: () => {} })
    // Stands for the search that lists the initial state of the watch.
    const search = { willFind: () => true, willVisit: () => true, isOver: false }
    const watchAndEnd = () => {
      const subscriber = { defer: () => {}, charge: () => {} }
      // The watch also gets the events of the requests that wait.
      const withQueue = true
      registry.add(subscriber, 1, { prefix: 'k' }, search, withQueue)
      registry.removeAll(subscriber)
      return new WeakRef(subscriber)
    }
    const ended = Array.from({ length: 10 }, watchAndEnd)
    // A `WeakRef` keeps its object until the end of the task.
    await new Promise(setImmediate)
    collectGarbage()
    expect(ended.filter((reference) => reference.deref() !== undefined)).to.deep.equal([])
  })
})
