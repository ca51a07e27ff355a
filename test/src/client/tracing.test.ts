/**
 * Tests the interface for tracing: the session reports each request, grant and end of a lock once
 * to the tracer. An error that a tracer throws at a grant, at a failure or at the end of a lock
 * does not affect the lock. A fence is the number of a grant.
 */
import type { Lock, Tracer } from '@holdfast/client'
import { expect } from 'chai'
import {
  acquireLock,
  errorCodeOf,
  openScriptedSession,
  unhandledRejectionsOf,
  untilTurnEnds,
} from '../support/scriptedSession.js'

/**
 * A tracer that records each call as a text, and replaces the metadata of the caller. For a tracer,
 * metadata is JSON text.
 */
function recordingTracer(): { readonly calls: string[]; readonly tracer: Tracer } {
  const calls: string[] = []
  const tracer: Tracer = {
    request: (key, mode, metadata) => {
      calls.push(`requested ${key} ${mode} ${metadata}`)
      return {
        metadata: '{"traced":true}',
        granted: (fence) => {
          calls.push(`granted ${fence}`)
          return {
            run: (callback) => callback(),
            ended: (lossError) => calls.push(`ended ${lossError?.reason}`),
          }
        },
        failed: ({ code }) => calls.push(`failed ${code}`),
      }
    },
  }
  return { calls, tracer }
}

describe('a session with a tracer', () => {
  it('reports the request, the grant and the end once each, and sends the metadata of the tracer', async () => {
    const { calls, tracer } = recordingTracer()
    const scene = await openScriptedSession({ tracer })
    const lock = await acquireLock(scene, { metadata: 7 })
    expect(scene.socket.sent.at(-1)).to.deep.include({ metadata: { traced: true } })
    void lock.unlock()
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    void scene.session.close()
    // An unlock passes no error to `ended`.
    expect(calls).to.deep.equal(['requested k exclusive 7', 'granted 1', 'ended undefined'])
  })

  it('reports a loss with its reason, once', async () => {
    const { calls, tracer } = recordingTracer()
    const scene = await openScriptedSession({ tracer })
    const lock = await acquireLock(scene)
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    await errorCodeOf(lock.unlock())
    void scene.session.close()
    expect(calls.slice(1)).to.deep.equal(['granted 1', 'ended stolen'])
  })

  it('reports a request that fails', async () => {
    const { calls, tracer } = recordingTracer()
    const { session, socket } = await openScriptedSession({ tracer })
    const requesting = errorCodeOf(session.lock('k', { mode: 'shared', timeout: 5 }))
    await untilTurnEnds()
    socket.deliver({ type: 'failed', id: 1, code: 'LOCK_TIMEOUT', message: '' })
    await requesting
    expect(calls).to.deep.equal(['requested k shared undefined', 'failed LOCK_TIMEOUT'])
  })
})

/** A callback of a faulty tracer. */
function fail(): never {
  throw new Error('mine')
}

describe('a tracer that throws', () => {
  it('does not affect the caller when it throws at a grant or a failure', async () => {
    const tracer: Tracer = { request: () => ({ metadata: undefined, granted: fail, failed: fail }) }
    const scene = await openScriptedSession({ tracer })
    let lock: Lock | undefined
    const unhandledRejections = await unhandledRejectionsOf(async () => {
      lock = await acquireLock(scene)
      const refused = errorCodeOf(scene.session.lock('l'))
      await untilTurnEnds()
      scene.socket.deliver({ type: 'failed', id: 2, code: 'QUOTA_EXCEEDED', message: '' })
      expect(await refused).to.equal('QUOTA_EXCEEDED')
    })
    // One rejection from `granted`, and one from `failed`.
    expect(unhandledRejections).to.have.length(2)
    expect(lock?.held).to.equal(true)
  })

  it('does not affect an unlock or a loss when it throws at the end of a lock', async () => {
    const hold = { run: <T>(callback: () => T) => callback(), ended: fail }
    const tracer: Tracer = {
      request: () => ({ metadata: undefined, granted: () => hold, failed: fail }),
    }
    const scene = await openScriptedSession({ tracer })
    const locks = [
      await acquireLock(scene, { key: 'a' }),
      await acquireLock(scene, { key: 'b' }),
      await acquireLock(scene, { key: 'c' }),
    ] as const
    // Skips the messages that the client has sent so far.
    scene.socket.newMessages()
    const unhandledRejections = await unhandledRejectionsOf(async () => {
      void locks[0].unlock()
      await untilTurnEnds()
      scene.socket.end()
    })
    // One rejection for each lock: the first lock is unlocked, and the other two are lost.
    expect(unhandledRejections).to.have.length(3)
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 4, fence: 1 }])
    expect(locks.map(({ held }) => held)).to.deep.equal([false, false, false])
    expect(scene.events).to.deep.equal(['lost session', 'lost session'])
  })
})
