/**
 * What the dashboard says, in a real browser, of a broker that is about to leave it and of one that
 * has closed for good.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Visitors } from './visitors.js'

describe('the dashboard and a broker that goes', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const visitors = Visitors.forSuite(stage)

  it('says that the broker is going away while it drains', async () => {
    // Those who hold nothing leave one after the other, and the dashboard came last.
    const { broker, url, sessions } = await stage.meeting('ann', 'bob', 'cid', 'dan')
    await sessions[0]!.lock('k')
    const visitor = await visitors.at(url)
    await visitor.isTold('Live')
    const closed = broker.close({ drain: 60_000 })
    await visitor.sees(/^The broker is going away in /)
    await visitor.isTold('Live')
    visitor.expectNoProblems()
    await visitor.page.close()
    await Promise.all(sessions.map((session) => session.close()))
    await closed
  })

  it('says that it was closed for good, and why, and connects again when it is told to', async () => {
    const limits = { sessionsPerPrincipal: 1 }
    const { url } = await stage.broker({ authenticate: () => 'ann', limits })
    const ann = await stage.session(url)
    const visitor = await visitors.at(url)
    const alert = visitor.page.getByRole('alert')
    await alert.getByText(/^The broker has closed the connection: .*sessionsPerPrincipal/).waitFor()
    await ann.close()
    await alert.getByRole('button', { name: 'Connect again' }).click()
    await visitor.isTold('Live')
    expect(await alert.count()).to.equal(0)
    visitor.expectNoProblems()
  })
})
