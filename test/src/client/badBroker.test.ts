/**
 * Tests how the client reacts to a broken broker, a hostile broker or another kind of server. Such
 * a server cannot end the process of the client. The client relies on no lock beyond its ttl, nor
 * beyond the lease of the session. The error of the client shows the invalid message.
 *
 * A fence is the number of a grant, which rises with every grant. The lease is how long the broker
 * keeps a silent session. The grace is how long the broker keeps a session without a connection.
 * The ttl is how long one lock lasts without a refresh. A session is in jeopardy while its
 * connection is down. After a resume, the broker sends a snapshot, which lists the held locks.
 */
import type { Lock } from '@holdfast/client'
import { connectIn } from '@holdfast/client/internal'
import { faultOfBrokerMessage, type HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  heldInfo,
  nothingFound,
  validBrokerMessages,
  variantsOf,
} from '../protocol/brokerMessages.js'
import { garble, mutate } from '../protocol/hostileMessages.js'
import { isFullRun, quickOrFull, type Random, runRandomTest } from '../support/counts.js'
import {
  heldLock,
  openScriptedSessionWithGrace,
  resumedWelcome,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  acquireLock,
  errorCodeOf,
  makeClientFakes,
  openScriptedSession,
  reconnect,
  type ScriptedSession,
  stateOf,
  unhandledRejectionsOf,
  untilTurnEnds,
  url,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** A time that is longer than any ttl of these tests. */
const longMs = 400_000

/**
 * Opens a session with a held lock (request 1, fence 1) and seven pending requests. Request 2 is
 * for a lock with a ttl. Requests 3 to 8 are a refresh, a query, a watch, statistics, a revocation
 * and a token.
 *
 * `errors` collects the errors of the requests and of the event `closed`, as they come. The end of
 * the session fails all pending requests, so the last error then has the reason of the end.
 */
async function busyScene(
  options: object = {},
): Promise<ScriptedSession & { lock: Lock; errors: unknown[] }> {
  const scene = await openScriptedSession(options, welcomeWithGrace())
  const { session } = scene
  const errors: unknown[] = []
  const lock = await acquireLock(scene, { ttl: 5_000, at: 50_000, fence: 1 })
  const requests: Promise<unknown>[] = [
    session.lock('w', { ttl: 5_000 }),
    lock.refresh(),
    session.query(),
  ]
  session.watch('k', () => {})
  requests.push(
    session.stats(),
    session.revoke('x', { fence: 9, reason: 'r' }),
    session.authenticate('t'),
  )
  for (const promise of requests) promise.catch((error) => errors.push(error))
  session.on('closed', (error) => errors.push(error))
  await untilTurnEnds()
  return Object.assign(scene, { lock, errors })
}

/** The texts of an error and of all its causes, in one string. */
function errorTextOf(error: unknown): string {
  const texts: string[] = []
  for (let cause = error; cause instanceof Error; cause = cause.cause) texts.push(cause.message)
  return texts.join(' <- ')
}

/**
 * Delivers a frame with this text to a session. Returns the text of the error that ends the
 * session, or "handled" if the session continues. Throws if the frame causes an unhandled error, or
 * lets the client hold its lock for too long.
 */
async function resultOfFrame(text: string): Promise<string> {
  const { session, socket, clock, lock, errors } = await busyScene({ reconnect: false })
  const reported = await unhandledRejectionsOf(() => socket.deliverData(text))
  if (reported.length > 0) throw new Error(`${text.slice(0, 300)}: ${reported.join()}`)
  const isFailed = session.state === 'closed'
  if (isFailed !== socket.closedByClient)
    throw new Error(`the session and its socket disagree after ${text.slice(0, 300)}`)
  const result = isFailed ? errorTextOf(errors.at(-1)) : 'handled'
  // No timer fires, as in a stopped process. So only the client's own calculation can end the lock.
  clock.advanceWithoutTimers(longMs)
  if (lock.held)
    throw new Error(`the client held its lock beyond its ttl after ${text.slice(0, 300)}`)
  await session.close().catch(() => {})
  return result
}

describe('a client that receives invalid messages', () => {
  it('fails the connection, and names the message, the field and the place in the frame', async () => {
    const cases: [Record<string, unknown>, string][] = [
      [
        { type: 'found', id: 4, heldCount: 0, waitingCount: 0, more: false },
        'found.held is missing',
      ],
      [{ type: 'watching', id: 5, heldCount: 0, more: false }, 'watching.held is missing'],
      [{ type: 'snapshot', more: false }, 'snapshot.held is missing'],
      [{ type: 'granted', id: 2 }, 'granted.fence is missing'],
      [{ type: 'granted', id: 2, fence: '5' }, 'granted.fence cannot be this string'],
      [{ type: 'granted', id: 2, fence: -5 }, 'granted.fence cannot be -5'],
      [{ type: 'granted', id: 2, fence: 2 ** 53 }, 'granted.fence cannot be 9007199254740992'],
      [{ type: 'granted', id: 2, fence: 5, at: '5' }, 'granted.at cannot be this string'],
      [{ type: 'ack', n: 1, at: 1e300 }, 'ack.at cannot be 1e+300'],
      // 8.64e15 ms is the latest `Date`. Formatting a later time would throw at the caller.
      [
        { ...nothingFound, type: 'found', id: 4, held: [{ ...heldInfo, since: 8.64e15 + 1 }] },
        'found.held[0].since cannot be 8640000000000001',
      ],
    ]
    for (const [message, fault] of cases) {
      const scene = await busyScene({ reconnect: false })
      scene.socket.deliver({ type: 'ping', n: 1 }, message, { type: 'ping', n: 2 })
      await untilTurnEnds()
      const error = scene.errors[0] as HoldfastError
      const { code, message: errorMessage } = error
      expect(code, fault).to.equal('UNAVAILABLE')
      expect(errorMessage).to.contain(url).and.contain(`invalid message: ${fault} (message 2 of 3)`)
      expect((error.cause as Error).message).to.contain(fault)
      expect([scene.session.state, scene.socket.closedByClient]).to.deep.equal(['closed', true])
    }
  })

  it('handles the valid messages before the invalid message of a frame', async () => {
    const scene = await openScriptedSession({ reconnect: false })
    const [first, second] = [scene.session.lock('a'), scene.session.lock('b')] as const
    const secondCode = errorCodeOf(second)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7 }, { type: 'granted', id: 2 })
    const lock = await first
    // The lock was granted, and the invalid message then ended the session with its lock.
    expect([lock.fence, lock.held]).to.deep.equal([7, false])
    expect(errorTextOf(lock.lost)).to.contain('granted.fence is missing')
    expect(await secondCode).to.equal('UNAVAILABLE')
  })

  it('continues or fails the connection after a missing or wrong field in any message', async () => {
    const mainValues = [null, -1, 0, 1e300, 2 ** 53, 'x', [{}]]
    const values = isFullRun ? [...mainValues, true, 1, 2.5, '', '__proto__', [], {}] : mainValues
    let failed = 0
    for (const message of validBrokerMessages) {
      for (const { change, value } of variantsOf(message, values)) {
        const text = JSON.stringify(value)
        const result = await resultOfFrame(text)
        const fault = faultOfBrokerMessage(JSON.parse(text))
        // Some variants are valid messages.
        if (fault === undefined) continue
        failed++
        expect(result, message.type + change).to.contain(`invalid message: ${fault}`)
      }
    }
    // With fewer invalid messages, the variants would not cover all fields.
    expect(failed).to.be.greaterThan(300)
  }).timeout(60_000)

  it('continues or fails the connection after random JSON and garbled frames', async () => {
    await runRandomTest(async (random) => {
      for (let i = quickOrFull(300, 20_000); i > 0; i--) await resultOfFrame(randomFrame(random))
    })
  }).timeout(600_000)

  it('fails a connection whose welcome is invalid', async () => {
    for (const fields of [
      { lease: '5' },
      { lease: 0 },
      { grace: -1 },
      { at: 1e300 },
      { session: '' },
    ]) {
      const fakes = makeClientFakes()
      const connecting = connectIn(url, {}, fakes.environment).catch((error) => error)
      await untilTurnEnds()
      fakes.network.lastSocket.accept()
      fakes.network.lastSocket.deliver({ ...welcome(), ...fields })
      const error = (await connecting) as HoldfastError
      expect(error.code).to.equal('UNAVAILABLE')
      expect(error.message).to.contain(`welcome.${Object.keys(fields)[0]} cannot be`)
    }
  })
})

