/**
 * Tests of section 9 of PROTOCOL.md over a socket: a client resumes its session on another
 * connection within the grace. The grace is the time that a session outlives its connection. The
 * lease is the time that the broker keeps a session without a message of its client. The grace
 * `lease` is as long as the lease. The secret of the session authorizes the resume.
 *
 * A fence is the number of a grant. The ttl is the time after which a lock expires. A peer is a
 * client without the client library.
 */
import type { ClientMessage, Snapshot } from '@holdfast/shared'
import { expect } from 'chai'
import type { Peer } from './peer.js'
import { queryAll, type Stage } from './stage.js'

type Session = Awaited<ReturnType<Stage['openSession']>>

/** Defines the tests of resuming a session, of its secrets, and of stored answers. */
export function resuming(stage: Stage): void {
  describe('resume: the broker', () => resumes(stage))
  describe('resume secrets: the broker', () => secrets(stage))
  describe('stored answers: the broker', () => storedAnswers(stage))
}

/** Joins the parts of the snapshot (list of locks and waiting requests) that follows a resume. */
async function snapshotOf(peer: Peer): Promise<Pick<Snapshot, 'held' | 'waiting'>> {
  const held: Snapshot['held'][number][] = []
  const waiting: number[] = []
  for (;;) {
    const part = await peer.hear('snapshot')
    held.push(...part.held)
    waiting.push(...part.waiting)
    if (!part.more) return { held, waiting }
  }
}

/** Resumes the session of a former connection, with the secret that this connection received. */
async function resume(stage: Stage, former: Session): Promise<Session> {
  const { session: id, secret } = former.welcome
  const resumed = await stage.openSession({
    grace: 'lease',
    resume: { session: id, secret: secret! },
  })
  resumed.lastId = former.lastId
  return resumed
}

/** Drops the connection of a session, and resumes the session on another connection. */
async function dropAndResume(stage: Stage, session: Session): Promise<Session> {
  session.drop()
  await session.closed
  return resume(stage, session)
}

