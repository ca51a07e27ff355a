/**
 * Which holders the answer to a failed lock request lists: the oldest holders of the key, at most
 * 16, and at most 16 KiB. The table stores an answer until the client acknowledges the answer. So
 * the holders in all stored answers of one session are limited too. A `TableDriver` applies
 * commands to a lock table and returns the effects as short texts: `granted b#1 k f2` means that
 * request 1 of session `b` got the key `k` with the fence 2. A fence numbers a grant.
 */
import { type Answer, type Command, dump, restore, type SnapshotItem } from '@holdfast/server/core'
import { expect } from 'chai'
import { isDeepEqual, TableAndModel } from './tableAndModel.js'
import { TableDriver } from './tableDriver.js'
import { plainEffect, plainState } from './tableToPlain.js'

/** The longest metadata of a lock: 4 KiB of JSON, which are 4,094 characters and two quotes. */
const largeMetadata = JSON.stringify('x'.repeat(4_094))

/** Returns the holders in the stored answer to a request of `b`. */
function storedHolders(driver: TableDriver, id: number) {
  const answer = driver.table.sessions.get('b')!.answers!.get(id) as Extract<
    Answer,
    { kind: 'failed' }
  >
  return answer.holders!
}

/**
 * Returns a driver with `b`, whose answers are stored because of its grace, and with sessions `a1`,
 * `a2` and so on that share `k`.
 */
function driverWithHolders(holderCount: number, metadata = largeMetadata): TableDriver {
  const driver = new TableDriver()
  driver.open('b', { grace: 5_000 })
  for (let i = 1; i <= holderCount; i++) {
    driver.open(`a${i}`, { name: `name ${i}` })
    driver.lock(`a${i}`, 'k', { mode: 'shared', metadata })
  }
  return driver
}

describe('table: the holders in LOCK_TIMEOUT', () => {
  it('have a name, fence and time, but no metadata', () => {
    const driver = driverWithHolders(2)
    driver.lock('b', 'k', { timeout: 50 })
    expect(driver.timeOutRequest('b', 1)).to.include('answer b#1 LOCK_TIMEOUT by a1 f1, a2 f2')
    const [first] = storedHolders(driver, 1)
    expect(first).to.deep.equal({
      session: 'a1',
      name: 'name 1',
      metadata: undefined,
      fence: 1,
      // `a1` locks with the third command, and the first command has the time 1,000.
      since: 1_002,
    })
  })

  it('do not include waiters that are granted when the request leaves the queue', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { timeout: 50 })
    driver.lock('c', 'k', { mode: 'shared' })
    expect(driver.timeOutRequest('b', 1)).to.deep.equal([
      'withdrawn b#1 k timeout',
      'granted c#1 k f2',
      'answer b#1 LOCK_TIMEOUT by a f1',
    ])
  })

  it('include the requesting session itself if it holds the key', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k')
    driver.lock('a', 'k', { timeout: 50 })
    expect(driver.timeOutRequest('a', 2)).to.include('answer a#2 LOCK_TIMEOUT by a f1')
  })

  it('are an empty list if the key is free, but the table is quiet (grants only steals)', () => {
    const driver = TableDriver.withSessions('a')
    driver.beginQuietStart()
    driver.lock('a', 'k', { timeout: 50 })
    expect(driver.timeOutRequest('a', 1)).to.include('answer a#1 LOCK_TIMEOUT by ')
  })

  it('are at most 16', () => {
    const driver = driverWithHolders(20)
    driver.lock('b', 'k', { timeout: 50 })
    driver.timeOutRequest('b', 1)
    expect(storedHolders(driver, 1)).to.have.length(16)
  })
})

describe('table: shared answers', () => {
  it('are one object for two sessions while the holders of the key do not change', () => {
    const driver = driverWithHolders(3, '"small"')
    driver.open('c', { grace: 5_000 })
    driver.lock('b', 'k', { timeout: 0 })
    driver.lock('c', 'k', { timeout: 0 })
    const { sessions } = driver.table
    expect(sessions.get('c')!.answers!.get(1)).to.equal(sessions.get('b')!.answers!.get(1))
  })

  it('are few objects in one session, even if its answers reach the limit of 256 KiB', () => {
    const driver = driverWithHolders(16)
    for (let i = 0; i < 1_024; i++) driver.lock('b', 'k', { timeout: 0 })
    const answers = driver.table.sessions.get('b')!.answers!
    // The objects are the full answer, an answer with fewer holders just below the limit, and an
    // answer with one holder for the rest.
    expect(new Set(answers.values()).size).to.be.below(5)
  })

  it('name the present holders after each grant and each release', () => {
    const driver = driverWithHolders(4, '"small"')
    let id = 0
    const reportedSessions = (): string[] => {
      driver.lock('b', 'k', { timeout: 0 })
      return storedHolders(driver, ++id).map(({ session }) => session)
    }
    expect(reportedSessions()).to.deep.equal(['a1', 'a2', 'a3', 'a4'])
    driver.unlock('a2', 2)
    expect(reportedSessions()).to.deep.equal(['a1', 'a3', 'a4'])
    driver.unlock('a4', 4)
    expect(reportedSessions()).to.deep.equal(['a1', 'a3'])
    driver.lock('a2', 'k', { mode: 'shared' })
    expect(reportedSessions()).to.deep.equal(['a1', 'a3', 'a2'])
    driver.unlock('a1', 1)
    expect(reportedSessions()).to.deep.equal(['a3', 'a2'])
  })

  it('name the right holders even if requests for more keys fail than can have shared answers', () => {
    const driver = TableDriver.withSessions('a', 'b')
    // The table keeps the shared answers of only 64 keys, so none is left for the second round.
    const keyCount = 200
    for (let key = 1; key <= keyCount; key++) driver.lock('a', `k${key}`)
    for (const round of [0, 1]) {
      for (let key = 1; key <= keyCount; key++) {
        const id = keyCount * round + key
        expect(driver.lock('b', `k${key}`, { timeout: 0 })).to.deep.equal([
          `answer b#${id} LOCK_HELD by a f${key}`,
        ])
      }
    }
  })
})

