/**
 * Tests lock requests and unlocks: the messages that the client sends, and the effects of
 * responses. A fence is the number of a grant, by which an unlock names the lock. The requests of
 * one turn of the event loop share one frame. The ttl is how long a lock lasts without a refresh.
 */
import { getEventListeners } from 'node:events'
import type { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  errorCodeOf,
  openScriptedSession,
  stateOf,
  untilTurnEnds,
} from '../support/scriptedSession.js'

/** An answer of the broker that refuses a request. */
const failed = (id: number, code: string) => ({ type: 'failed', id, code, message: 'no' })

describe('locking', () => {
  it('sends the requests of one turn in one frame, with rising ids', async () => {
    const { session, socket } = await openScriptedSession()
    void session.lock('a')
    void session.lock('b', { mode: 'shared', ttl: 5, timeout: 7, metadata: { x: [1] } })
    void session.tryLock('c"\\')
    void session.lock('d', { steal: true })
    await untilTurnEnds()
    // One frame with the hello, and one frame with all requests.
    expect(socket.frames.length).to.equal(2)
    expect(socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'a' },
      { type: 'lock', id: 2, key: 'b', mode: 'shared', ttl: 5, timeout: 7, metadata: { x: [1] } },
      { type: 'lock', id: 3, key: 'c"\\', timeout: 0 },
      { type: 'lock', id: 4, key: 'd', steal: true },
    ])
  })

  it('sends keys with quotes, backslashes or non-ASCII characters unchanged', async () => {
    const { session, socket } = await openScriptedSession()
    const keys = ['"', '\\', 'a"b', 'a\\b', 'é', '\u{1f512}', '\u2028']
    for (const key of keys) void session.lock(key)
    await untilTurnEnds()
    const messages = socket.newMessages() as readonly { readonly key: string }[]
    expect(messages.map(({ key }) => key)).to.deep.equal(keys)
  })

  it('goes from the request to the grant, the held lock and the confirmed unlock', async () => {
    const { session, socket } = await openScriptedSession()
    const requesting = session.lock('a', { mode: 'shared' })
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 77 })
    const lock = await requesting
    expect([lock.key, lock.mode, lock.fence, lock.held]).to.deep.equal(['a', 'shared', 77, true])
    socket.newMessages()
    const unlocking = lock.unlock()
    expect(lock.held).to.equal(false)
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 77 }])
    expect(await stateOf(unlocking)).to.equal('pending')
    socket.deliver({ type: 'unlocked', id: 2 })
    await unlocking
    expect(lock.signal.aborted).to.equal(false)
  })

  it('sends one unlock for several calls of unlock, and gives all calls the same outcome', async () => {
    const { session, socket } = await openScriptedSession()
    const requesting = session.lock('a')
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 77 })
    const lock = await requesting
    socket.newMessages()
    const first = lock.unlock()
    const second = lock.unlock()
    await untilTurnEnds()
    expect(socket.newMessages().length).to.equal(1)
    socket.deliver(failed(2, 'LOCK_NOT_HELD'))
    expect(await errorCodeOf(first)).to.equal('LOCK_NOT_HELD')
    expect(await errorCodeOf(second)).to.equal('LOCK_NOT_HELD')
    // The disposal does not reject with LOCK_NOT_HELD.
    await lock[Symbol.asyncDispose]()
  })

  it('names the holders when tryLock fails', async () => {
    const { session, socket } = await openScriptedSession()
    const requesting = session.tryLock('a').catch((error: HoldfastError) => error)
    await untilTurnEnds()
    const holders = [{ session: 'other', name: 'n', fence: 3, since: 4 }]
    socket.deliver({ ...failed(1, 'LOCK_HELD'), holders })
    const error = (await requesting) as HoldfastError
    expect([error.code, error.holders]).to.deep.equal(['LOCK_HELD', holders])
  })

  it('rejects with the error code of the broker, or with UNAVAILABLE for an unknown code', async () => {
    const { session, socket } = await openScriptedSession()
    const outcomes = ['LOCK_TIMEOUT', 'QUOTA_EXCEEDED', 'BAD_MESSAGE', 'TEAPOT'].map((code, i) => {
      const outcome = errorCodeOf(session.lock(`k${i}`))
      return { code, outcome }
    })
    await untilTurnEnds()
    outcomes.forEach(({ code }, i) => {
      socket.deliver(failed(i + 1, code))
    })
    expect(await Promise.all(outcomes.map(({ outcome }) => outcome))).to.deep.equal([
      'LOCK_TIMEOUT',
      'QUOTA_EXCEEDED',
      'BAD_MESSAGE',
      'UNAVAILABLE',
    ])
  })

  it('refuses invalid arguments before it sends anything', async () => {
    const { session, socket } = await openScriptedSession()
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    // A key has at most 512 bytes of UTF-8, and metadata has at most 4 KiB of JSON.
    const invalidCalls: [unknown, object | undefined, string][] = [
      ['', {}, 'INVALID_KEY'],
      ['a\u0000', {}, 'INVALID_KEY'],
      ['\ud800', {}, 'INVALID_KEY'],
      ['é'.repeat(257), {}, 'INVALID_KEY'],
      [5, {}, 'INVALID_KEY'],
      ['k', { ttl: 0 }, 'INVALID_TTL'],
      ['k', { ttl: Number.NaN }, 'INVALID_TTL'],
      ['k', { ttl: 2 ** 31 }, 'INVALID_TTL'],
      ['k', { timeout: -1 }, 'INVALID_TIMEOUT'],
      ['k', { timeout: 0.5 }, 'INVALID_TIMEOUT'],
      ['k', { timeout: '1' }, 'INVALID_TIMEOUT'],
      ['k', { signal: 'now' }, 'INVALID_OPTION'],
      ['k', { mode: 'loud' }, 'INVALID_OPTION'],
      ['k', { steal: 1 }, 'INVALID_OPTION'],
      ['k', { steal: true, timeout: 5 }, 'INVALID_OPTION'],
      ['k', { steal: true, mode: 'shared' }, 'INVALID_OPTION'],
      ['k', { metadata: 'x'.repeat(4_097) }, 'INVALID_OPTION'],
      ['k', { metadata: circle }, 'INVALID_OPTION'],
      ['k', { metadata: () => 1 }, 'INVALID_OPTION'],
      ['k', { metadata: 1n }, 'INVALID_OPTION'],
    ]
    for (const [key, options, code] of invalidCalls) {
      const outcome = errorCodeOf(session.lock(key as string, options))
      expect(await outcome, `${String(key)} ${code}`).to.equal(code)
    }
    expect(await errorCodeOf(session.query({ key: 'a', prefix: 'a' }))).to.equal('INVALID_OPTION')
    expect(await errorCodeOf(session.query({ prefix: '\n' }))).to.equal('INVALID_KEY')
    expect(await errorCodeOf(session.query({ limit: 1_001 }))).to.equal('INVALID_OPTION')
    expect(await errorCodeOf(session.singleflightLock('k', { timeout: 0 }))).to.equal(
      'INVALID_TIMEOUT',
    )
    expect(() => session.watch('', () => {}))
      .to.throw()
      .with.property('code', 'INVALID_KEY')
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('cancels an aborted request immediately, and unlocks a lock whose grant crosses the cancel', async () => {
    const { session, socket } = await openScriptedSession()
    const controller = new AbortController()
    const requesting = session
      .lock('a', { signal: controller.signal })
      .catch((error: HoldfastError) => error)
    await untilTurnEnds()
    socket.newMessages()
    controller.abort('changed my mind')
    const error = (await requesting) as HoldfastError
    expect([error.code, error.cause]).to.deep.equal(['ABORTED', 'changed my mind'])
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 1 }])
    socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 9 }])
  })

  it('sends nothing for a request that is aborted already', async () => {
    const { session, socket } = await openScriptedSession()
    expect(await errorCodeOf(session.lock('a', { signal: AbortSignal.abort() }))).to.equal(
      'ABORTED',
    )
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('stops listening to a signal when the request ends', async () => {
    const { session, socket } = await openScriptedSession()
    const { signal } = new AbortController()
    const requesting = session.lock('a', { signal })
    const failing = errorCodeOf(session.lock('b', { signal, timeout: 5 }))
    const singleflight = session.singleflightLock('c', { signal })
    await untilTurnEnds()
    // The requests of one signal share one listener.
    expect(getEventListeners(signal, 'abort')).to.have.length(1)
    socket.deliver({ type: 'granted', id: 1, fence: 1 }, failed(2, 'LOCK_TIMEOUT'))
    socket.deliver({ type: 'granted', id: 3, fence: 3 })
    const lock = await requesting
    await Promise.all([failing, singleflight])
    const refreshing = lock.refresh(undefined, { signal })
    await untilTurnEnds()
    socket.deliver({ type: 'refreshed', id: 4 })
    await refreshing
    expect(getEventListeners(signal, 'abort')).to.have.length(0)
  })

  it("waits for the broker's response a little longer than the timeout", async () => {
    const { session, socket, clock } = await openScriptedSession()
    const requesting = session.lock('a', { timeout: 1_000 })
    await untilTurnEnds()
    // The client itself would time out 1 ms later, as the next test shows.
    clock.advance(1_249)
    expect(await stateOf(requesting)).to.equal('pending')
    socket.deliver({ type: 'granted', id: 1, fence: 9 })
    expect((await requesting).held).to.equal(true)
  })

  it('without a response, times out 250 ms after the timeout, and unlocks a later grant', async () => {
    const { session, socket, clock } = await openScriptedSession()
    const requesting = errorCodeOf(session.lock('a', { timeout: 1_000 }))
    await untilTurnEnds()
    socket.newMessages()
    clock.advance(1_250)
    expect(await requesting).to.equal('LOCK_TIMEOUT')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 1 }])
    socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 9 }])
  })

  it('sets no time limit for the response to tryLock', async () => {
    const { session, socket, clock } = await openScriptedSession()
    const requesting = session.tryLock('a')
    await untilTurnEnds()
    // A request with another timeout ends 250 ms after that timeout. `tryLock` has the timeout 0.
    clock.advance(900)
    socket.deliver({ type: 'granted', id: 1, fence: 9 })
    expect((await requesting).held).to.equal(true)
  })

  it('runs a callback under a lock, and unlocks after every outcome', async () => {
    const { session, socket } = await openScriptedSession()
    // The first message is the hello, and the others are requests with the ids 1, 2, 3 and so on.
    // So the newest id is the number of messages minus one.
    const grant = async (fence: number) => {
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: socket.sent.length - 1, fence })
      await untilTurnEnds()
    }
    const confirmUnlock = () => socket.deliver({ type: 'unlocked', id: socket.sent.length - 1 })

    const resolved = session.withLock('a', (lock) => lock.fence + 1)
    await grant(5)
    confirmUnlock()
    expect(await resolved).to.equal(6)

    const thrown = new Error('mine')
    const rejected = session.withLock('a', () => Promise.reject(thrown)).catch((e: Error) => e)
    await grant(6)
    confirmUnlock()
    expect(await rejected).to.equal(thrown)

    const stolen = errorCodeOf(
      session.withLock('a', async () => {
        socket.deliver({ type: 'lost', fence: 7, reason: 'stolen' })
        return 'done'
      }),
    )
    await grant(7)
    expect(await stolen).to.equal('LOCK_LOST')

    const stolenAndRejected = session
      .withLock('a', async () => {
        socket.deliver({ type: 'lost', fence: 8, reason: 'stolen' })
        throw thrown
      })
      .catch((e: Error) => e)
    await grant(8)
    expect(await stolenAndRejected).to.equal(thrown)
  })

  it('answers pings, and ignores unknown messages and responses to unknown requests', async () => {
    const { session, socket } = await openScriptedSession()
    socket.deliver(
      { type: 'news', id: 5 },
      { type: 'granted', id: 99, fence: 1 },
      { type: 'ping', n: 3 },
    )
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'pong', n: 3 }])
    expect(session.state).to.equal('connected')
  })

  it('joins the parts of the response to a query', async () => {
    const { session, socket } = await openScriptedSession()
    const requesting = session.query({ prefix: 'o', limit: 5 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'query', id: 1, prefix: 'o', limit: 5 }])
    const counts = { heldCount: 2, waitingCount: 1 }
    const held = ['x', 'y'].map((key) => ({
      key,
      mode: 'shared',
      session: 's',
      fence: 1,
      since: 2,
    }))
    const waiting = [{ key: 'x', mode: 'shared', session: 's', since: 2 }]
    socket.deliver({ type: 'found', id: 1, held: [held[0]], waiting: [], ...counts, more: true })
    expect(await stateOf(requesting)).to.equal('pending')
    socket.deliver({ type: 'found', id: 1, held: [held[1]], waiting, ...counts, more: false })
    expect(await requesting).to.deep.equal({ held, waiting, ...counts })
  })

  it('splits the requests of a turn into frames of at most 64 KiB', async () => {
    const { session, socket } = await openScriptedSession()
    // The metadata has 4,000 bytes, so the requests together need more than one frame of 64 KiB.
    const metadata = 'é'.repeat(2_000)
    for (let i = 0; i < 40; i++) void session.lock(`k${i}`, { metadata })
    await untilTurnEnds()
    expect(socket.newMessages().length).to.equal(40)
    for (const frame of socket.frames) expect(Buffer.byteLength(frame)).to.be.at.most(64 * 1024)
  })
})