/** A frame of up to three messages, some of them mutated. */
function randomFrame(random: Random): string {
  const messages = Array.from({ length: 1 + random.below(3) }, () => {
    const message = random.pick(validBrokerMessages)
    return random.chance(0.5) ? mutate(message, random) : message
  })
  try {
    const text = JSON.stringify(messages)
    return random.chance(0.3) ? garble(text, random) : text
  } catch {
    // `JSON.stringify` throws if a message is too deep. Then this text, which is no JSON, is sent.
    return 'too deep to be printed'
  }
}

describe('a session whose broker sends invalid messages', () => {
  const invalidMessage = { type: 'granted', id: 1 }

  it('reconnects, and gives up after three connections in a row with an invalid message', async () => {
    // Each 0 is the delay before a try to reconnect, in ms.
    const scene = await openScriptedSession({ reconnect: [0, 0, 0, 0, 0] })
    const { session, network, clock } = scene
    const requesting = session.lock('k').catch((error) => error)
    await untilTurnEnds()
    for (let i = 1; i <= 3; i++) {
      expect([network.sockets.length, session.state]).to.deep.equal([i, 'connected'])
      network.lastSocket.deliver(invalidMessage)
      if (i === 3) break
      clock.advance(0)
      network.lastSocket.accept()
      network.lastSocket.deliver(welcome({ session: `s${i + 1}` }))
      await untilTurnEnds()
    }
    const error = (await requesting) as HoldfastError
    expect(error.code).to.equal('UNAVAILABLE')
    // The message counts the connections before the last.
    expect(error.message).to.contain('granted.fence is missing').and.contain('2 connections before')
    expect([session.state, clock.timerCount]).to.deep.equal(['closed', 0])
  })

  it('does not give up if every second connection lasts longer than a minute', async () => {
    // The lease is long, so that it does not end during the minute.
    const scene = await openScriptedSession(
      { reconnect: [0, 0, 0, 0, 0, 0, 0] },
      welcome({ lease: 300_000 }),
    )
    const { session, network, clock } = scene
    for (let i = 0; i < 5; i++) {
      if (i % 2 === 0) clock.advance(60_001)
      network.lastSocket.deliver(invalidMessage)
      clock.advance(0)
      network.lastSocket.accept()
      network.lastSocket.deliver(welcome({ lease: 300_000 }))
      await untilTurnEnds()
    }
    expect(session.state).to.equal('connected')
  })

  it('shows the invalid message as the reason of jeopardy and of lost locks', async () => {
    const gracedScene = await openScriptedSessionWithGrace()
    const errors: HoldfastError[] = []
    gracedScene.session.on('jeopardy', (error) => errors.push(error))
    gracedScene.socket.deliver(invalidMessage)
    expect(errorTextOf(errors[0])).to.contain(url).and.contain('granted.fence is missing')

    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    // Invalid like `invalidMessage`: the fence is missing.
    scene.socket.deliver({ type: 'granted', id: 9 })
    expect([lock.lost?.code, lock.lost?.reason]).to.deep.equal(['LOCK_LOST', 'session'])
    expect(errorTextOf(lock.lost)).to.contain('granted.fence is missing')
  })

  it('tries the next broker of its list', async () => {
    const fakes = makeClientFakes()
    const urls = ['ws://a.test', 'ws://b.test']
    const connecting = connectIn(urls, { reconnect: [0] }, fakes.environment)
    await untilTurnEnds()
    fakes.network.lastSocket.accept()
    fakes.network.lastSocket.deliver(welcome())
    await connecting
    fakes.network.lastSocket.deliver(invalidMessage)
    fakes.clock.advance(0)
    expect(fakes.network.sockets.map((socket) => socket.url)).to.deep.equal(urls)
  })
})

