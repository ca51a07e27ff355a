/**
 * Tests a session over cells with three brokers. Each broker is a cell, which serves a third of the
 * keys. The slot of a key, a hash, decides the cell. Keys can have a tag, a text in braces. The
 * slot of `{a}x` is the slot of the key `a`. A session over cells opens an ordinary session in a
 * cell at the first use of that cell. A scope is one logical task of a session, and locks keys for
 * this task. A session is in jeopardy while its connection is down.
 */
import { once as onceEvent } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { LockEvent, Session, WebSocketConstructor } from '@holdfast/client'
import {
  type CellConnectOptions,
  type CellSession,
  type CellWatchEvent,
  connect,
} from '@holdfast/client/cells'
import type { BrokerOptions } from '@holdfast/server'
import { cellOfSlot, slotOf } from '@holdfast/shared'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Collector, expectRejection, type RunningBroker, Stage } from './stage.js'

const cellCount = 3

/** A key that begins with `start` and belongs to this cell. The numbers of cells begin with 1. */
function keyIn(cell: number, start = 'k'): string {
  for (let i = 0; ; i++) {
    const key = `${start}${i}`
    if (cellOfSlot(slotOf(key), cellCount) === cell) return key
  }
}

const cellNumbers = [1, 2, 3]
/** One key of each cell. */
const keys = cellNumbers.map((cell) => keyIn(cell))

