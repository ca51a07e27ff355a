/**
 * Tests pages of the dashboard in Chromium: the page of a lock, the lists of locks, and the page of
 * a session.
 *
 * - The ttl is how long a lock lasts without a refresh.
 * - The maxHold is how long a lock lasts at most. The pages call the maxHold "Longest hold".
 * - The lease is how long the broker keeps a session without a message of its client.
 * - The grace is how long the broker keeps a session after its connection dropped.
 * - A fence is the number of a grant.
 */
import type { Operation } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import type { DashboardPage } from './dashboardPage.js'
import { DashboardPages } from './dashboardPages.js'

/** The facts in a panel (texts by their labels). */
function factsIn({ page }: DashboardPage, panel: string): Promise<Record<string, string>> {
  return page.getByRole('region', { name: panel }).evaluate((region) => {
    const rows = [...region.querySelectorAll('dl > div')]
    return Object.fromEntries(
      rows.map((row) => [
        row.querySelector('dt')?.textContent,
        row.querySelector('dd')?.textContent,
      ]),
    )
  })
}

describe('the page of a lock, in Chromium,', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('shows the ttl and the longest hold with the time left, also after a refresh', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 1_200_000, maxHold: 3_600_000 })
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    await dashboardPage.waitForText('Expires in')
    const facts = await factsIn(dashboardPage, 'Holder')
    expect(facts).to.include({ Ttl: '20 min', 'Longest hold': '1 h' })
    // A busy machine may need minutes until the page shows the times.
    expect(facts['Expires in']).to.match(/^(20 min|1\d min( \d+ s)?)$/)
    expect(facts['Ends in']).to.match(/^(1 h|5\d min( \d+ s)?)$/)
    // The new ttl is one day.
    await lock.refresh(86_400_000)
    await dashboardPage.waitForText(/^(1 d|23 h 59 min)$/)
    expect((await factsIn(dashboardPage, 'Holder'))['Ttl']).to.equal('1 d')
    dashboardPage.expectNoProblems()
  })

  it('counts down the time left, even while the broker sends nothing', async () => {
    const { url, port } = await stage.startBroker()
    const ann = await stage.openSession(url, { name: 'ann' })
    await ann.lock('k', { ttl: 1_200_000 })
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const dashboardPage = await dashboardPages.openConnectedPage(proxy.url, '#/lock/k')
    await dashboardPage.waitForText('Expires in')
    // The proxy refuses the next connection, so the page stays disconnected.
    proxy.refuseConnections()
    proxy.cut()
    await dashboardPage.waitForState('Connection lost')
    const { page } = dashboardPage
    const timeLeft = page.locator('dt', { hasText: 'Expires in' }).locator('xpath=../dd')
    // Three different texts show that the page counts down.
    const seen = new Set<string>()
    while (seen.size < 3) {
      const text = (await timeLeft.textContent())!
      seen.add(text)
      await page.waitForFunction(
        (former) =>
          [...document.querySelectorAll('dt')].find(
            ({ textContent }) => textContent === 'Expires in',
          )?.nextElementSibling?.textContent !== former,
        text,
      )
    }
  })

  it('shows no ttl and no longest hold for a lock without these limits', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    await dashboardPage.waitForText('Held for')
    const facts = await factsIn(dashboardPage, 'Holder')
    expect(Object.keys(facts)).to.deep.equal(['Session', 'Mode', 'Held for', 'Fence'])
    dashboardPage.expectNoProblems()
  })
})

describe('the lists of locks, in Chromium,', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('show the time left of each lock that has a limit, also after a refresh', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const ann = sessions[0]!
    await ann.lock('a', { ttl: 1_200_000 })
    await ann.lock('b')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/locks')
    await dashboardPage.waitForRows('Locks', ['a', 'b'])
    // The page learns of this lock by an event, and of the other locks when its watch begins.
    const lock = await ann.lock('c', { maxHold: 3_600_000, ttl: 86_400_000 })
    for (const hash of ['#/locks', `#/session/${ann.id}`]) {
      await dashboardPage.go(hash)
      const table = hash === '#/locks' ? 'Locks' : 'Locks that the session holds'
      await dashboardPage.waitForRows(table, ['a', 'b', 'c'])
      const { page } = dashboardPage
      const headings = await page
        .getByRole('table', { name: table })
        .getByRole('columnheader')
        .allTextContents()
      const column = headings.indexOf('Time left')
      const times = await dashboardPage.rows(table).locator(`.cell-${column}`).allTextContents()
      expect(times[0]).to.match(/^(20 min|1\d min( \d+ s)?)$/)
      expect(times[1]).to.equal('–')
      // The time left ends with the longest hold, because the ttl ends later.
      expect(times[2]).to.match(/^(1 h|5\d min( \d+ s)?)$/)
    }
    await lock.refresh(60_000)
    await dashboardPage.waitForText(/^(1 min|5\d s)$/)
    dashboardPage.expectNoProblems()
  })
})

