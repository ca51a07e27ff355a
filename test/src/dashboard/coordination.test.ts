/**
 * Tests what the dashboard shows of elections, barriers, kept results, scopes, upgrades and refused
 * deadlocks: the models without a browser, and the pages in Chromium. A scope is one logical task
 * of a session.
 */
import type { BarrierCallInfo, HeldInfo, WaitingInfo } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { DashboardPages } from './dashboardPages.js'
import { loadModule } from './modules.js'

/** A waiting request of a session with this name. */
function waits(name: string | undefined, more: Partial<WaitingInfo> = {}): WaitingInfo {
  return { key: 'k', mode: 'exclusive', session: `s-${name}`, name, since: 1, ...more }
}

/** A held lock of this key. */
function held(key: string, more: Partial<HeldInfo> = {}): HeldInfo {
  return { key, mode: 'exclusive', session: 'a', fence: 1, since: 1, ...more }
}

describe('the groups of waiters', () => {
  it('join requests of the same kind whose names differ only in numbers', async () => {
    const { waiterGroups } = await loadModule('waiterGroups')
    const fifty = Array.from({ length: 50 }, (_, i) => waits(`worker-${i}.eu${i % 2}`))
    const groups = waiterGroups([
      ...fifty,
      waits('worker-7', { mode: 'shared' }),
      waits(undefined),
      waits(undefined),
      waits('other'),
    ])
    expect(groups.map(({ label, count }) => [label, count])).to.deep.equal([
      ['worker-….eu…', 50],
      ['worker-7', 1],
      [undefined, 2],
      ['other', 1],
    ])
  })
})

describe('the barriers', () => {
  it('count all waiting calls that are not shown, even calls that the broker does not list', async () => {
    const { barriersIn } = await loadModule('coordination')
    const call = (key: string, waiting: number) =>
      ({ key, session: 's', parties: 99, waiting, since: 1 }) as BarrierCallInfo
    const listed = [...Array.from({ length: 8 }, () => call('b', 8)), call('a', 20), call('a', 20)]
    // Each row shows at most six calls.
    const rows = barriersIn(listed, 6)
    expect(
      rows.map(({ key, calls, hiddenCalls }) => [key, calls.length, hiddenCalls]),
    ).to.deep.equal([
      // Twenty calls wait for the barrier `a`. The broker lists two of them.
      ['a', 2, 18],
      ['b', 6, 2],
    ])
  })
})

describe('the longest waits', () => {
  it('list the oldest request and the oldest holder of each key, the longest wait first', async () => {
    const { longestWaits } = await loadModule('longestWaits')
    const rows = [
      { key: 'free', held: [held('free')], waiting: [] },
      { key: 'a', held: [], waiting: [waits('x', { since: 30 }), waits('y', { since: 20 })] },
      {
        key: 'b',
        held: [held('b', { since: 5 }), held('b', { since: 3, session: 'h' })],
        waiting: [waits('z', { since: 10 })],
      },
      { key: 'c', held: [], waiting: [waits('w', { since: 40 })] },
    ]
    // The request for "c" is the newest, so it is not one of the two longest waits.
    const found = longestWaits(rows, 2)
    const names = found.map(({ key, request, holder }) => [key, request.name, holder?.session])
    expect(names).to.deep.equal([
      ['b', 'z', 'h'],
      ['a', 'y', undefined],
    ])
    expect(longestWaits([], 2)).to.deep.equal([])
  })
})

describe('the models of the coordination page', () => {
  it('list elections with their leaders and the number of candidates', async () => {
    const { electionsIn } = await loadModule('coordination')
    const rows = [
      { key: 'z', held: [held('z', { election: true })], waiting: [] },
      { key: 'plain', held: [held('plain')], waiting: [waits('x')] },
      // The holder of `a` is not a leader.
      { key: 'a', held: [held('a')], waiting: [waits('x', { election: true }), waits('y')] },
    ]
    const elections = electionsIn(rows)
    const fields = elections.map(({ key, leader, candidates }) => [key, leader?.key, candidates])
    expect(fields).to.deep.equal([
      ['a', undefined, 1],
      ['z', 'z', 0],
    ])
  })

  it('list each scope of a session in its own row, the scope with the longest wait first', async () => {
    const { scopesIn } = await loadModule('coordination')
    const sessions = [
      {
        id: 's',
        name: 'ann',
        holds: [held('a', { scope: 1 }), held('b', { scope: 2 }), held('c')],
        awaits: [waits('ann', { scope: 2, since: 5 })],
      },
    ]
    const rows = scopesIn(sessions).map(({ scope, holds, awaits }) => [
      scope,
      holds.map(({ key }) => key).join(),
      awaits.length,
    ])
    expect(rows).to.deep.equal([
      [2, 'b', 1],
      [1, 'a', 0],
    ])
  })

  it('report no deadlock of a session that waits for the upgrade of its own lock', async () => {
    const [{ waitForGraphOf }, { sessionRows }] = [
      await loadModule('waitForGraph'),
      await loadModule('sessionRows'),
    ]
    const shared = { mode: 'shared' } as const
    const row = {
      key: 'k',
      held: [held('k', shared), held('k', { ...shared, session: 'b', fence: 2 })],
      waiting: [waits(undefined, { session: 'a', upgrade: true })],
    }
    const rows = new Map([['k', row]])
    const graph = waitForGraphOf('k', rows, sessionRows(rows.values()))
    expect(graph.cycle).to.deep.equal([])
  })

  it('remove the request for an upgrade, and no other request, when the lock is upgraded', async () => {
    const { LockModel } = await loadModule('lockModel')
    const model = new LockModel(() => 0)
    const lock = held('k', { mode: 'shared' })
    model.onState({ event: 'state', held: [lock], heldCount: 1, resync: false })
    const waiting = [
      waits(undefined, { session: 'a', upgrade: true, since: 9 }),
      waits(undefined, { session: 'a', since: 1 }),
    ]
    const query = model.beginQuery()
    model.applyResult(query, { held: [lock], waiting, heldCount: 1, waitingCount: 2 })
    model.onEvent({ ...lock, event: 'upgraded', mode: 'exclusive', fence: 7 })
    expect(model.rows.get('k')!.waiting.map(({ since }) => since)).to.deep.equal([1])
  })
})

