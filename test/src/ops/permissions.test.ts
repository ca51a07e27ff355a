/**
 * Tests permissions: the broker checks each operation, a refused request changes nothing, and a
 * client sees no lock that it has no permission to see. A fence is the number of a grant.
 * `harnessWithTokens` makes a broker whose principals are the tokens. Its second argument says what
 * each token allows.
 */
import type { Operation, PermissionRule } from '@holdfast/server'
import { permissionsFrom } from '@holdfast/server/internal'
import { expect } from 'chai'
import { BrokerHarness } from '../server/harness.js'
import { answersOf, harnessWithTokens, openSessionWithToken } from './authentication.js'
import { RefusalRecorder } from './refusalRecorder.js'

/**
 * For each operation except `inspect`, a request that needs the permission for this operation. No
 * request needs `inspect`: without this permission, a query for a session gets an answer with fewer
 * fields (see `server/sessionQueries.test.ts`).
 */
const requests: Record<Exclude<Operation, 'inspect'>, object> = {
  lock: { type: 'lock', key: 'k' },
  share: { type: 'lock', key: 'k', mode: 'shared' },
  steal: { type: 'lock', key: 'k', steal: true },
  query: { type: 'query', key: 'k' },
  watch: { type: 'watch', key: 'k' },
  stats: { type: 'stats' },
  revoke: { type: 'revoke', key: 'k', fence: 1, reason: 'stuck' },
}

