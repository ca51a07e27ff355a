/**
 * Tests the fields of errors besides the code: the key, the holders and the reason. A fence is the
 * number of a grant. The messages between client and broker name a held lock by its fence. The
 * grace is how long the broker keeps a session after its connection dropped.
 */
import { closeCodes, type HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  acquireLock,
  openScriptedSession,
  reconnect,
  untilTurnEnds,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** An answer of the broker that refuses a request. */
const failed = (id: number, code: string) => ({ type: 'failed', id, code, message: 'no' })

/** The error with which the promise rejects. */
async function errorOf(promise: Promise<unknown>): Promise<HoldfastError> {
  return promise.then(
    () => expect.fail('the promise did not reject'),
    (error) => error,
  )
}

describe('errors: the key', () => {
  it('is the key of the refused request', async () => {
    const { session, socket } = await openScriptedSession()
    for (const code of ['LOCK_TIMEOUT', 'FORBIDDEN', 'QUOTA_EXCEEDED', 'UNAVAILABLE']) {
      const refused = errorOf(session.lock(`k ${code}`))
      await untilTurnEnds()
      const { id } = socket.sent.at(-1) as { id: number }
      socket.deliver(failed(id, code))
      expect(await refused).to.include({ code, key: `k ${code}` })
    }
  })

  it('is the key of the refused revoke, query or watch', async () => {
    const { session, socket } = await openScriptedSession()
    const requests = [session.revoke('a', { fence: 1, reason: 'r' }), session.query({ key: 'b' })]
    const errors = requests.map(errorOf)
    const refusal = new Promise<HoldfastError>((resolve) => {
      session.watch('c', (event) => {
        if (event.event === 'refused') resolve(event.error)
      })
    })
    await untilTurnEnds()
    socket.deliver(failed(1, 'LOCK_NOT_HELD'), failed(2, 'FORBIDDEN'), failed(3, 'FORBIDDEN'))
    const keys = (await Promise.all([...errors, refusal])).map(({ key }) => key)
    expect(keys).to.deep.equal(['a', 'b', 'c'])
  })

  it('is absent from the error of a call without a key', async () => {
    const { session, socket } = await openScriptedSession()
    const refused = errorOf(session.query({ prefix: 'a' }))
    await untilTurnEnds()
    socket.deliver(failed(1, 'FORBIDDEN'))
    expect(Object.hasOwn(await refused, 'key')).to.equal(false)
  })

  it('is the key of a lock request whose signal is aborted before or after the call', async () => {
    const { session } = await openScriptedSession()
    const controller = new AbortController()
    const { signal } = controller
    const waiting = [session.lock('k', { signal }), session.singleflightLock('k', { signal })]
    const errors = waiting.map(errorOf)
    const reason = new Error('enough')
    controller.abort(reason)
    for (const lateCall of [
      session.lock('k', { signal }),
      session.singleflightLock('k', { signal }),
    ]) {
      errors.push(errorOf(lateCall))
    }
    for (const error of await Promise.all(errors)) {
      expect(error).to.include({ code: 'ABORTED', key: 'k', cause: reason })
    }
  })

  it('is the key of a request that times out by the clock of the client', async () => {
    const { session, clock, socket } = await openScriptedSession()
    const plain = errorOf(session.lock('a', { timeout: 10 }))
    const singleflight = errorOf(session.singleflightLock('b', { timeout: 10 }))
    await untilTurnEnds()
    // The hello and two requests.
    expect(socket.sent).to.have.length(3)
    // The client waits for the broker's answer until 250 ms after the timeout of the request.
    clock.advance(300)
    expect(await plain).to.include({ code: 'LOCK_TIMEOUT', key: 'a' })
    expect(await singleflight).to.include({ code: 'LOCK_TIMEOUT', key: 'b' })
  })

  it('is the key of each request that fails because the session is closed, and of each lost lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const errors = ['a', 'b'].map((key) => errorOf(scene.session.lock(key)))
    void scene.session.close()
    errors.push(errorOf(scene.session.lock('c')))
    const codesAndKeys = (await Promise.all(errors)).map(({ code, key }) => `${code} ${key}`)
    expect(codesAndKeys).to.deep.equal(['SESSION_CLOSED a', 'SESSION_CLOSED b', 'SESSION_CLOSED c'])
    expect(lock.lost).to.include({ code: 'LOCK_LOST', key: 'k', reason: 'session' })
    expect(await errorOf(lock.unlock())).to.include({ code: 'LOCK_NOT_HELD', key: 'k' })
    expect(await errorOf(lock.refresh())).to.include({ key: 'k', reason: 'session' })
  })

  it('is the key of a lock that was granted and lost during an outage', async () => {
    const scene = await openScriptedSession({ grace: 'lease' }, welcomeWithGrace())
    const requesting = errorOf(scene.session.lock('k'))
    await untilTurnEnds()
    await reconnect(scene)
    // The broker resumes the session under a new secret, and sends the messages that the client
    // missed. A snapshot follows, which lists the held locks.
    scene.socket.deliver(welcomeWithGrace({ resumed: true, secret: 'second' }))
    scene.socket.deliver(
      { type: 'granted', id: 1, fence: 9 },
      { type: 'lost', fence: 9, reason: 'stolen' },
    )
    scene.socket.deliver({ type: 'snapshot', held: [], waiting: [], more: false })
    expect(await requesting).to.include({ code: 'LOCK_LOST', key: 'k' })
  })
})