describe('e2e: a session over cells', () => {
  const stage = Stage.forEachTest()

  /** Starts a broker for each cell. */
  async function startCells(options: BrokerOptions = {}): Promise<RunningBroker[]> {
    return Promise.all(
      cellNumbers.map((number) =>
        stage.startBroker({ ...options, cell: `${number}/${cellCount}` }),
      ),
    )
  }

  /** Connects to these cells, and closes the session after the test. */
  async function open(
    cells: readonly RunningBroker[],
    options: Partial<CellConnectOptions> = {},
  ): Promise<CellSession> {
    const session = await connect({ cells: cells.map(({ url }) => [url]), ...options })
    stage.onCleanUp(() => session.close())
    return session
  }

  it('locks each key in its cell, and opens a session at the first use of a cell', async () => {
    const cells = await startCells()
    const session = await open(cells, { name: 'n' })
    const sessions = () => cells.map(({ broker }) => broker.status().sessions)
    expect(sessions()).to.deep.equal([0, 0, 0])
    const lock = await session.lock(keys[1]!)
    expect([lock.key, lock.held, session.cellOf(keys[1]!)]).to.deep.equal([keys[1], true, 2])
    expect(sessions()).to.deep.equal([0, 1, 0])
    await session.lock(keys[0]!)
    await session.tryLock(keys[2]!, { mode: 'shared' })
    for (const [i, { broker }] of cells.entries()) {
      expect(broker.query().held.map(({ key, name }) => [key, name])).to.deep.equal([
        [keys[i], 'n'],
      ])
    }
    expect(session.state).to.equal('connected')
    await lock.unlock()
    expect(cells[1]!.broker.query().heldCount).to.equal(0)
    expect((await session.sessionFor(keys[1]!)).id).to.be.a('string')
  })

  it('has the calls of a session for locks, barriers, elections and queries', async () => {
    const session = await open(await startCells())
    type LockCall = 'lock' | 'tryLock' | 'withLock' | 'lockAll' | 'tryLockAll' | 'withLockAll'
    type OtherCall = 'singleflightLock' | 'barrier' | 'campaign' | 'observe' | 'query' | 'revoke'
    type CommonCall = LockCall | OtherCall | 'authenticate' | 'stats' | 'close'
    // Compiles only if a session over cells can replace a session in code with these calls. The
    // list omits `once`, which computes a value or adds a listener. The events of a session over
    // cells have other arguments.
    const likeSession: Pick<Session, CommonCall> = session
    for (const key of keys) {
      expect(await likeSession.withLock(key, (lock) => lock.key)).to.equal(key)
      const sharedLocks = await Promise.all([
        likeSession.singleflightLock(key),
        likeSession.singleflightLock(key),
      ])
      expect(sharedLocks[0].fence).to.equal(sharedLocks[1].fence)
      await Promise.all(sharedLocks.map((lock) => lock.unlock()))
      expect(await session.once(key, () => `value of ${key}`)).to.equal(`value of ${key}`)
      await Promise.all([
        likeSession.barrier(key, { parties: 2 }),
        likeSession.barrier(key, { parties: 2 }),
      ])
      const leadership = await likeSession.campaign(key, { value: key })
      const leaders = likeSession.observe(key)
      expect((await leaders.next()).value?.value).to.equal(key)
      await leaders.return!()
      expect(await leaders.next()).to.deep.equal({ done: true, value: undefined })
      await leadership.resign()
      const lock = await likeSession.lock(key)
      await likeSession.revoke(key, { fence: lock.fence, reason: 'test' })
    }
  })

  it('has a session for each cell, which a client gets by a key or by the number of the cell', async () => {
    const cells = await startCells()
    const session = await open(cells)
    const second = await session.sessionOfCell(2)
    expect(await session.sessionFor(keys[1]!)).to.equal(second)
    expect(cells.map(({ broker }) => broker.status().sessions)).to.deep.equal([0, 1, 0])
    await second.close()
    expect(await session.sessionOfCell(2)).to.not.equal(second)
    for (const cell of [0, 4, 1.5, '1' as never]) {
      const error = await expectRejection(session.sessionOfCell(cell), 'INVALID_OPTION')
      expect(error.message).to.match(
        /^cell must be an integer from 1 to 3: the session has 3 cells/,
      )
    }
    await expectRejection(session.sessionFor(''), 'INVALID_KEY')
    await expectRejection(session.sessionFor('k', { sginal: 1 } as never), 'INVALID_OPTION')
    await expectRejection(session.sessionFor('k', { signal: 1 as never }), 'INVALID_OPTION')
    await expectRejection(session.sessionFor('k', { signal: AbortSignal.abort() }), 'ABORTED')
    await expectRejection(session.sessionOfCell(1, { sginal: 1 } as never), 'INVALID_OPTION')
    await expectRejection(session.sessionOfCell(1, { signal: AbortSignal.abort() }), 'ABORTED')
  })

  it('excludes another session over cells from its keys', async () => {
    const cells = await startCells()
    const [a, b] = [await open(cells), await open(cells)]
    const locks = await Promise.all(keys.map((key) => a.lock(key)))
    for (const key of keys) await expectRejection(b.tryLock(key), 'LOCK_HELD')
    const waiting = keys.map((key) => b.lock(key))
    await Promise.all(locks.map((lock) => lock.unlock()))
    const granted = await Promise.all(waiting)
    expect(granted.every((lock, i) => lock.fence > locks[i]!.fence)).to.equal(true)
  })

  it('locks sets of keys with one tag, and refuses other sets', async () => {
    const session = await open(await startCells())
    for (const key of keys) {
      const set = await session.lockAll([
        `{${key}}:items`,
        { key: `{${key}}:bill`, mode: 'shared' },
      ])
      expect(set.held).to.equal(true)
      await expectRejection(session.tryLockAll([`{${key}}:items`]), 'LOCK_HELD')
      await set.unlock()
    }
    expect(await session.withLockAll(['{t}a', '{t}b'], () => 1)).to.equal(1)
    const error = await expectRejection(session.lockAll(keys), 'INVALID_OPTION')
    expect(error.message).to.equal(
      `the keys "${keys[0]}" and "${keys[1]}" of lockAll may be in different cells: ` +
        'give all keys the same tag, such as {order:42}',
    )
    // Two keys of one cell with different slots are refused too.
    const other = keyIn(1, 'other')
    expect(slotOf(other)).to.not.equal(slotOf(keys[0]!))
    await expectRejection(session.tryLockAll([keys[0]!, other]), 'INVALID_OPTION')
    await expectRejection(session.lockAll([]), 'INVALID_OPTION')
  })

  it('runs a scope in the cell of its tag, and refuses keys of other cells in the scope', async () => {
    const session = await open(await startCells())
    // A tag and a key with the same text have the same slot.
    const [tag, keyOfCell2] = keys
    await session.scope(
      async (scope) => {
        const lock = await scope.lock(`{${tag}}:a`)
        // A scope that locks its key again gets the same lock.
        expect((await scope.lock(`{${tag}}:a`)).fence).to.equal(lock.fence)
        const error = await expectRejection(scope.lock(keyOfCell2!), 'INVALID_KEY')
        expect(error.message).to.match(
          /the key belongs to cell 2 of 3, and this broker serves cell 1/,
        )
      },
      { tag: tag! },
    )
    await expectRejection(
      session.scope(() => 1, undefined as never),
      'INVALID_OPTION',
    )
    await expectRejection(
      session.scope(() => 1, { tag: '{x}' }),
      'INVALID_OPTION',
    )
  })

  it('is refused if its list of cells differs from the real cells in order or length', async () => {
    const cells = await startCells()
    const urls = cells.map(({ url }) => [url])
    const lists = [
      [urls[1]!, urls[0]!, urls[2]!],
      urls.slice(0, 2),
      [...urls, ['ws://127.0.0.1:1']],
    ]
    for (const list of lists) {
      const session = await connect({ cells: list })
      stage.onCleanUp(() => session.close())
      // The session takes this key for a key of the first cell in its list.
      const key = ['a', 'b', 'c', 'd', 'e'].find((name) => session.cellOf(name) === 1)!
      const error = await expectRejection(session.lock(key), 'INVALID_OPTION')
      expect(error.message).to.match(
        /wrong cell: this broker is cell \d\/3, but the client expects 1\/\d/,
      )
    }
    expect(cells.map(({ broker }) => broker.query().heldCount)).to.deep.equal([0, 0, 0])
    const brokerWithoutCell = await stage.startBroker()
    const session = await connect({ cells: [[brokerWithoutCell.url]] })
    stage.onCleanUp(() => session.close())
    const error = await expectRejection(session.stats(), 'INVALID_OPTION')
    expect(error.message).to.match(/this broker has no cell, but the client expects 1\/1/)
  })

  it('is necessary, because the broker of one cell refuses the keys of other cells', async () => {
    const [first] = await startCells()
    const session = await stage.openSession(first!.url)
    await session.lock(keys[0]!)
    const error = await expectRejection(session.lock(keys[1]!), 'INVALID_KEY')
    expect(error.message).to.match(/the key belongs to cell 2 of 3, and this broker serves cell 1/)
  })

  it('answers queries and statistics for all cells together', async () => {
    const cells = await startCells()
    const session = await open(cells)
    const names = Array.from({ length: 40 }, (_, i) => `q${String(i).padStart(2, '0')}`)
    for (const name of names) await session.lock(name, { mode: 'shared' })
    // One key gets 24 more locks, which do not fit into one page. The session then holds 64 locks.
    const crowded = names[20]!
    for (let i = 0; i < 24; i++) await session.lock(crowded, { mode: 'shared' })
    const whole = await session.query({ prefix: 'q' })
    expect([whole.held.length, whole.heldCount, whole.waitingCount]).to.deep.equal([64, 64, 0])
    expect((await session.query({ key: names[3]! })).heldCount).to.equal(1)
    const paged: string[] = []
    let after = ''
    let afterFence: number | undefined
    const pageSize = 10
    for (;;) {
      const page = await session.query({ prefix: 'q', after, afterFence, limit: pageSize })
      paged.push(...page.held.map(({ key, fence }) => `${key} ${fence}`))
      // `heldCount` counts the locks of this page and of all later pages.
      if (page.held.length === page.heldCount) break
      after = page.held.at(-1)!.key
      // A page has all locks of each of its keys, unless the first key alone exceeds the limit.
      // Then the next page begins after the fence (number of the grant) of the last lock.
      // `after` is now the last key of this page.
      const isWithinKey = page.held.length === pageSize && page.held[0]!.key === after
      afterFence = isWithinKey ? page.held.at(-1)!.fence : undefined
    }
    expect(paged).to.have.length(64)
    expect(paged).to.deep.equal([...new Set(paged)].sort())
    const stats = await session.stats()
    expect(stats).to.include({ totalLocks: 64, activeLocks: 64, failedLocks: 0, successRate: 1 })
    await expectRejection(session.query({ limit: 0 }), 'INVALID_OPTION')
  })

  it('lists the barriers and the kept results of `once` of all cells', async () => {
    const session = await open(await startCells())
    for (const key of keys) {
      // This call waits, because the barrier needs three calls. It rejects at the end of the test.
      session.barrier(key, { parties: 3 }).catch(() => {})
      // The broker keeps this result for 60 s.
      await session.once(key, () => 1, { keep: 60_000 })
    }
    const barriers = await session.query({ kind: 'barriers' })
    expect(barriers.arrived.map(({ key }) => key)).to.have.members([...keys])
    expect(barriers.arrivedCount).to.equal(keys.length)
    const results = await session.query({ kind: 'results', limit: 2 })
    expect([results.kept.length, results.keptCount]).to.deep.equal([2, keys.length])
    const { arrived } = await session.query({ kind: 'barriers', key: keys[1]! })
    expect(arrived.map(({ key, waiting }) => [key, waiting])).to.deep.equal([[keys[1], 1]])
    expect(await session.stats()).to.include({ barrierCalls: keys.length })
  })

  it('finds the session with an id in any cell', async () => {
    const session = await open(await startCells())
    await session.lock(keys[0]!)
    const { held } = await session.query({ key: keys[0]! })
    const { session: id } = held[0]!
    const found = await session.query({ kind: 'sessions', session: id })
    expect(found.sessions.map((info) => info.session)).to.deep.equal([id])
    expect(found.sessionsCount).to.equal(1)
    const none = await session.query({ kind: 'sessions', session: 'unknown' })
    expect(none).to.deep.equal({ sessions: [], sessionsCount: 0 })
  })

  it('passes one state of each cell to a watch, and then the events of all cells', async () => {
    const session = await open(await startCells())
    const held = await session.lock(keys[0]!)
    const events = new Collector<CellWatchEvent>()
    const watch = session.watch({ prefix: 'k' }, events.add)
    const states = await events.waitForCount(3)
    const summary = states.map((event) => event.event === 'state' && [event.cell, event.heldCount])
    expect(summary.sort()).to.deep.equal([
      [1, 1],
      [2, 0],
      [3, 0],
    ])
    for (const key of keys.slice(1)) await session.lock(key)
    await held.unlock()
    // Three changes follow the three states.
    const changes = (await events.waitForCount(6)).slice(3) as LockEvent[]
    expect(changes.map(({ event, key }) => `${event} ${key}`)).to.have.members([
      `locked ${keys[1]}`,
      `locked ${keys[2]}`,
      `unlocked ${keys[0]}`,
    ])
    watch.close()
    const keyEvents = new Collector<CellWatchEvent>()
    session.watch(keys[2]!, keyEvents.add)
    const [state] = await keyEvents.waitForCount(1)
    expect(state).to.include({ event: 'state', heldCount: 1, cell: 3 })
    // This lock is in the cell of the second watch, but has another key. A cell would send
    // any events of this lock before its answer to `stats`.
    await session.lock(`{${keys[2]}}other`)
    await session.stats()
    expect(events.items).to.have.length(6)
    expect(keyEvents.items).to.have.length(1)
  })

  it('keeps the locks of the other cells when the broker of one cell ends', async () => {
    const cells = await startCells()
    const session = await open(cells, { reconnect: false })
    const locks = await Promise.all(keys.map((key) => session.lock(key)))
    const watched = new Collector<CellWatchEvent>()
    session.watch(keys[1]!, watched.add)
    await watched.waitForCount(1)
    const lost = new Promise<[string, number]>((resolve) => {
      session.once('lost', ({ key }, cell) => resolve([key, cell]))
    })
    const ended = new Promise<[string, number]>((resolve) => {
      session.once('cellClosed', ({ code }, cell) => resolve([code, cell]))
    })
    await cells[1]!.broker.close()
    expect(await lost).to.deep.equal([keys[1], 2])
    expect(await ended).to.deep.equal(['UNAVAILABLE', 2])
    expect(locks.map((lock) => lock.held)).to.deep.equal([true, false, true])
    const [, refused] = await watched.waitForCount(2)
    expect(refused).to.include({ event: 'refused', cell: 2 })
    await expectRejection(session.lock(keys[1]!), 'UNAVAILABLE')
    await expectRejection(session.query(), 'UNAVAILABLE')
    await session.withLock(keyIn(1, 'more'), () => {})
    // A new broker of the cell serves the next call.
    await stage.startBroker({ cell: `2/${cellCount}` }, cells[1]!.port)
    expect((await session.lock(keys[1]!)).held).to.equal(true)
  })

  it('resumes the session of a cell whose connection dropped, with its locks', async () => {
    const sockets: WebSocket[] = []
    class RecordedWebSocket extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol)
        sockets.push(this)
      }
    }
    const session = await open(await startCells(), {
      // After a drop of its connection, a session stays resumable for the time of its lease.
      grace: 'lease',
      WebSocket: RecordedWebSocket as unknown as WebSocketConstructor,
    })
    const locks = [await session.lock(keys[0]!), await session.lock(keys[1]!)]
    const events: [string, number][] = []
    session.on('jeopardy', (_, cell) => events.push(['jeopardy', cell]))
    const resumed = new Promise<void>((resolve) => {
      session.once('resumed', (cell) => {
        events.push(['resumed', cell])
        resolve()
      })
    })
    sockets[1]!.terminate()
    await resumed
    expect(events).to.deep.equal([
      ['jeopardy', 2],
      ['resumed', 2],
    ])
    expect(locks.map((lock) => lock.held)).to.deep.equal([true, true])
  })

  it('reports the events of a cell with the number of the cell', async () => {
    const cells = await startCells()
    const session = await open(cells)
    await session.lock(keys[2]!)
    const draining = new Promise<number>((resolve) => {
      session.once('draining', (_, cell) => resolve(cell))
    })
    const newSession = new Promise<number>((resolve) => session.once('newSession', resolve))
    await cells[2]!.broker.close()
    expect(await draining).to.equal(3)
    await stage.startBroker({ cell: `3/${cellCount}` }, cells[2]!.port)
    expect(await newSession).to.equal(3)
  })

  it('uses a new token in the open cells and in the cells that are opened later', async () => {
    const seen: string[] = []
    const authenticate = ({ token }: { readonly token?: string | undefined }) => {
      seen.push(token!)
      return token === 'wrong' ? undefined : 'ann'
    }
    const session = await open(await startCells({ authenticate }), { token: 'old' })
    await session.lock(keys[0]!)
    await session.authenticate('new')
    await session.lock(keys[1]!)
    expect(seen).to.deep.equal(['old', 'new', 'new'])
    await expectRejection(session.authenticate('wrong'), 'UNAUTHORIZED')
    await session.lock(keys[2]!)
    // Both open cells refused the wrong token, so the third cell gets the last accepted token.
    expect(seen.slice(3)).to.deep.equal(['wrong', 'wrong', 'new'])
  })

  it('uses a new token in a cell whose session is being opened when the token changes', async () => {
    const seen = new Collector<string>()
    let acceptOldToken: () => void = () => {}
    const oldTokenAccepted = new Promise<void>((resolve) => {
      acceptOldToken = resolve
    })
    const authenticate = async ({ token }: { readonly token?: string | undefined }) => {
      seen.add(token!)
      if (token === 'old') await oldTokenAccepted
      return 'ann'
    }
    const session = await open(await startCells({ authenticate }), { token: 'old' })
    const lock = session.lock(keys[0]!)
    await seen.waitForCount(1)
    await session.authenticate('new')
    acceptOldToken()
    await lock
    // The session was opened with the old token, so the client then sends the new token.
    expect(await seen.waitForCount(2)).to.deep.equal(['old', 'new'])
  })

  it('rejects a call that waits for its cell: at the abort of the call, or at close', async () => {
    // A server that accepts connections and never answers.
    const silent = createServer().listen(0, '127.0.0.1')
    stage.onCleanUp(() => silent.close())
    await onceEvent(silent, 'listening')
    const session = await connect({
      cells: [[`ws://127.0.0.1:${(silent.address() as AddressInfo).port}`]],
    })
    const controller = new AbortController()
    const lockError = expectRejection(session.lock('k', { signal: controller.signal }), 'ABORTED')
    const { signal } = controller
    const sessionForError = expectRejection(session.sessionFor('k', { signal }), 'ABORTED')
    const sessionOfCellError = expectRejection(session.sessionOfCell(1, { signal }), 'ABORTED')
    controller.abort()
    expect((await lockError).key).to.equal('k')
    expect((await sessionForError).key).to.equal('k')
    expect((await sessionOfCellError).key).to.equal(undefined)
    const pending = expectRejection(session.lock('k'), 'SESSION_CLOSED')
    const watchEvents: unknown[] = []
    session.watch('k', (event) => watchEvents.push(event))
    expect(session.state).to.equal('connecting')
    await session.close()
    await pending
    expect(watchEvents).to.deep.equal([])
  })
})