describe('permissions', () => {
  for (const [operation, request] of Object.entries(requests) as [Operation, object][]) {
    it(`refuse ${operation} with FORBIDDEN if authorize returns false for the key`, async () => {
      const calls: unknown[] = []
      const refusals = new RefusalRecorder()
      const harness = harnessWithTokens({
        observer: refusals,
        authorize: (...args) => {
          calls.push(args)
          return false
        },
      })
      const client = await openSessionWithToken(harness, 'ann')
      client.say({ ...request, id: 1 })
      expect(answersOf(client.takeMessages())).to.deep.equal(['failed FORBIDDEN'])
      // A request for `stats` has no key.
      expect(calls).to.deep.equal([['ann', operation, operation === 'stats' ? '' : 'k']])
      expect(refusals.all[0]).to.include({ cause: 'forbidden', principal: 'ann' })
      expect(harness.broker.stats().totalLocks).to.equal(0)
    })

    it(`allow ${operation} if authorize returns true`, async () => {
      const client = await openSessionWithToken(
        harnessWithTokens({ authorize: (_, requested) => requested === operation }),
        'ann',
      )
      client.say({ ...request, id: 1 })
      // The request may fail for another reason: `revoke` finds no lock.
      expect(answersOf(client.takeMessages())[0]).to.not.equal('failed FORBIDDEN')
    })
  }

  const lockRequests: Readonly<Record<string, object>> = {
    'a permit': { type: 'lock', key: 'k', capacity: 2 },
    'a lock of a scope': { type: 'lock', key: 'k', scope: 1 },
    'a campaign': { type: 'campaign', key: 'k' },
    'a call of once': { type: 'once', key: 'k' },
    'a barrier': { type: 'barrier', key: 'k', parties: 2 },
    'a set': { type: 'lockAll', items: [{ key: 'a' }, { key: 'k', capacity: 2 }] },
  }
  for (const [name, request] of Object.entries(lockRequests)) {
    it(`refuse ${name} if authorize forbids the operation lock on one key`, async () => {
      const operations: Operation[] = []
      const harness = harnessWithTokens({
        authorize: (_, operation, key) => {
          operations.push(operation)
          return key !== 'k'
        },
      })
      const client = await openSessionWithToken(harness, 'ann')
      client.say({ ...request, id: 1 })
      expect(answersOf(client.takeMessages())).to.deep.equal(['failed FORBIDDEN'])
      expect(new Set(operations)).to.deep.equal(new Set(['lock']))
      const { heldCount, waitingCount, barriers } = harness.broker.table
      expect([heldCount, waitingCount, barriers.size]).to.deep.equal([0, 0, 0])
    })
  }

  it('allow only operations that both authorize and the token allow', async () => {
    // `authorize` forbids the key `a`, and the token forbids the key `b`.
    const harness = harnessWithTokens(
      { authorize: (_, __, key) => key !== 'a' },
      (_operation, key) => key !== 'b',
    )
    const client = await openSessionWithToken(harness, 'ann')
    for (const key of ['a', 'b', 'c']) client.lock(key)
    expect(answersOf(client.takeMessages())).to.deep.equal([
      'failed FORBIDDEN',
      'failed FORBIDDEN',
      'granted',
    ])
  })

  it('allow nothing if authorize throws', async () => {
    const harness = harnessWithTokens({
      authorize: () => {
        throw new Error('the database is away')
      },
    })
    const client = await openSessionWithToken(harness, 'ann')
    client.lock('k')
    expect(answersOf(client.takeMessages())).to.deep.equal(['failed FORBIDDEN'])
  })

  it('allow nothing if authorize returns a promise', async () => {
    const returnsPromise = (async () => true) as unknown as () => boolean
    for (const harness of [
      harnessWithTokens({ authorize: returnsPromise }),
      harnessWithTokens({}, returnsPromise),
    ]) {
      const client = await openSessionWithToken(harness, 'ann')
      client.lock('k')
      expect(answersOf(client.takeMessages())).to.deep.equal(['failed FORBIDDEN'])
    }
  })

  it('allow lock and steal but not revoke, if there is neither authorize nor a token with permissions', async () => {
    const client = await openSessionWithToken(harnessWithTokens(), 'ann')
    client.lock('k')
    client.lock('k', { steal: true })
    client.say({ ...requests.revoke, id: 9 })
    expect(answersOf(client.takeMessages())).to.deep.equal([
      'granted',
      'lost',
      'granted',
      'failed FORBIDDEN',
    ])
  })

  it('allow everything, if the broker has no authenticate', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const fence = client.acquire('k')
    client.say({ ...requests.revoke, id: 9, fence })
    expect(answersOf(client.takeMessages())).to.deep.equal(['lost', 'revoked'])
  })

  it('are not needed to unlock and refresh own locks and to cancel own requests', async () => {
    let allowed = true
    const harness = harnessWithTokens({ authorize: () => allowed })
    const client = await openSessionWithToken(harness, 'ann')
    const fence = client.acquire('k')
    const waiting = client.lock('k')
    allowed = false
    client.refresh(fence)
    client.say({ type: 'cancel', request: waiting })
    client.unlock(fence)
    expect(answersOf(client.takeMessages())).to.deep.equal([
      'refreshed',
      'failed ABORTED',
      'unlocked',
    ])
  })

  it('are checked for each request', async () => {
    let allowed = true
    const client = await openSessionWithToken(
      harnessWithTokens({ authorize: () => allowed }),
      'ann',
    )
    client.lock('a')
    allowed = false
    client.lock('b')
    expect(answersOf(client.takeMessages())).to.deep.equal(['granted', 'failed FORBIDDEN'])
  })

  it('also apply after a resume, and a client of another principal cannot resume the session', async () => {
    const harness = harnessWithTokens({}, (_, key) => key === 'k')
    const ann = await openSessionWithToken(harness, 'ann', { grace: 5_000 })
    ann.socket.drop()
    const resume = { session: ann.session, secret: ann.secret! }
    const bob = await openSessionWithToken(harness, 'bob', { resume })
    expect(bob.welcome.resumed).to.equal(false)
    const resumedClient = await openSessionWithToken(harness, 'ann', { resume })
    expect(resumedClient.welcome.resumed).to.equal(true)
    resumedClient.takeMessages()
    resumedClient.lock('other')
    expect(answersOf(resumedClient.takeMessages())).to.deep.equal(['failed FORBIDDEN'])
  })
})

