/**
 * Tests one `AbortSignal` for many requests. Node must not warn of too many listeners, and one
 * abort settles all requests. The signal keeps no listener after the requests have settled. A ttl
 * is how long a lock lasts without a refresh.
 */
import { getEventListeners } from 'node:events'
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { untilTurnEnds } from '../support/scriptedSession.js'
import { Stage, untilMessagesHandled } from './stage.js'

const requestCount = 100

/** The warnings that Node prints while `act` runs. */
async function warningsOf(act: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = []
  const listener = (warning: Error) => warnings.push(warning.message)
  process.on('warning', listener)
  try {
    await act()
    // Node prints a warning in a later turn of the event loop.
    await untilTurnEnds()
  } finally {
    process.off('warning', listener)
  }
  return warnings
}

/**
 * The distinct codes of the errors with which these promises reject. An error without a code counts
 * by its name, and a resolved promise as `'none'`.
 */
async function codesOf(promises: readonly Promise<unknown>[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(promises)
  const codes = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason.code ?? outcome.reason.name) : 'none',
  )
  return [...new Set(codes)]
}

describe('e2e: one signal for many requests', () => {
  const stage = Stage.forEachTest()
  /** Calls the function `requestCount` times, and returns the results. */
  const repeat = <T>(make: (i: number) => T): T[] =>
    Array.from({ length: requestCount }, (_, i) => make(i))
  const listenerCount = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

  it('causes no warning and keeps no listener when all requests are granted', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a')
    const session = sessions[0]!
    const { signal } = new AbortController()
    const warnings = await warningsOf(async () => {
      const locks = await Promise.all([
        ...repeat((i) => session.lock(`lock ${i}`, { signal, ttl: 60_000 })),
        ...repeat((i) => session.tryLock(`try ${i}`, { signal })),
        ...repeat((i) => session.singleflightLock(`single ${i}`, { signal })),
      ])
      // Refreshes the locks that `session.lock` returned. Only these locks have a ttl.
      await Promise.all(
        locks.slice(0, requestCount).map((lock) => lock.refresh(undefined, { signal })),
      )
      await Promise.all(repeat((i) => session.withLock(`with ${i}`, () => i, { signal })))
      await Promise.all(repeat((i) => session.locks.request(`name ${i}`, { signal }, () => i)))
    })
    expect(warnings).to.deep.equal([])
    expect(listenerCount(signal)).to.equal(0)
  })

  it('rejects all waiting requests with one abort', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b')
    const [holder, session] = [sessions[0]!, sessions[1]!]
    await holder.lock('k')
    const controller = new AbortController()
    const { signal } = controller
    const warnings = await warningsOf(async () => {
      const waiting = [
        ...repeat(() => session.lock('k', { signal })),
        ...repeat(() => session.withLock('k', () => {}, { signal })),
        // Calls of `singleflightLock` with different ttls do not share one request.
        ...repeat((i) => session.singleflightLock('k', { signal, ttl: 1_000 + i })),
      ]
      // `session.locks` is the Web Locks API, which rejects with the reason of the signal.
      const webLocksRequests = repeat(() => session.locks.request('k', { signal }, () => {}))
      const codes = [codesOf(waiting), codesOf(webLocksRequests)]
      await untilMessagesHandled(session)
      // The session has one listener for all requests.
      expect(listenerCount(signal)).to.equal(1)
      controller.abort()
      expect(await Promise.all(codes)).to.deep.equal([['ABORTED'], [signal.reason.code]])
    })
    expect(warnings).to.deep.equal([])
    expect(listenerCount(signal)).to.equal(0)
  })

  it('causes no warning when many sessions connect', async () => {
    const { url } = await stage.startBroker()
    const { signal } = new AbortController()
    const warnings = await warningsOf(async () => {
      const sessions = await Promise.all(repeat(() => connect(url, { signal })))
      await Promise.all(sessions.map((session) => session.close()))
    })
    expect(warnings).to.deep.equal([])
    expect(listenerCount(signal)).to.equal(0)
  })
})