describe('a broker that sends impossible messages', () => {
  /** Delivers these messages, and returns the text of the error that ends the session. */
  async function reasonFor(...messages: Record<string, unknown>[]): Promise<string> {
    const scene = await busyScene({ reconnect: false })
    scene.socket.deliver(...messages)
    await untilTurnEnds()
    return errorTextOf(scene.errors.at(-1))
  }

  it('cannot answer a request with a response of another type', async () => {
    expect(await reasonFor({ type: 'unlocked', id: 2 })).to.contain(
      'unlocked cannot answer request 2',
    )
    expect(await reasonFor({ type: 'granted', id: 3, fence: 5 })).to.contain('request 3')
  })

  it('cannot grant a fence twice', async () => {
    expect(await reasonFor({ type: 'granted', id: 2, fence: 1 })).to.contain('held already')
  })

  it('cannot grant, by a message or by a snapshot, a request that the client has not sent', async () => {
    const scene = await openScriptedSession({ reconnect: false })
    const requesting = errorCodeOf(scene.session.lock('k', { ttl: 1_000 }))
    // The client would send the request only at the end of this turn of the event loop.
    scene.socket.deliver({ type: 'granted', id: 1, fence: 5 })
    expect(await requesting).to.equal('UNAVAILABLE')

    const gracedScene = await openScriptedSessionWithGrace()
    await reconnect(gracedScene)
    const later = gracedScene.session.lock('k', { ttl: 1_000 })
    gracedScene.socket.deliver(resumedWelcome, snapshot({ held: [heldLock({ id: 1, fence: 5 })] }))
    expect(gracedScene.session.state).to.equal('disconnected')
    expect(await stateOf(later)).to.equal('pending')
  })

  it('cannot list more than 1,000 locks in the answer to a query or a watch', async () => {
    const sharedInfo = { key: 'k', mode: 'shared', session: 's', fence: 3, since: 4 }
    // An answer may have several parts. Two of these parts have 1,200 locks.
    const part = { held: Array(600).fill(sharedInfo), heldCount: 600, more: true }
    const found = { type: 'found', id: 4, ...part, waiting: [], waitingCount: 0 }
    expect(await reasonFor(found, found)).to.contain('"found" has more than 1000')
    const watching = { type: 'watching', id: 5, ...part }
    expect(await reasonFor(watching, watching)).to.contain('"watching" has more than 1000')
  })

  it('cannot extend a ttl by a jump of its clock between two messages', async () => {
    const ttl = 5_000
    const times = [
      [50_000, 50_000 + longMs],
      [50_000, Number.MAX_SAFE_INTEGER],
      [50_000 - longMs, 50_000],
      [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      [50_000, -longMs],
    ] as const
    for (const [firstAckAt, grantedAt] of times) {
      // The lease is long, so that only the ttl can end the lock.
      const scene = await openScriptedSession({}, welcome({ lease: longMs * 2 }))
      scene.socket.deliver({ type: 'ack', n: 1, at: firstAckAt })
      const lock = await acquireLock(scene, { ttl, at: grantedAt })
      const refreshing = lock.refresh()
      await untilTurnEnds()
      // The client has sent 3 messages: the hello, the lock request and the refresh.
      scene.socket.deliver({ type: 'ack', n: 3, at: grantedAt }, { type: 'refreshed', id: 2 })
      await refreshing
      expect(lock.held).to.equal(true)
      // Lets time pass without firing timers.
      scene.clock.advanceWithoutTimers(ttl)
      expect(lock.held, `${firstAckAt} ${grantedAt}`).to.equal(false)
    }
  })

  it('cannot extend a ttl with a time in a snapshot', async () => {
    // The welcome that `resumeSession` delivers has the time 90,000 ms.
    for (const at of [90_000 + longMs, Number.MAX_SAFE_INTEGER]) {
      const scene = await openScriptedSession(
        { grace: 'lease' },
        welcomeWithGrace({ lease: longMs, grace: longMs }),
      )
      const lock = await acquireLock(scene, { ttl: 5_000, at: 50_000, fence: 1 })
      scene.clock.advance(1_000)
      await resumeSession(
        scene,
        snapshot({ held: [{ ...heldLock({ id: 1, fence: 1 }), ttl: 5_000, at }] }),
      )
      expect(lock.held).to.equal(true)
      // Lets time pass without firing timers.
      scene.clock.advanceWithoutTimers(4_000)
      expect(lock.held, String(at)).to.equal(false)
    }
  })

  it('cannot resume the session under another id', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene)
    scene.socket.end()
    // The client reconnects after this time.
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.deliver(welcomeWithGrace({ session: 'another', resumed: true }))
    expect([lock.held, lock.lost?.reason]).to.deep.equal([false, 'session'])
  })
})