function resumes(stage: Stage): void {
  it('keeps locks and waiting requests, and sends a new secret', async () => {
    const other = await stage.openSession()
    const original = await stage.openSession({ grace: 'lease' })
    const [ttlKey, plainKey, busyKey] = [stage.key(), stage.key(), stage.key()]
    await other.acquire(busyKey)
    const ttlFence = await original.acquire(ttlKey, { ttl: 60_000, mode: 'shared' })
    const plainFence = await original.acquire(plainKey)
    const waiting = original.lock(busyKey)
    await original.settle()
    const reconnected = await dropAndResume(stage, original)
    expect(reconnected.welcome).to.include({ resumed: true, session: original.welcome.session })
    expect(reconnected.welcome.secret)
      .to.be.a('string')
      .that.does.not.equal(original.welcome.secret)
    const snapshot = await snapshotOf(reconnected)
    const [first, ...rest] = snapshot.held
    // `at` is when the ttl began to run.
    const { at, ...fields } = first!
    expect(at).to.be.a('number')
    expect(fields).to.deep.equal({
      id: 1,
      key: ttlKey,
      mode: 'shared',
      fence: ttlFence,
      ttl: 60_000,
    })
    expect(rest).to.deep.equal([{ id: 2, key: plainKey, mode: 'exclusive', fence: plainFence }])
    expect(snapshot.waiting).to.deep.equal([waiting])
  })

  it('keeps the place of a waiting request, and sends its grant after a resume', async () => {
    const [holder, behind] = await stage.openSessions(2)
    const original = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    const fence = await holder!.acquire(key)
    const id = original.lock(key)
    await original.settle()
    const next = behind!.lock(key)
    await behind!.settle()
    original.drop()
    await holder!.release(fence)
    expect(await behind!.unreadMessages()).to.deep.equal([])
    await original.closed
    const reconnected = await resume(stage, original)
    const granted = await reconnected.hearAnswer('granted', id)
    expect((await snapshotOf(reconnected)).held).to.deep.equal([
      { id, key, mode: 'exclusive', fence: granted.fence },
    ])
    reconnected.unlock(granted.fence)
    await behind!.hearAnswer('granted', next)
  })

  it('replaces the former connection and closes it with 4409', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    await original.acquire(key)
    const reconnected = await resume(stage, original)
    expect(await original.closed).to.include({ code: 4409 })
    expect(reconnected.welcome).to.include({ resumed: true })
    expect((await queryAll(reconnected, { key })).held).to.have.length(1)
  })

  it('keeps the name, lease and grace of a session despite other values in hello', async () => {
    const original = await stage.openSession({ name: 'first', lease: 10_000, grace: 5_000 })
    const key = stage.key()
    await original.acquire(key)
    const { session, secret } = original.welcome
    const resume = { session, secret: secret! }
    const reconnected = await stage.openSession({
      name: 'other',
      lease: 20_000,
      grace: 1_000,
      resume,
    })
    reconnected.lastId = original.lastId
    expect(reconnected.welcome).to.include({ resumed: true, lease: 10_000, grace: 5_000 })
    expect((await queryAll(reconnected, { key })).held[0]).to.include({ name: 'first' })
  })

  it('uses name, lease and grace of the hello for a new session', async () => {
    const resume = { session: 'unknown', secret: 'nothing' }
    const peer = await stage.openSession({ name: 'other', lease: 20_000, grace: 1_000, resume })
    expect(peer.welcome).to.include({ resumed: false, lease: 20_000, grace: 1_000 })
    const key = stage.key()
    await peer.acquire(key)
    expect((await queryAll(peer, { key })).held[0]).to.include({ name: 'other' })
  })

  it('accepts the id 1 in a new session after a failed resume', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    await original.acquire(stage.key())
    await original.leave()
    const reconnected = await resume(stage, original)
    reconnected.say({ type: 'lock', id: 1, key: stage.key() })
    await reconnected.hearAnswer('granted', 1)
  })

  it('rejects a request with a skipped id, if the session has used a higher id: BAD_MESSAGE', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    // The first request of the session, after the resume, has the id 2. So the id 1 is skipped.
    original.lastId = 1
    const reconnected = await dropAndResume(stage, original)
    await reconnected.acquire(stage.key())
    reconnected.say({ type: 'lock', id: 1, key: stage.key() })
    expect(await reconnected.hearAnswer('failed', 1)).to.include({ code: 'BAD_MESSAGE' })
  })

  it('opens a new session if the session of a resume is unknown', async () => {
    const peer = await stage.openSession({ resume: { session: 'unknown', secret: 'nothing' } })
    expect(peer.welcome).to.include({ resumed: false })
    expect(peer.welcome.session).not.to.equal('unknown')
  })

  it('opens a new session if the secret is wrong, and does not change the session of the resume', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    const fence = await original.acquire(key)
    const { session } = original.welcome
    const hijacker = await stage.openSession({ resume: { session, secret: 'wrong' } })
    expect(hijacker.welcome).to.include({ resumed: false })
    expect(hijacker.welcome.session).not.to.equal(session)
    await original.release(fence)
  })

  it('opens a new session after a bye', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    await original.leave()
    const reconnected = await resume(stage, original)
    expect(reconnected.welcome).to.include({ resumed: false })
  })

  it('ends the watches of a session with its connection', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    await original.hearAnswerParts('watching', original.request({ type: 'watch', key }))
    const reconnected = await dropAndResume(stage, original)
    await snapshotOf(reconnected)
    const other = await stage.openSession()
    await other.acquire(key)
    expect((await reconnected.unreadMessages()).filter((message) => message.type === 'event')).to.be
      .empty
  })
}

/** Valid messages. In each test, one of them is the first message after a resume. */
const messagesAfterResume: ClientMessage[] = [
  { type: 'pong', n: 0 },
  { type: 'query', id: 1_000, key: 'first' },
  { type: 'watch', id: 1_000, key: 'first' },
  { type: 'stats', id: 1_000 },
  { type: 'auth', id: 1_000, token: 'first' },
  { type: 'unlock', id: 1_000, fence: 1 },
  { type: 'refresh', id: 1_000, fence: 1 },
  { type: 'revoke', id: 1_000, key: 'first', fence: 1, reason: 'test' },
]