describe('table: the stored size of holders', () => {
  it('is at most 16 KiB in one answer, and each holder is complete', () => {
    const driver = driverWithHolders(16)
    driver.lock('b', 'k', { timeout: 0 })
    // A holder has 4 KiB of metadata and other fields, so four holders exceed 16 KiB.
    expect(storedHolders(driver, 1).map(({ session }) => session)).to.deep.equal(['a1', 'a2', 'a3'])
    // Allows 1 KiB more for each of the three holders, whose metadata this JSON escapes again.
    expect(JSON.stringify(storedHolders(driver, 1)).length).to.be.below(16 * 1024 + 3 * 1024)
  })

  it('has a limit of 256 KiB in a session; answers above it have one holder without metadata', () => {
    const driver = driverWithHolders(16)
    for (let i = 0; i < 1_024; i++) driver.lock('b', 'k', { timeout: 0 })
    const [first, last] = [storedHolders(driver, 1), storedHolders(driver, 1_024)]
    expect([first.length, first[0]!.metadata]).to.deep.equal([3, largeMetadata])
    expect(last).to.deep.equal([{ ...first[0], metadata: undefined }])
    const stored = JSON.stringify([...driver.table.sessions.get('b')!.answers!.values()])
    // The answers below the limit take 256 KiB, and those with one short holder take less.
    expect(stored.length).to.be.below(512 * 1024)
  })

  it('shrinks when the client acknowledges answers', () => {
    const driver = driverWithHolders(16)
    // The holders of 100 answers exceed 256 KiB, so the last answers have one holder each.
    for (let i = 0; i < 100; i++) driver.lock('b', 'k', { timeout: 0 })
    expect(storedHolders(driver, 100)).to.have.length(1)
    // The table must subtract the size of answer 2 only once.
    driver.ack('b', [1, 2, 2])
    driver.lock('b', 'k', { timeout: 0 })
    expect(storedHolders(driver, 101)).to.have.length(3)
    driver.ack(
      'b',
      Array.from({ length: 101 }, (_, i) => i + 1),
    )
    expect(driver.table.sessions.get('b')!.storedHolderBytes).to.equal(0)
  })

  it('counts three bytes, the most possible, for each character of a text that is not pure ASCII', () => {
    const driver = driverWithHolders(4, JSON.stringify('é'.repeat(2_047)))
    driver.lock('b', 'k', { timeout: 0 })
    // The metadata of each holder counts as 6 KiB, so two holders fit into 16 KiB.
    expect(storedHolders(driver, 1)).to.have.length(2)
  })

  it('is not counted in a session whose answers are not stored', () => {
    const driver = driverWithHolders(3)
    driver.open('c')
    let answer: string | undefined
    for (let i = 0; i < 100; i++) [answer] = driver.lock('c', 'k', { timeout: 0 })
    expect(answer).to.equal('answer c#100 LOCK_HELD by a1 f1, a2 f2, a3 f3')
  })

  it('is the same in the model, and after a snapshot', () => {
    const tableAndModel = new TableAndModel()
    // The driver need not check the invariants, because `tableAndModel` checks them.
    const driver = new TableDriver({ checksInvariants: false })
    const apply = driver.apply.bind(driver)
    // `tableAndModel` receives every command too, and throws if its table and model differ.
    driver.apply = (command: Command) => {
      tableAndModel.apply(command)
      return apply(command)
    }
    driver.open('b', { grace: 5_000 })
    // Some holders have a name with a character beyond ASCII, and one holder has no metadata.
    for (let i = 1; i <= 6; i++) {
      driver.open(`a${i}`, i % 2 === 0 ? { name: `näme ${i}` } : {})
      driver.lock(`a${i}`, 'k', { mode: 'shared', ...(i === 3 ? {} : { metadata: largeMetadata }) })
    }
    for (let i = 0; i < 20; i++) driver.lock('b', 'k', { timeout: 0 })
    driver.lock('b', 'k', { timeout: 9 })
    driver.timeOutRequest('b', 21)
    driver.ack('b', [3])
    driver.lock('b', 'k', { timeout: 0 })
    const items = JSON.parse(JSON.stringify([...dump(driver.table)])) as SnapshotItem[]
    const copy = restore(items)
    expect(isDeepEqual(plainState(copy), plainState(driver.table))).to.equal(true)
    // The session b has sent 22 requests.
    const origin = { at: 9, session: 'b', attachEpoch: 1, id: 23 }
    const terms = { ttl: undefined, timeout: 0, steal: false, metadata: undefined }
    const finalRequest: Command = { type: 'lock', ...origin, key: 'k', mode: 'exclusive', ...terms }
    const [copyEffects, tableEffects] = [copy.apply(finalRequest), driver.table.apply(finalRequest)]
    expect(isDeepEqual(copyEffects.map(plainEffect), tableEffects.map(plainEffect))).to.equal(true)
  })
})