describe('the permission to see a lock', () => {
  /**
   * The permissions of a client that may lock and revoke every key, but see only keys that begin
   * with `mine:`.
   */
  const may = (operation: Operation, key: string) =>
    operation === 'lock' || operation === 'revoke' || key.startsWith('mine:')

  it('filters the locks and the counts of a query', async () => {
    const harness = harnessWithTokens({}, may)
    const client = await openSessionWithToken(harness, 'ann')
    // The second request for `theirs:1` waits, but the client does not see it.
    for (const key of ['mine:1', 'theirs:1', 'mine:2', 'theirs:1']) client.lock(key)
    client.takeMessages()
    client.say({ type: 'query', id: 9 })
    const [found] = client.socket.takeMessagesOfType('found')
    expect(found!.held.map(({ key }) => key)).to.deep.equal(['mine:1', 'mine:2'])
    expect(found).to.include({ heldCount: 2, waitingCount: 0 })
  })

  it('filters the held locks and the events of a watch', async () => {
    const harness = harnessWithTokens({}, may)
    const client = await openSessionWithToken(harness, 'ann')
    client.acquire('theirs:1')
    client.acquire('mine:1')
    client.say({ type: 'watch', id: 9, prefix: '' })
    const [watching] = client.socket.takeMessagesOfType('watching')
    expect(watching!.held.map(({ key }) => key)).to.deep.equal(['mine:1'])
    client.lock('theirs:2')
    client.lock('mine:2')
    const events = client.socket.takeMessagesOfType('event')
    expect(events.map(({ event }) => event.key)).to.deep.equal(['mine:2'])
  })

  it('ends during a watch when the client sends a token with fewer permissions', async () => {
    const harness = new BrokerHarness({
      authenticate: ({ token }) =>
        token === undefined ? undefined : { principal: 'ann', may: () => token === 'wide' },
    })
    const client = await openSessionWithToken(harness, 'wide')
    client.say({ type: 'watch', id: 99 })
    client.acquire('a')
    client.say({ type: 'auth', id: 9, token: 'narrow' })
    await harness.settle()
    expect(answersOf(client.takeMessages())).to.include('authenticated')
    const other = await openSessionWithToken(harness, 'wide')
    other.acquire('b')
    // The client still watches all keys, but its new token allows it to see none of them.
    expect(client.socket.takeMessagesOfType('event')).to.deep.equal([])
  })
})

describe('permission rules', () => {
  const may = permissionsFrom([
    { keys: ['orders:*', 'report'] },
    { keys: ['*'], allow: ['query'] },
    { keys: ['jobs:*'], allow: ['lock', 'revoke', 'inspect'] },
  ] satisfies PermissionRule[])

  // A rule without `allow` allows neither `steal` nor `revoke`. A rule that allows `lock` also
  // allows `share`. `stats` and `inspect` belong to no key, so a rule may allow them with any keys.
  const allowed: [Operation, string][] = [
    ['lock', 'orders:'],
    ['watch', 'orders:42'],
    ['lock', 'report'],
    ['query', 'anything'],
    ['share', 'jobs:1'],
    ['revoke', 'jobs:1'],
    ['stats', ''],
    ['inspect', ''],
  ]
  const forbidden: [Operation, string][] = [
    ['lock', 'order'],
    ['lock', 'report:2'],
    ['steal', 'orders:42'],
    ['revoke', 'orders:42'],
    ['lock', '*'],
    ['watch', 'jobs:1'],
  ]
  it('allow the operations of a rule on its keys and prefixes', () => {
    for (const [operation, key] of allowed) expect(may(operation, key), key).to.equal(true)
  })
  it('allow no other operation or key', () => {
    for (const [operation, key] of forbidden) expect(may(operation, key), key).to.equal(false)
  })
})