function secrets(stage: Stage): void {
  it('accepts the former secret until the client has sent a message after its hello', async () => {
    const first = await stage.openSession({ grace: 'lease' })
    const second = await dropAndResume(stage, first)
    second.drop()
    const third = await resume(stage, first)
    expect(third.welcome).to.include({ resumed: true, session: first.welcome.session })
  })

  it('rejects the former secret after a message that follows the hello, and accepts the newest secret', async () => {
    const first = await stage.openSession({ grace: 'lease' })
    const second = await dropAndResume(stage, first)
    await second.settle()
    const refused = await resume(stage, first)
    expect(refused.welcome).to.include({ resumed: false })
    const third = await dropAndResume(stage, second)
    expect(third.welcome).to.include({ resumed: true, session: first.welcome.session })
  })

  for (const message of messagesAfterResume) {
    it(`rejects the former secret after the broker has accepted the message ${message.type}`, async () => {
      const first = await stage.openSession({ grace: 'lease' })
      const second = await dropAndResume(stage, first)
      await snapshotOf(second)
      second.say(message)
      // The answer, or the ack of a `pong`, shows that the broker has handled the message.
      if ('id' in message) await second.hearAnswerTo(message.id)
      else await second.hear('ack')
      second.drop()
      const refused = await resume(stage, first)
      expect(refused.welcome).to.include({ resumed: false })
      expect((await resume(stage, second)).welcome).to.include({ resumed: true })
    })
  }

  it('rejects a resume whose `try`, the number of the attempt, is not higher than in the last resume', async () => {
    const first = await stage.openSession({ grace: 'lease' })
    const { session, secret } = first.welcome
    const resumeWithTry = (tryNumber: number) =>
      stage.openSession({ grace: 'lease', resume: { session, secret: secret!, try: tryNumber } })
    const second = await resumeWithTry(2)
    expect(second.welcome).to.include({ resumed: true, session })
    for (const lateTry of [1, 2]) {
      const lateAttempt = await resumeWithTry(lateTry)
      expect(lateAttempt.welcome, `try ${lateTry}`).to.include({ resumed: false })
    }
    second.drop()
    await second.closed
    expect((await resumeWithTry(3)).welcome).to.include({ resumed: true, session })
  })

  it('accepts a lower `try` with a new secret', async () => {
    const first = await stage.openSession({ grace: 'lease' })
    const { session, secret } = first.welcome
    const hello = { grace: 'lease' as const }
    const second = await stage.openSession({
      ...hello,
      resume: { session, secret: secret!, try: 7 },
    })
    const { secret: next } = second.welcome
    const third = await stage.openSession({ ...hello, resume: { session, secret: next!, try: 1 } })
    expect(third.welcome).to.include({ resumed: true, session })
  })

  it('accepts the newest secret although the client has sent no message after its hello', async () => {
    const first = await stage.openSession({ grace: 'lease' })
    const second = await dropAndResume(stage, first)
    const third = await dropAndResume(stage, second)
    expect(third.welcome).to.include({ resumed: true, session: first.welcome.session })
  })
}