describe('the page of a session, in Chromium,', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  /** The token of ann. A principal made of this token is wider than the screen of a phone. */
  const longToken = 'a'.repeat(60)

  /**
   * Opens a session of the client ann at a new broker. All tokens have the permission `inspect` if
   * `mayInspect`, and otherwise none.
   */
  async function brokerAndSession(
    mayInspect: boolean,
  ): Promise<{ url: string; sessionId: string }> {
    const may = (operation: Operation) => operation !== 'inspect' || mayInspect
    const { url } = await stage.startBroker({
      authenticate: ({ token }) =>
        token === undefined ? undefined : { principal: `owner-of-${token}`, may },
    })
    const ann = await stage.openSession(url, {
      name: 'ann',
      token: longToken,
      lease: 40_000,
      grace: 5_000,
    })
    await ann.lock('k')
    return { url, sessionId: ann.id }
  }

  /** Opens the page of a session, and enters a token there. */
  async function openPage(url: string, sessionId: string): Promise<DashboardPage> {
    const dashboardPage = await dashboardPages.openPage(url, `#/session/${sessionId}`)
    await dashboardPage.page.getByLabel('Token').fill('t')
    await dashboardPage.page.getByLabel('Token').press('Enter')
    await dashboardPage.waitForText('Lease')
    return dashboardPage
  }

  it('shows the principal, the address and the lease to an operator', async () => {
    const { url, sessionId } = await brokerAndSession(/* mayInspect */ true)
    const dashboardPage = await openPage(url, sessionId)
    expect(await factsIn(dashboardPage, 'Client')).to.deep.equal({
      Principal: `owner-of-${longToken}`,
      Address: '127.0.0.1',
      Connection: 'connected',
      Lease: '40 s',
      Grace: '5 s',
    })
    const { page } = dashboardPage
    const phone = { width: 375, height: 812 }
    await page.setViewportSize(phone)
    const pageWidth = await page.evaluate(() => document.documentElement.scrollWidth)
    expect(pageWidth).to.equal(phone.width)
    dashboardPage.expectNoProblems()
  })

  it('shows neither principal nor address without the permission inspect', async () => {
    const { url, sessionId } = await brokerAndSession(/* mayInspect */ false)
    const dashboardPage = await openPage(url, sessionId)
    expect(await factsIn(dashboardPage, 'Client')).to.deep.equal({
      Connection: 'connected',
      Lease: '40 s',
      Grace: '5 s',
    })
    await dashboardPage.waitForText(/need a token with the permission inspect/)
    // The `<` excludes the URL of the broker, where a port follows the address.
    expect(await dashboardPage.page.content()).not.to.match(/owner-of|127\.0\.0\.1</)
    dashboardPage.expectNoProblems()
  })

  it('notices that the session has lost its connection, and then that it has ended', async () => {
    const { url, port } = await stage.startBroker()
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const ann = await stage.openSession(proxy.url, { name: 'ann', lease: 60_000, grace: 6_000 })
    const dashboardPage = await dashboardPages.openConnectedPage(url, `#/session/${ann.id}`)
    await dashboardPage.waitForText(/^connected$/)
    await dashboardPage.waitForText(/No lock or waiting request of this session is known here/)
    // The proxy refuses the next connection of ann, so the session cannot resume.
    proxy.refuseConnections()
    proxy.cut()
    await dashboardPage.waitForText(/^disconnected$/)
    await dashboardPage.waitForText(/This session has ended/)
    dashboardPage.expectNoProblems()
  })
})
