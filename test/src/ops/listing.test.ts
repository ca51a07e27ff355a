/**
 * Tests listings with more locks than one query returns. Without a flag, the command lists a part
 * of the locks and exits 1. With `--limit N`, the command lists at most N locks. With `--all`, the
 * command lists all locks page by page. A fence is the number of a grant, and identifies the grant.
 */
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { Stage } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { type Ended, Holdfast } from './command.js'

/** More locks than two queries return: one query returns at most 1,000 locks. */
const lockCount = 2_345
/**
 * A prime that divides neither 2,345 nor 9,000, the numbers of keys in two tests. So the remainder
 * of `i * stride` visits each key once, in mixed order.
 */
const stride = 997

describe('a long listing of holdfast', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, ...args: string[]) => Holdfast.run(stage, [...args, '--url', url])
  const keyOf = (i: number) => `key:${String(i).padStart(5, '0')}`

  /** Makes a broker with `lockCount` locks, acquired in mixed order. */
  async function crowdedBroker(): Promise<{ url: string; ann: Session; newestKey: string }> {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const ann = sessions[0]!
    const keys = Array.from({ length: lockCount }, (_, i) => keyOf((i * stride) % lockCount))
    await Promise.all(keys.map((key) => ann.lock(key)))
    return { url, ann, newestKey: keys.at(-1)! }
  }

  it('has every lock once and in order with ls --all, also as JSON', async () => {
    const { url } = await crowdedBroker()
    const { code, out, err } = await run(url, 'ls', '--all', '--json', 'key:')
    expect([code, err]).to.deep.equal([0, []])
    const keys = out.map((line) => JSON.parse(line).key)
    expect(keys).to.deep.equal(Array.from({ length: lockCount }, (_, i) => keyOf(i)))
    // The table begins with the names of its columns.
    expect((await run(url, 'ls', '--all')).out).to.have.length(lockCount + 1)
  })

  it('is reported as incomplete with exit code 1, unless --limit is set', async () => {
    const { url } = await crowdedBroker()
    const incompleteListings = [[], ['--json']].map((flags) => run(url, 'ls', ...flags))
    const otherListings = [
      ['--json', '--limit', '1500'],
      ['--limit', '2'],
      // 1,000 keys begin with `key:00`, as many as one query returns.
      ['--json', 'key:00'],
    ].map((flags) => run(url, 'ls', ...flags))
    for (const { code, out, err } of await Promise.all(incompleteListings)) {
      expect(code).to.equal(1)
      expect(out.filter((line) => line.includes('key:'))).to.have.length(1_000)
      expect(err).to.deep.equal([
        `holdfast: Only 1000 of ${lockCount} locks are listed: use --all, or --limit N if N are enough`,
      ])
    }
    const [limitedJson, limitedText, prefixed] = (await Promise.all(otherListings)) as [
      Ended,
      Ended,
      Ended,
    ]
    expect([limitedJson.code, limitedJson.out.length, limitedJson.err]).to.deep.equal([
      0,
      1_500,
      [],
    ])
    // The text has the names of the columns, two locks, and the number of the omitted locks.
    expect([limitedText.code, limitedText.out.length, limitedText.out.at(-1)]).to.deep.equal([
      0,
      4,
      `... and ${lockCount - 2} more`,
    ])
    expect(prefixed.code).to.equal(0)
  })

  it('has all holders of one key and the length of its queue with ls --all', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('a')
    await sessions[0]!.lock('z')
    const client = await RawClient.open(url)
    stage.onCleanUp(() => client.drop())
    const count = 2_100
    const lock = (id: number, mode: string) => ({ type: 'lock', id, key: 'k', mode })
    const requests = Array.from({ length: count }, (_, i) => lock(i + 1, 'shared'))
    // The broker stores at most 1,024 unacknowledged answers, so an ack follows each thousand.
    client.send(...requests.slice(0, 1_000))
    client.send({ type: 'ack', ids: requests.slice(0, 1_000).map(({ id }) => id) })
    client.send(...requests.slice(1_000, 2_000))
    client.send({ type: 'ack', ids: requests.slice(1_000, 2_000).map(({ id }) => id) })
    client.send(...requests.slice(2_000))
    // 1,020 requests wait. One query returns at most 1,000 of these requests.
    for (let i = 0; i < 1_020; i++) client.send(lock(count + 1 + i, 'exclusive'))
    // The answer to `stats` shows that the broker has handled all earlier requests.
    client.send({ type: 'stats', id: 9_000 })
    await client.receive('stats')
    const { out, code } = await run(url, 'ls', '--all', '--json')
    const locks = out.map((line) => JSON.parse(line))
    expect([code, locks[0].key, locks.at(-1).key]).to.deep.equal([0, 'a', 'z'])
    const held = locks.filter(({ key }) => key === 'k')
    expect(new Set(held.map(({ fence }) => fence)).size).to.equal(held.length)
    expect(held.every(({ waiting }) => waiting === held[0].waiting)).to.equal(true)
    // A query counts all holders and requests, also those that it does not list.
    const counts = await sessions[0]!.query({ key: 'k', limit: 1 })
    expect([held.length, held[0].waiting]).to.deep.equal([counts.heldCount, counts.waitingCount])
    // The holders fill more than two pages of 1,000 locks.
    expect(held.length).to.be.above(2_000)
  })

  it('is reported as incomplete by top, and read completely by top --all', async () => {
    const { url, ann, newestKey } = await crowdedBroker()
    const bob = await stage.openSession(url)
    bob.lock(newestKey).catch(() => {})
    // The answer to `stats` shows that the broker has queued the request.
    await bob.stats()
    // A query without `after` lists the first 1,000 grants, so it omits the newest lock.
    expect((await ann.query({ limit: 1_000 })).held.some(({ key }) => key === newestKey)).to.equal(
      false,
    )
    const partialReport = await run(url, 'top', '--count', '1', '--json')
    expect([
      partialReport.code,
      partialReport.err.length,
      JSON.parse(partialReport.out[0]!).isWhole,
    ]).to.deep.equal([1, 1, false])
    const wholeReport = await run(url, 'top', '--count', '1', '--json', '--all')
    expect([wholeReport.code, wholeReport.err]).to.deep.equal([0, []])
    const [busiest, ...others] = JSON.parse(wholeReport.out[0]!).keys
    expect(busiest).to.include({ key: newestKey, waiting: 1 })
    expect(others).to.have.length(lockCount - 1)
  })

  // This test needs queries that pause, because other requests run only in a pause. The broker
  // pauses if it must check the permission for more than about 8,000 keys. Only a full run has the
  // time for so many keys.
  if (isFullRun) {
    it('has each lock once while locks are granted and released during a query', async () => {
      const { url } = await stage.startBroker({ authorize: () => true })
      const [ann, bob] = [await stage.openSession(url), await stage.openSession(url)]
      const permanentKeys = Array.from({ length: 9_000 }, (_, i) => keyOf(2 * i))
      await Promise.all(permanentKeys.map((key) => ann.lock(key)))
      let isOver = false
      // Ann holds the keys with even numbers. Bob locks keys with odd numbers in 20 loops.
      const changing = Array.from({ length: 20 }, async (_, i) => {
        for (let n = i; !isOver; n += 20) {
          const lock = await bob.lock(keyOf(2 * ((n * stride) % 9_000) + 1))
          await lock.unlock()
        }
      })
      const listedKeys: string[] = []
      for (let after = ''; ; after = listedKeys.at(-1)!) {
        const { held } = await ann.query({ after })
        if (held.length === 0) break
        listedKeys.push(...held.map(({ key }) => key))
      }
      isOver = true
      await Promise.all(changing)
      // The number of a key follows `key:`.
      const listedPermanentKeys = listedKeys.filter((key) => Number(key.slice(4)) % 2 === 0)
      expect(listedPermanentKeys.length).to.equal(permanentKeys.length)
      expect(listedPermanentKeys).to.deep.equal(permanentKeys)
    })
  }

  it('has each lock once, if its session holds the lock from the first page to the last', async () => {
    const { url, sessions, broker } = await stage.startBrokerWithSessions('ann')
    const ann = sessions[0]!
    const bob = await stage.openSession(url)
    // Ann holds 40 keys with even numbers from 0 to 78. Bob locks keys with odd numbers.
    const permanentKeys = Array.from({ length: 40 }, (_, i) => keyOf(2 * i))
    for (const key of permanentKeys) await ann.lock(key)
    const listedKeys: string[] = []
    let after = ''
    for (let i = 0; ; i++) {
      const { held } = await ann.query({ after, limit: 3 })
      if (held.length === 0) break
      listedKeys.push(...held.map(({ key }) => key))
      after = held.at(-1)!.key
      // Bob locks one key in rising order from key 1, and one in falling order from key 81. Of the
      // first kind, he releases every second lock.
      const risingLock = await bob.lock(keyOf(2 * i + 1))
      await bob.lock(keyOf(81 - 2 * (i % 40)), { timeout: 0 }).catch(() => {})
      if (i % 2 === 0) await risingLock.unlock()
    }
    expect(listedKeys.filter((key) => permanentKeys.includes(key))).to.deep.equal(permanentKeys)
    expect(new Set(listedKeys).size).to.equal(listedKeys.length)
    // The method `query` of the broker takes `after` too.
    expect(broker.query({ after: keyOf(77), limit: 1 }).held[0]?.key).to.equal(keyOf(78))
  })
})