function storedAnswers(stage: Stage): void {
  it('repeats the unacknowledged answers in order after a resume', async () => {
    const original = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    const fence = await original.acquire(key)
    await original.hearAnswer('failed', original.lock(key, { timeout: 0 }))
    await original.hearAnswer('refreshed', original.request({ type: 'refresh', fence }))
    await original.release(fence)
    await original.hearAnswer('failed', original.unlock(fence))
    original.say({ type: 'ack', ids: [2] })
    await original.hear('ack')
    const reconnected = await dropAndResume(stage, original)
    await snapshotOf(reconnected)
    const messages: { type: string; id?: number }[] = reconnected.frames.flatMap((frame) =>
      JSON.parse(frame),
    )
    const typesAndIds = messages.map(({ type, id }) => `${type} ${id ?? ''}`)
    expect(typesAndIds.filter((text) => text !== 'ping ')).to.deep.equal([
      'welcome ',
      'granted 1',
      'refreshed 3',
      'unlocked 4',
      'failed 5',
      'snapshot ',
    ])
  })

  it('answers a repeated request with the stored answer, and handles the request only once', async () => {
    const peer = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    const fence = await peer.acquire(key)
    await peer.release(fence)
    peer.say({ type: 'lock', id: 1, key })
    expect(await peer.hearAnswer('granted', 1)).to.include({ fence })
    expect(await queryAll(peer, { key })).to.include({ heldCount: 0 })
  })

  it('rejects a request of another type with a used id: BAD_MESSAGE', async () => {
    const holder = await stage.openSession()
    const peer = await stage.openSession({ grace: 'lease' })
    const [key, busy] = [stage.key(), stage.key()]
    await holder.acquire(busy)
    const fence = await peer.acquire(key)
    const waiting = peer.lock(busy)
    // This unlock fails, because its fence belongs to no lock.
    const failedId = peer.unlock(fence + 1_000)
    await peer.hearAnswer('failed', failedId)
    for (const id of [1, waiting]) {
      peer.say({ type: 'unlock', id, fence })
      expect(await peer.hearAnswer('failed', id)).to.include({ code: 'BAD_MESSAGE' })
      peer.say({ type: 'refresh', id, fence })
      expect(await peer.hearAnswer('failed', id)).to.include({ code: 'BAD_MESSAGE' })
    }
    peer.say({ type: 'refresh', id: failedId, fence })
    expect(await peer.hearAnswer('failed', failedId)).to.include({ code: 'BAD_MESSAGE' })
    // This second unlock names a held lock, but gets the stored answer of the first unlock.
    peer.say({ type: 'unlock', id: failedId, fence })
    expect(await peer.hearAnswer('failed', failedId)).to.include({ code: 'LOCK_NOT_HELD' })
    expect(await queryAll(peer, { key })).to.include({ heldCount: 1 })
    await peer.release(fence)
  })

  it('sends nothing for a repeated request while the first request waits', async () => {
    const holder = await stage.openSession()
    const peer = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    const fence = await holder.acquire(key)
    const id = peer.lock(key)
    peer.say({ type: 'lock', id, key })
    expect(await peer.unreadMessages()).to.deep.equal([])
    expect(await queryAll(peer, { key })).to.include({ waitingCount: 1 })
    await holder.release(fence)
    await peer.hearAnswer('granted', id)
    expect(await peer.unreadMessages()).to.deep.equal([])
  })

  it('rejects an id whose answer was acknowledged: BAD_MESSAGE', async () => {
    const peer = await stage.openSession({ grace: 'lease' })
    const key = stage.key()
    await peer.release(await peer.acquire(key))
    peer.say({ type: 'ack', ids: [1] }, { type: 'lock', id: 1, key })
    expect(await peer.hearAnswer('failed', 1)).to.include({ code: 'BAD_MESSAGE' })
    expect(await queryAll(peer, { key })).to.include({ heldCount: 0 })
  })

  it('rejects new requests at 1,024 stored answers', async () => {
    const peer = await stage.openSession({ grace: 'lease' })
    // Each `unlock` fails, because the session holds no lock. The broker stores each answer.
    for (let i = 0; i < 1_024; i++) peer.unlock(1)
    const key = stage.key()
    const [lowerId, higherId] = [peer.lock(key), peer.lock(key)]
    for (const id of [lowerId, higherId]) {
      expect(await peer.hearAnswer('failed', id)).to.include({ code: 'QUOTA_EXCEEDED' })
    }
    expect(await queryAll(peer, { key })).to.include({ heldCount: 0 })
    // The ack makes room for two answers. The client may reuse the refused `higherId`, but then
    // `lowerId` is below an id that the session has used.
    peer.say({ type: 'ack', ids: [1, 2] }, { type: 'lock', id: higherId, key })
    await peer.hearAnswer('granted', higherId)
    peer.say({ type: 'lock', id: lowerId, key })
    expect(await peer.hearAnswer('failed', lowerId)).to.include({ code: 'BAD_MESSAGE' })
  })
}