describe('errors: the message about a lost session', () => {
  it('says that the session had no grace, if its connection dropped', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.socket.end()
    const message = 'the connection dropped, and the session ended: it had no `grace`'
    expect(lock.lost).to.include({ code: 'LOCK_LOST', reason: 'session', message })
  })

  it('does not mention the grace if the broker ended a session that had one', async () => {
    const scene = await openScriptedSession({ grace: 'lease' }, welcomeWithGrace())
    const lock = await acquireLock(scene)
    scene.socket.end(closeCodes.expired.code)
    expect(lock.lost?.message).to.equal('the connection dropped, and the session ended')
  })
})

describe('errors: the holders', () => {
  it('come with LOCK_TIMEOUT and LOCK_HELD, and show if the requesting session is a holder', async () => {
    const { session, socket } = await openScriptedSession()
    const other = { session: 'other', name: 'n', fence: 3, since: 4 }
    const ownHolder = { session: session.id, fence: 5, since: 6 }
    for (const code of ['LOCK_TIMEOUT', 'LOCK_HELD']) {
      for (const holders of [[other], [other, ownHolder]]) {
        const requesting = errorOf(session.lock('k'))
        await untilTurnEnds()
        const { id } = socket.sent.at(-1) as { id: number }
        socket.deliver({ ...failed(id, code), holders })
        const error = await requesting
        expect(error.holders).to.deep.equal(holders)
        const isOwnLock = holders.some((holder) => holder.session === session.id)
        expect(error).to.include({ code, key: 'k', heldByThisSession: isOwnLock })
        expect(error.message.includes('not re-entrant')).to.equal(isOwnLock)
      }
    }
  })
})

describe('errors: the reason', () => {
  it('is the text of the broker, even if this client does not know the reason', async () => {
    // `newer` stands for a reason that only newer brokers send. A look-up of `constructor` in the
    // object of the known reasons would find the property that every object inherits.
    for (const reason of ['newer', 'constructor']) {
      const scene = await openScriptedSession()
      const lock = await acquireLock(scene)
      scene.socket.deliver({ type: 'lost', fence: lock.fence, reason })
      expect([lock.held, scene.session.state]).to.deep.equal([false, 'connected'])
      expect(lock.lost).to.include({ code: 'LOCK_LOST', reason })
      expect(lock.lost?.message).to.contain('a reason that this client does not know')
    }
  })

  it('is `revoked`, with the note of the operator, in every error about a revoked lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const { fence } = lock
    scene.socket.deliver({
      type: 'lost',
      fence,
      reason: 'revoked',
      note: 'the job hangs since noon',
    })
    const message = 'the lock was lost: an operator revoked it: the job hangs since noon'
    const note = 'the job hangs since noon'
    expect(lock.lost).to.include({ code: 'LOCK_LOST', reason: 'revoked', note, key: 'k', message })
    expect(lock.signal.reason).to.equal(lock.lost)
    const refused = await errorOf(lock.unlock())
    expect(refused).to.include({ code: 'LOCK_NOT_HELD', reason: 'revoked', note, message })
  })

  it('has no note if the operator gave none or an empty one, and cuts a longer note to 256 characters', async () => {
    for (const note of [undefined, '']) {
      const scene = await openScriptedSession()
      const lock = await acquireLock(scene)
      scene.socket.deliver({ type: 'lost', fence: lock.fence, reason: 'revoked', note })
      expect(Object.hasOwn(lock.lost!, 'note')).to.equal(false)
      expect(lock.lost!.message).to.equal('the lock was lost: an operator revoked it')
    }
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.socket.deliver({
      type: 'lost',
      fence: lock.fence,
      reason: 'revoked',
      note: 'x'.repeat(999),
    })
    expect(lock.lost!.note).to.have.length(256)
  })

  it('is the reason of the close frame for a session that the broker closed', async () => {
    const scene = await openScriptedSession()
    const waiting = errorOf(scene.session.lock('k'))
    const closed = new Promise<HoldfastError | undefined>((resolve) => {
      scene.session.on('closed', resolve)
    })
    scene.socket.end(4403, 'forbidden: not from here')
    expect(await closed).to.include({ code: 'FORBIDDEN', reason: 'forbidden: not from here' })
    expect(await waiting).to.include({ key: 'k', reason: 'forbidden: not from here' })
    const lateError = await errorOf(scene.session.lock('l'))
    expect(lateError).to.include({ code: 'SESSION_CLOSED', reason: 'forbidden: not from here' })
  })
})
