/**
 * Tests `session.campaign` and `session.observe` against a scripted broker: what the client sends,
 * what a `Leadership` (the lock of a leader) does, and what an observer sees. A fence is the number
 * of a grant.
 */
import type { HoldfastError, Leader, Leadership } from '@holdfast/client'
import type { ClientMessage } from '@holdfast/shared'
import { expect } from 'chai'
import {
  heldLock,
  openScriptedSessionWithGrace,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  errorCodeOf,
  openScriptedSession,
  reconnect,
  type ScriptedSession,
  stateOf,
  untilTurnEnds,
  welcome,
} from '../support/scriptedSession.js'

/** The newest message of this type. */
function newest<T extends ClientMessage['type']>(messages: readonly ClientMessage[], type: T) {
  const ofType = messages.filter((message) => message.type === type)
  return ofType.at(-1) as Extract<ClientMessage, { type: T }>
}

/** Campaigns for `k`; the broker grants the leadership with the fence 7. */
async function lead({ session, socket }: ScriptedSession, value?: unknown): Promise<Leadership> {
  const campaign = session.campaign('k', value === undefined ? {} : { value })
  await untilTurnEnds()
  const { id } = newest(socket.newMessages(), 'campaign')
  socket.deliver({ type: 'granted', id, fence: 7 })
  return campaign
}

/** The fields of a held lock, except its fence. */
const lockFields = { key: 'k', mode: 'exclusive', session: 's9', name: 'n', since: 4 } as const

/** The lock of a leader, as a watch shows it. */
function leaderLock(fence: number, value?: unknown): object {
  return { ...lockFields, fence, election: true, ...(value === undefined ? {} : { value }) }
}

/** A message about one event, for the watch with the id 1. */
function event(kind: string, lock: object) {
  return { type: 'event', watch: 1, event: { event: kind, ...lock } }
}

/** The first answer of the broker to a watch: the locks that are held now. */
function watching(...locks: object[]) {
  return { type: 'watching', id: 1, held: locks, heldCount: locks.length, more: false }
}

/**
 * Reads up to `count` items. Returns the fence and the value of each leader as a text, undefined
 * where no session leads, and `'done'` at the end of the iterator.
 */
async function readLeaders(
  leaders: AsyncIterator<Leader | undefined, undefined>,
  count: number,
): Promise<(string | undefined)[]> {
  const leaderTexts: (string | undefined)[] = []
  while (leaderTexts.length < count) {
    const { value, done } = await leaders.next()
    if (done) return [...leaderTexts, 'done']
    leaderTexts.push(value && `${value.fence} ${JSON.stringify(value.value)}`)
  }
  return leaderTexts
}

