/**
 * One `AbortSignal` for many requests: Node prints no warning of a leak, an abort settles all of
 * them, and the signal keeps no listener after they have settled.
 */
import { getEventListeners } from 'node:events'
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { turn } from '../support/scriptedSession.js'
import { Stage, untilHandled } from './stage.js'

const many = 100

/** The warnings that Node prints while `act` runs. */
async function warningsOf(act: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = []
  const listener = (warning: Error) => warnings.push(warning.message)
  process.on('warning', listener)
  try {
    await act()
    await turn()
  } finally {
    process.off('warning', listener)
  }
  return warnings
}

/** The distinct codes with which these promises reject; `'none'` for one that resolves. */
async function codesOf(promises: readonly Promise<unknown>[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(promises)
  const codes = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason.code ?? outcome.reason.name) : 'none',
  )
  return [...new Set(codes)]
}

describe('e2e: one signal for many requests', () => {
  const stage = Stage.forEachTest()
  const times = <T>(make: (i: number) => T): T[] => Array.from({ length: many }, (_, i) => make(i))
  const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

  it('leaves no listener and no warning when all are granted', async () => {
    const { sessions } = await stage.brokerWith('a')
    const session = sessions[0]!
    const { signal } = new AbortController()
    const warnings = await warningsOf(async () => {
      const locks = await Promise.all([
        ...times((i) => session.lock(`lock ${i}`, { signal, ttl: 60_000 })),
        ...times((i) => session.tryLock(`try ${i}`, { signal })),
        ...times((i) => session.singleflightLock(`single ${i}`, { signal })),
      ])
      await Promise.all(locks.slice(0, many).map((lock) => lock.refresh(undefined, { signal })))
      await Promise.all(times((i) => session.withLock(`with ${i}`, () => i, { signal })))
      await Promise.all(times((i) => session.locks.request(`name ${i}`, { signal }, () => i)))
    })
    expect(warnings).to.deep.equal([])
    expect(listeners(signal)).to.equal(0)
  })

  it('settles all waiting requests by one abort', async () => {
    const { sessions } = await stage.brokerWith('a', 'b')
    const [holder, session] = [sessions[0]!, sessions[1]!]
    await holder.lock('k')
    const controller = new AbortController()
    const { signal } = controller
    const warnings = await warningsOf(async () => {
      const waiting = [
        ...times(() => session.lock('k', { signal })),
        ...times(() => session.withLock('k', () => {}, { signal })),
        ...times((i) => session.singleflightLock('k', { signal, ttl: 1_000 + i })),
      ]
      const requested = times(() => session.locks.request('k', { signal }, () => {}))
      const codes = [codesOf(waiting), codesOf(requested)]
      await untilHandled(session)
      expect(listeners(signal)).to.equal(1)
      controller.abort()
      expect(await Promise.all(codes)).to.deep.equal([['ABORTED'], [signal.reason.code]])
    })
    expect(warnings).to.deep.equal([])
    expect(listeners(signal)).to.equal(0)
  })

  it('connects many sessions', async () => {
    const { url } = await stage.broker()
    const { signal } = new AbortController()
    const warnings = await warningsOf(async () => {
      const sessions = await Promise.all(times(() => connect(url, { signal })))
      await Promise.all(sessions.map((session) => session.close()))
    })
    expect(warnings).to.deep.equal([])
    expect(listeners(signal)).to.equal(0)
  })
})
