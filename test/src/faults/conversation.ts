/**
 * Runs a conversation of a client with a broker, for tests that disturb the network meanwhile. The
 * conversation has a refresh, unlocks, and lock requests that are granted, aborted or timed out.
 * The outcomes must be the same in every network, and the broker must handle every request exactly
 * once.
 */
import { connect, fixedInterval, HoldfastError, type Lock, type Session } from '@holdfast/client'
import { createBroker, type HoldfastBroker } from '@holdfast/server'
import { expect } from 'chai'
import { untilMessagesHandled } from '../e2e/stage.js'
import { type ConnectionFilters, TcpProxy } from './proxy.js'

/** The result of a conversation. */
export interface ConversationOutcome {
  /** False if the first connection failed. The client does not retry the first connection. */
  readonly connected: boolean
  /** How often the client resumed its session on a new connection. */
  readonly resumes: number
}

/** Lists the requests that have settled. */
class SettlementLog {
  readonly settled: string[] = []

  /** Waits until the request has settled, and lists it. Returns its result or throws its error. */
  async record<T>(request: string, promise: Promise<T>): Promise<T> {
    try {
      return await promise
    } finally {
      this.settled.push(request)
    }
  }
}

const expectedSettlements = [
  'lock a',
  'lock b',
  'lock c',
  'lock d',
  'refresh a',
  'unlock b',
  'unlock d',
  'lock aborted',
  'lock timed out',
].sort()

/**
 * Runs the conversation through a proxy.
 *
 * @param filtersOf Returns the filters of the connection with this index, from 0.
 */
export async function runConversation(
  filtersOf: (index: number) => ConnectionFilters,
): Promise<ConversationOutcome> {
  const broker = createBroker()
  const { url, port } = await broker.listen({ port: 0 })
  const proxy = await TcpProxy.to(port, filtersOf)
  const other = await connect(url, { name: 'other' })
  try {
    const session = await connect(proxy.url, {
      // The broker keeps the session for a whole lease after a connection dropped.
      grace: 'lease',
      reconnect: fixedInterval({ interval: 0 }),
    }).catch((error: unknown) => {
      expect(error).to.be.instanceOf(HoldfastError).that.includes({ code: 'UNAVAILABLE' })
    })
    if (!session) {
      expect(broker.query()).to.include({ heldCount: 0, waitingCount: 0 })
      return { connected: false, resumes: 0 }
    }
    return await checkConversation(session, other, broker)
  } finally {
    await other.close()
    await proxy.close()
    await broker.close()
  }
}

/** Runs the conversation in a connected session, and checks its outcomes. */
async function checkConversation(
  session: Session,
  other: Session,
  broker: HoldfastBroker,
): Promise<ConversationOutcome> {
  const { id } = session
  const unexpectedEvents: string[] = []
  let resumes = 0
  session.on('resumed', () => resumes++)
  session.on('newSession', () => unexpectedEvents.push('newSession'))
  session.on('lost', ({ key }) => unexpectedEvents.push(`lost ${key}`))
  const settlements = new SettlementLog()
  const held = await sendRequests(session, other, settlements)
  // Waits until the broker has handled all messages of the session.
  await untilMessagesHandled(session)
  expect(unexpectedEvents).to.deep.equal([])
  expect(session.id).to.equal(id)
  expect([...settlements.settled].sort()).to.deep.equal(expectedSettlements)
  compareWithBroker(broker, session, held)
  await Promise.all(held.map((lock) => lock.unlock()))
  expect(broker.query().held.filter((lock) => lock.session === id)).to.deep.equal([])
  expect(unexpectedEvents).to.deep.equal([])
  await session.close()
  return { connected: true, resumes }
}

/** Sends the requests, and waits for their answers. Returns the locks that are still held. */
async function sendRequests(
  session: Session,
  other: Session,
  settlements: SettlementLog,
): Promise<Lock[]> {
  // The other session holds `b` until the request for `b` waits, and `e` until the end.
  const [otherLockB, otherLockE] = [await other.lock('b'), await other.lock('e')]
  const lockA = await settlements.record(
    'lock a',
    session.lock('a', { ttl: 60_000, metadata: { n: 1 } }),
  )
  const waitingForB = settlements.record('lock b', session.lock('b'))
  const lockC = await settlements.record('lock c', session.lock('c'))
  const lockD = await settlements.record('lock d', session.lock('d', { mode: 'shared' }))
  await untilMessagesHandled(session)
  await otherLockB.unlock()
  const lockB = await waitingForB
  await Promise.all([
    settlements.record('refresh a', lockA.refresh(30_000)),
    settlements.record('unlock b', lockB.unlock()),
    settlements.record('unlock d', lockD.unlock()),
  ])
  const controller = new AbortController()
  const aborted = settlements.record(
    'lock aborted',
    session.lock('e', { signal: controller.signal }),
  )
  await untilMessagesHandled(session)
  controller.abort()
  await expectCode(aborted, 'ABORTED')
  const timedOut = settlements.record('lock timed out', session.lock('e', { timeout: 1 }))
  await expectCode(timedOut, 'LOCK_TIMEOUT')
  expect(otherLockE.held).to.equal(true)
  return [lockA, lockC]
}

/** Checks that the promise rejects with this error code. */
async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  const error = await promise.catch((thrown: unknown) => thrown)
  expect(error).to.be.instanceOf(HoldfastError).that.includes({ code })
}

/**
 * Checks that the client and the broker know the same locks, and that the broker handled no request
 * twice.
 */
function compareWithBroker(broker: HoldfastBroker, session: Session, held: readonly Lock[]): void {
  const { held: locks, waitingCount } = broker.query()
  const sessionLocks = locks.filter((lock) => lock.session === session.id)
  expect(sessionLocks.map(({ fence }) => fence)).to.deep.equal(held.map(({ fence }) => fence))
  for (const lock of held) expect(lock.held).to.equal(true)
  expect(waitingCount).to.equal(0)
  const { totalLocks, failedLocks, ...stats } = broker.stats()
  // This session got locks on a, b, c and d. The other session got locks on b and e.
  expect(totalLocks - failedLocks, 'grants').to.equal(6)
  // The other session unlocked b, and this session unlocked b and d. The locks on a, c and e are
  // still held.
  expect(stats).to.include({ unlockCount: 3, refreshCount: 1, expiredLocks: 0, activeLocks: 3 })
  // The broker counts the aborted request as failed. The broker counts the request that timed out
  // only if this request reached the broker before the client gave up.
  expect(failedLocks).to.be.within(1, 2)
}
