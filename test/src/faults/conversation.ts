/**
 * One conversation of a client with a broker in which every kind of request comes up, with its
 * outcome known beforehand. Whatever the network does to it in between, it ends the same, and the
 * broker has done everything exactly once.
 */
import { connect, fixedInterval, HoldfastError, type Lock, type Session } from '@holdfast/client'
import { createBroker, type HoldfastBroker } from '@holdfast/server'
import { expect } from 'chai'
import { TcpProxy, type Treatment } from './proxy.js'

/** What came of a run. */
export interface Outcome {
  /** False if the very first connection did not come about, which nobody retries. */
  readonly connected: boolean
  readonly resumes: number
}

/** Counts how often each promise settles; a second time would be a fault. */
class Ledger {
  readonly settled: string[] = []

  async note<T>(what: string, promise: Promise<T>): Promise<T> {
    try {
      return await promise
    } finally {
      this.settled.push(what)
    }
  }
}

const expectedLedger = [
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

/** Runs the conversation through a proxy that treats its connections so. */
export async function converse(treat: (index: number) => Treatment): Promise<Outcome> {
  const broker = createBroker()
  const { url, port } = await broker.listen({ port: 0 })
  const proxy = await TcpProxy.to(port, treat)
  const other = await connect(url, { name: 'other' })
  try {
    const session = await connect(proxy.url, {
      grace: 'lease',
      reconnect: fixedInterval({ interval: 0 }),
    }).catch((error: unknown) => {
      expect(error).to.be.instanceOf(HoldfastError).that.includes({ code: 'UNAVAILABLE' })
    })
    if (!session) {
      expect(broker.query()).to.include({ heldCount: 0, waitingCount: 0 })
      return { connected: false, resumes: 0 }
    }
    return await talk(session, other, broker)
  } finally {
    await other.close()
    await proxy.close()
    await broker.close()
  }
}

async function talk(session: Session, other: Session, broker: HoldfastBroker): Promise<Outcome> {
  const { id } = session
  const faults: string[] = []
  let resumes = 0
  session.on('resumed', () => resumes++)
  session.on('newSession', () => faults.push('newSession'))
  session.on('lost', ({ key }) => faults.push(`lost ${key}`))
  const ledger = new Ledger()
  const held = await ask(session, other, ledger)
  await session.stats()
  expect(faults).to.deep.equal([])
  expect(session.id).to.equal(id)
  expect([...ledger.settled].sort()).to.deep.equal(expectedLedger)
  compare(broker, session, held)
  await Promise.all(held.map((lock) => lock.unlock()))
  expect(broker.query().held.filter((lock) => lock.session === id)).to.deep.equal([])
  expect(faults).to.deep.equal([])
  await session.close()
  return { connected: true, resumes }
}

/** Returns what is left held. */
async function ask(session: Session, other: Session, ledger: Ledger): Promise<Lock[]> {
  const [blockB, blockE] = [await other.lock('b'), await other.lock('e')]
  const a = await ledger.note('lock a', session.lock('a', { ttl: 60_000, metadata: { n: 1 } }))
  const waits = ledger.note('lock b', session.lock('b'))
  const c = await ledger.note('lock c', session.lock('c'))
  const d = await ledger.note('lock d', session.lock('d', { mode: 'shared' }))
  await session.stats()
  await blockB.unlock()
  const b = await waits
  await Promise.all([
    ledger.note('refresh a', a.refresh(30_000)),
    ledger.note('unlock b', b.unlock()),
    ledger.note('unlock d', d.unlock()),
  ])
  const controller = new AbortController()
  const aborted = ledger.note('lock aborted', session.lock('e', { signal: controller.signal }))
  await session.stats()
  controller.abort()
  await expectCode(aborted, 'ABORTED')
  const timedOut = ledger.note('lock timed out', session.lock('e', { timeout: 1 }))
  await expectCode(timedOut, 'LOCK_TIMEOUT')
  expect(blockE.held).to.equal(true)
  return [a, c]
}

async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  const error = await promise.catch((thrown: unknown) => thrown)
  expect(error).to.be.instanceOf(HoldfastError).that.includes({ code })
}

/** What the client believes is what the broker has, and nothing was done twice. */
function compare(broker: HoldfastBroker, session: Session, held: readonly Lock[]): void {
  const { held: locks, waitingCount } = broker.query()
  const own = locks.filter((lock) => lock.session === session.id)
  expect(own.map(({ fence }) => fence)).to.deep.equal(held.map(({ fence }) => fence))
  for (const lock of held) expect(lock.held).to.equal(true)
  expect(waitingCount).to.equal(0)
  const { totalLocks, failedLocks, ...stats } = broker.stats()
  // By a, b, c and d, and twice by the other.
  expect(totalLocks - failedLocks, 'grants').to.equal(6)
  expect(stats).to.include({ unlockCount: 3, refreshCount: 1, expiredLocks: 0, activeLocks: 3 })
  // The timeout may have been over before the broker was asked.
  expect(failedLocks).to.be.within(1, 2)
}