describe('session.campaign', () => {
  it('sends the campaign with its value, and resolves with the leadership', async () => {
    const { session, socket } = await openScriptedSession()
    const campaign = session.campaign('k', { value: { url: 'a' }, timeout: 500 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'campaign', id: 1, key: 'k', value: { url: 'a' }, timeout: 500 },
    ])
    expect(await stateOf(campaign)).to.equal('pending')
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    const leadership = await campaign
    expect(leadership).to.include({ key: 'k', fence: 7, held: true, mode: 'exclusive' })
    expect(leadership.value).to.deep.equal({ url: 'a' })
  })

  it('leaves the value out if there is none', async () => {
    const { session, socket } = await openScriptedSession()
    void session.campaign('k')
    void session.campaign('l', { value: null })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'campaign', id: 1, key: 'k' },
      { type: 'campaign', id: 2, key: 'l', value: null },
    ])
  })

  it('shows the new value of a proclaim only after the broker has confirmed it', async () => {
    const scene = await openScriptedSession()
    const leadership = await lead(scene, 1)
    const proclaiming = leadership.proclaim({ url: 'b' })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'proclaim', id: 2, fence: 7, value: { url: 'b' } },
    ])
    expect(leadership.value).to.equal(1)
    scene.socket.deliver({ type: 'proclaimed', id: 2 })
    await proclaiming
    expect(leadership.value).to.deep.equal({ url: 'b' })
    const removing = leadership.proclaim()
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'proclaim', id: 3, fence: 7 }])
    scene.socket.deliver({ type: 'proclaimed', id: 3 })
    await removing
    expect(leadership.value).to.equal(undefined)
  })

  it('unlocks when the leader resigns, and when the leadership is disposed of', async () => {
    const scene = await openScriptedSession()
    const leadership = await lead(scene)
    void leadership.resign()
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 7 }])
    expect(leadership.held).to.equal(false)
    expect(leadership.signal.aborted).to.equal(false)
    expect(await errorCodeOf(leadership.proclaim(1))).to.equal('LOCK_NOT_HELD')
    scene.socket.deliver({ type: 'unlocked', id: 2 })
    const second = await lead(scene)
    const disposing = second[Symbol.asyncDispose]()
    await untilTurnEnds()
    const unlock = newest(scene.socket.newMessages(), 'unlock')
    expect(unlock).to.include({ type: 'unlock', fence: 7 })
    scene.socket.deliver({ type: 'unlocked', id: unlock.id })
    await disposing
  })

  it('aborts the signal when the leadership is lost, and rejects a pending proclaim', async () => {
    const scene = await openScriptedSession()
    const leadership = await lead(scene)
    const { signal } = leadership
    const proclaiming = leadership.proclaim(1)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'lost', fence: 7, reason: 'stolen' })
    expect((signal.reason as HoldfastError).code).to.equal('LOCK_LOST')
    expect(await errorCodeOf(proclaiming)).to.equal('LOCK_NOT_HELD')
    expect(await errorCodeOf(leadership.proclaim(2))).to.equal('LOCK_NOT_HELD')
    expect(leadership.value).to.equal(undefined)
  })

  it('refuses a second campaign until the first campaign or its leadership has ended', async () => {
    const scene = await openScriptedSession()
    const controller = new AbortController()
    const first = scene.session.campaign('k', { signal: controller.signal })
    expect(await errorCodeOf(scene.session.campaign('k'))).to.equal('INVALID_OPTION')
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.have.length(1)
    // A plain lock of the same key is no campaign, so the client does not refuse the request.
    void scene.session.lock('k')
    controller.abort()
    expect(await errorCodeOf(first)).to.equal('ABORTED')
    scene.socket.newMessages()
    const leadership = await lead(scene)
    const error: HoldfastError = await scene.session.campaign('k').then(undefined, (e) => e)
    expect(error.message).to.match(/already leads "k": resign/)
    void leadership.resign()
    void scene.session.campaign('k')
    await untilTurnEnds()
    expect(scene.socket.newMessages().map(({ type }) => type)).to.deep.equal(['unlock', 'campaign'])
  })

  it('keeps a leadership over a resume, and repeats an unanswered proclaim', async () => {
    const scene = await openScriptedSessionWithGrace()
    const leadership = await lead(scene, 1)
    const proclaiming = leadership.proclaim(2)
    await untilTurnEnds()
    const snapshotWithLeadership = snapshot({ held: [heldLock({ id: 1, fence: 7 })] })
    const sent = await resumeSession(scene, snapshotWithLeadership)
    expect(sent).to.deep.include({ type: 'proclaim', id: 2, fence: 7, value: 2 })
    scene.socket.deliver({ type: 'proclaimed', id: 2 })
    await proclaiming
    expect(leadership).to.include({ held: true, value: 2 })
  })

  it('rejects a proclaim whose session is lost, and never sends it again', async () => {
    const scene = await openScriptedSession()
    const leadership = await lead(scene)
    const proclaiming = leadership.proclaim(1)
    await untilTurnEnds()
    const reconnected = reconnect(scene)
    expect(await errorCodeOf(proclaiming)).to.equal('LOCK_NOT_HELD')
    await reconnected
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    expect(scene.socket.newMessages().map(({ type }) => type)).not.to.include('proclaim')
  })

  /** A value that contains itself, so JSON cannot express the value. */
  const cycle: unknown[] = []
  cycle.push(cycle)
  const badCalls: readonly (readonly [string, unknown, unknown, string])[] = [
    ['an empty name', '', {}, 'INVALID_KEY'],
    ['a reserved name', '~name:k', {}, 'INVALID_KEY'],
    ['a negative timeout', 'k', { timeout: -1 }, 'INVALID_TIMEOUT'],
    ['a wrong signal', 'k', { signal: {} }, 'INVALID_OPTION'],
    ['a ttl', 'k', { ttl: 5 }, 'INVALID_OPTION'],
    ['a BigInt', 'k', { value: 1n }, 'INVALID_OPTION'],
    ['a cycle', 'k', { value: cycle }, 'INVALID_OPTION'],
    // With its two quotes, this value has 4 KiB and 1 byte of JSON.
    ['a value above 4 KiB', 'k', { value: 'x'.repeat(4_095) }, 'INVALID_OPTION'],
  ]
  for (const [problem, name, options, code] of badCalls) {
    it(`refuses ${problem} with ${code}, and sends nothing`, async () => {
      const { session, socket } = await openScriptedSession()
      expect(await errorCodeOf(session.campaign(name as string, options as object))).to.equal(code)
      await untilTurnEnds()
      expect(socket.newMessages()).to.deep.equal([])
    })
  }
})

