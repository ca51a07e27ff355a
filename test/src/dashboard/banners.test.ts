/**
 * Tests the banners of the dashboard in Chromium: while the broker drains (it lets holders finish
 * before it stops), and after the broker has closed the connection of the dashboard.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { DashboardPages } from './dashboardPages.js'

describe('the banners of the dashboard', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('announce that the draining broker will stop', async () => {
    // A draining broker closes idle sessions one by one, the oldest first. It closes bob, cid and
    // dan before the session of the dashboard.
    const { broker, url, sessions } = await stage.startBrokerWithSessions(
      'ann',
      'bob',
      'cid',
      'dan',
    )
    // The draining broker waits for this lock.
    await sessions[0]!.lock('k')
    const dashboardPage = await dashboardPages.openPage(url)
    await dashboardPage.waitForState('Live')
    const closed = broker.close({ drain: 60_000 })
    await dashboardPage.waitForText(/^The broker stops in /)
    await dashboardPage.waitForState('Live')
    dashboardPage.expectNoProblems()
    await dashboardPage.page.close()
    await Promise.all(sessions.map((session) => session.close()))
    await closed
  })

  it('show why the broker closed the connection, with a button to connect again', async () => {
    const limits = { sessionsPerPrincipal: 1 }
    const { url } = await stage.startBroker({ authenticate: () => 'ann', limits })
    // Every client has the principal `ann`, so the dashboard is one session too many.
    const ann = await stage.openSession(url)
    const dashboardPage = await dashboardPages.openPage(url)
    const alert = dashboardPage.page.getByRole('alert')
    await alert.getByText(/^The broker has closed the connection: .*sessionsPerPrincipal/).waitFor()
    await ann.close()
    await alert.getByRole('button', { name: 'Connect again' }).click()
    await dashboardPage.waitForState('Live')
    expect(await alert.count()).to.equal(0)
    dashboardPage.expectNoProblems()
  })
})