describe('the dashboard in Chromium shows', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('who leads with which value, the calls at a barrier, and kept results', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    const { fence } = await ann!.campaign('scheduler', { value: { url: 'http://a' } })
    bob!.campaign('scheduler').catch(() => {})
    bob!.barrier('phase-2', { parties: 3 }).catch(() => {})
    await ann!.once('report', () => 'x', { keep: 600_000 })
    await untilMessagesHandled(bob!)
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/coordination')
    const { page } = dashboardPage
    // Row 0 is the heading. `textContent` puts nothing between the cells of a row.
    const row = (panel: string) => page.getByRole('region', { name: panel }).getByRole('row').nth(1)
    await row('Elections').waitFor()
    const election = await row('Elections').textContent()
    expect(election).to.match(/^schedulerann/)
    expect(election).to.include(`{"url":"http://a"}${fence}`)
    await row('Barriers').getByText('1 of 3').waitFor()
    expect(await row('Barriers').textContent()).to.match(/^phase-2.*bob/)
    await row('Kept results').getByText('3 characters').waitFor()
    const keptResults = page.getByRole('region', { name: 'Kept results' })
    expect(await keptResults.getByRole('columnheader').allTextContents()).to.deep.equal([
      'Key',
      'Size as JSON',
      'Age',
      'Time left',
    ])
    await page.getByRole('link', { name: 'phase-2' }).click()
    await page.getByRole('region', { name: 'Barriers' }).getByText('1 of 3').waitFor()
    dashboardPage.expectNoProblems()
  })

  it('a refused deadlock on the overview, in the lists and on the page of the lock', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.scope(async (annScope) => {
      await annScope.lock('account/1')
      await bob!.scope(async (bobScope) => {
        await bobScope.lock('account/2')
        const waiting = annScope.lock('account/2')
        await untilMessagesHandled(ann!)
        await expectRejection(bobScope.lock('account/1'), 'DEADLOCK')
        const dashboardPage = await dashboardPages.openConnectedPage(url)
        const { page } = dashboardPage
        const card = page.getByRole('region', { name: '1 refused deadlock' })
        await card.waitFor()
        expect(await card.getByRole('listitem').allTextContents()).to.satisfy(
          ([refused, waiter]: string[]) =>
            /^bob.*was refused.*account\/1$/.test(refused!) &&
            /^ann.*waits for.*account\/2$/.test(waiter!),
        )
        await dashboardPage.go('#/locks')
        await dashboardPage.waitForRows('Locks', ['account/1deadlock', 'account/2deadlock'])
        await dashboardPage.go('#/coordination')
        const scopes = page.getByRole('region', { name: 'Scopes' }).getByRole('row')
        // Row 0 is the heading, and the rows of the two scopes follow.
        await scopes.nth(2).waitFor()
        expect(await scopes.nth(1).textContent()).to.match(/^ann.*account\/1account\/2/)
        await dashboardPage.go('#/lock/account%2F1')
        await page.getByRole('region', { name: 'Refused deadlock' }).waitFor()
        dashboardPage.expectNoProblems()
        waiting.catch(() => {})
      })
    })
  })

  it('all refused deadlocks that the broker keeps, the newest first', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    for (const key of ['key-1', 'key-2']) {
      const locks = await Promise.all(
        [ann, bob].map((session) => session!.lock(key, { mode: 'shared' })),
      )
      locks[0]!.upgrade().catch(() => {})
      await untilMessagesHandled(ann!)
      await expectRejection(locks[1]!.upgrade(), 'DEADLOCK')
    }
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    const card = page.getByRole('region', { name: '2 refused deadlocks' })
    // The overview shows only the newest refused deadlock.
    await card.getByText('key-2').first().waitFor()
    expect(await card.getByText('key-1').count()).to.equal(0)
    await card.getByRole('link', { name: 'The newest 2 refused deadlocks' }).click()
    const list = page.getByRole('region', { name: 'Refused deadlocks' })
    await list.getByText('key-1').first().waitFor()
    expect(await list.textContent()).to.match(/key-2.*key-1/)
    await dashboardPage.go('#/lock/key-1')
    const listOfKey = page.getByRole('region', { name: 'Refused deadlock' })
    await listOfKey.getByText('key-1').first().waitFor()
    expect(await listOfKey.getByText('key-2').count()).to.equal(0)
    dashboardPage.expectNoProblems()
  })

  it('50 waiters of a key in a few lines', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    for (let i = 0; i < 50; i++) {
      const session = await stage.openSession(url, { name: `worker-${i}` })
      session.lock('k', { mode: i % 2 === 0 ? 'shared' : 'exclusive' }).catch(() => {})
    }
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    const groups = dashboardPage.page.getByRole('list', { name: 'All waiters' })
    // Each mode has 25 waiters, so the list is complete when it shows its second group.
    await groups.getByText('25 ×').nth(1).waitFor()
    const lines = await groups.getByRole('listitem').allTextContents()
    expect(lines).to.have.length(2)
    expect(lines[0]).to.match(/^25 × worker-… shared/)
    expect(lines[1]).to.match(/^25 × worker-… exclusive/)
    dashboardPage.expectNoProblems()
  })
})