describe('session.observe', () => {
  it('yields the current leader and every change in order', async () => {
    const { session, socket } = await openScriptedSession()
    const leaders = session.observe('k')
    const first = readLeaders(leaders, 1)
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'watch', id: 1, key: 'k' }])
    socket.deliver(watching(leaderLock(7, 'a')))
    expect(await first).to.deep.equal(['7 "a"'])
    socket.deliver(event('proclaimed', leaderLock(7, 'b')))
    socket.deliver(event('proclaimed', leaderLock(7)))
    await untilTurnEnds()
    socket.deliver(event('unlocked', leaderLock(7)))
    await untilTurnEnds()
    socket.deliver(event('locked', leaderLock(9, 'c')))
    expect(await readLeaders(leaders, 4)).to.deep.equal([
      '7 "b"',
      '7 undefined',
      undefined,
      '9 "c"',
    ])
  })

  it('shows the fields of the leader', async () => {
    const { session, socket } = await openScriptedSession()
    const next = session.observe('k').next()
    await untilTurnEnds()
    socket.deliver(watching(leaderLock(7, { url: 'a' })))
    expect(await next).to.deep.equal({
      done: false,
      value: { session: 's9', name: 'n', fence: 7, since: 4, value: { url: 'a' } },
    })
  })

  it('yields undefined without a leader, and ignores the holders of plain locks', async () => {
    const { session, socket } = await openScriptedSession()
    const leaders = session.observe('k')
    const first = readLeaders(leaders, 1)
    await untilTurnEnds()
    socket.deliver(watching({ ...lockFields, fence: 5 }))
    expect(await first).to.deep.equal([undefined])
    socket.deliver(event('unlocked', { ...lockFields, fence: 5 }))
    socket.deliver(event('locked', { ...lockFields, fence: 6 }))
    socket.deliver(event('lost', { ...lockFields, fence: 6 }), event('locked', leaderLock(7)))
    expect(await readLeaders(leaders, 1)).to.deep.equal(['7 undefined'])
  })

  it('yields one change if one frame reports a hand-over', async () => {
    const { session, socket } = await openScriptedSession()
    const leaders = session.observe('k')
    const first = readLeaders(leaders, 1)
    await untilTurnEnds()
    socket.deliver(watching(leaderLock(7)))
    await first
    socket.deliver(event('unlocked', leaderLock(7)), event('locked', leaderLock(8)))
    expect(await readLeaders(leaders, 1)).to.deep.equal(['8 undefined'])
  })

  it('skips to the newest change if the consumer is slow', async () => {
    const { session, socket } = await openScriptedSession()
    const leaders = session.observe('k')
    const first = readLeaders(leaders, 1)
    await untilTurnEnds()
    socket.deliver(watching(leaderLock(7, 0)))
    await first
    // The client keeps at most 64 changes that the consumer has not read.
    for (let value = 1; value <= 65; value++) {
      socket.deliver(event('proclaimed', leaderLock(7, value)))
      await untilTurnEnds()
    }
    expect(await readLeaders(leaders, 1)).to.deep.equal(['7 65'])
    socket.deliver(event('proclaimed', leaderLock(7, 66)))
    expect(await readLeaders(leaders, 1)).to.deep.equal(['7 66'])
  })

  it('yields the leader after a reconnect only if the leader or its value has changed', async () => {
    const scene = await openScriptedSession()
    const leaders = scene.session.observe('k')
    const first = readLeaders(leaders, 1)
    await untilTurnEnds()
    scene.socket.deliver(watching(leaderLock(7, { a: 1 })))
    await first
    const next = readLeaders(leaders, 1)
    for (const [value, isDifferent] of [
      [{ a: 1 }, false],
      [{ a: 2 }, true],
    ] as const) {
      await reconnect(scene)
      scene.socket.deliver(welcome({ session: 's2' }))
      await untilTurnEnds()
      const { id } = newest(scene.socket.newMessages(), 'watch')
      scene.socket.deliver({ ...watching(leaderLock(7, value)), id })
      await untilTurnEnds()
      expect(await stateOf(next)).to.equal(isDifferent ? 'resolved' : 'pending')
    }
    expect(await next).to.deep.equal(['7 {"a":2}'])
  })

  it('ends the watch after `break`, and yields nothing after `return`', async () => {
    const { session, socket } = await openScriptedSession()
    const loop = (async () => {
      for await (const _ of session.observe('k')) break
    })()
    await untilTurnEnds()
    socket.deliver(watching())
    await loop
    await untilTurnEnds()
    expect(socket.newMessages().at(-1)).to.deep.equal({ type: 'unwatch', watch: 1 })
    const leaders = session.observe('k')
    const next = leaders.next()
    await leaders.return!()
    expect(await next).to.deep.equal({ done: true, value: undefined })
    expect(await leaders.next()).to.deep.equal({ done: true, value: undefined })
  })

  it('sends nothing before the first call of next', async () => {
    const { session, socket } = await openScriptedSession()
    session.observe('k')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('throws when its signal is aborted, when the broker refuses, and when the session ends', async () => {
    const { session, socket } = await openScriptedSession()
    const controller = new AbortController()
    const leaders = session.observe('k', { signal: controller.signal })
    const abortedNext = leaders.next()
    await untilTurnEnds()
    controller.abort()
    expect(await errorCodeOf(abortedNext)).to.equal('ABORTED')
    expect(await leaders.next()).to.deep.equal({ done: true, value: undefined })
    const lateLeaders = session.observe('k', { signal: controller.signal })
    expect(await errorCodeOf(lateLeaders.next())).to.equal('ABORTED')
    const refusedNext = session.observe('k').next()
    await untilTurnEnds()
    const { id } = newest(socket.newMessages(), 'watch')
    socket.deliver({ type: 'failed', id, code: 'FORBIDDEN', message: 'm' })
    expect(await errorCodeOf(refusedNext)).to.equal('FORBIDDEN')
    const closedNext = session.observe('k').next()
    await untilTurnEnds()
    const closing = session.close()
    socket.end()
    await closing
    expect(await errorCodeOf(closedNext)).to.equal('SESSION_CLOSED')
    expect(() => session.observe('k'))
      .to.throw()
      .with.property('code', 'SESSION_CLOSED')
  })

  it('refuses a wrong name and wrong options immediately', async () => {
    const { session } = await openScriptedSession()
    expect(() => session.observe(''))
      .to.throw()
      .with.property('code', 'INVALID_KEY')
    expect(() => session.observe('k', { prefix: '' } as object))
      .to.throw()
      .with.property('code', 'INVALID_OPTION')
  })
})
