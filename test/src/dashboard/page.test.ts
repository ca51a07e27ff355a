/**
 * Tests the dashboard in Chromium, as an operator uses it for a stuck lock: the operator opens the
 * page, finds the lock, looks at its queue and revokes the lock. A hand-off is the time from an
 * unlock to the next grant. A fence is the number of a grant.
 */
import type { BrokerOptions, HoldfastError } from '@holdfast/server'
import { expect } from 'chai'
import { Collector, nextEvent, Stage, untilAborted, untilMessagesHandled } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import { DashboardPages } from './dashboardPages.js'

describe('the dashboard in Chromium', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const dashboardPages = DashboardPages.forSuite(stage)

  it('shows the numbers, the longest queues and the charts of the broker', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('orders:1', { metadata: { job: 7 } })
    void bob!.lock('orders:1').catch(() => {})
    await untilMessagesHandled(bob!)
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    await page.getByRole('heading', { name: 'Longest queues' }).waitFor()
    await page.getByRole('link', { name: 'orders:1' }).first().waitFor()
    const waits = page.getByRole('region', { name: 'Longest waits' })
    await waits.getByRole('link', { name: 'bob' }).waitFor()
    // The first item of the “Key figures” is the number of held locks.
    const held = page.getByRole('list', { name: 'Key figures' }).getByRole('listitem').first()
    await held.getByText('1', { exact: true }).waitFor()
    await page.getByRole('img', { name: /^Chart .*: rates$/ }).waitFor()
    await page.getByRole('img', { name: /^Chart .*: latency$/ }).waitFor()
    await ann!.lock('another')
    await dashboardPage.waitForText('another')
    dashboardPage.expectNoProblems()
  })

  it('finds a lock by its key and by its holder, and says when no lock matches', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    for (const key of ['orders:1', 'orders:2', 'mail/<b>out</b>']) await ann!.lock(key)
    await bob!.lock('reports')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/locks')
    const { page } = dashboardPage
    await dashboardPage.waitForRows('Locks', ['mail/<b>out</b>', 'orders:1', 'orders:2', 'reports'])
    // The key “/” moves the focus to the search field, so the focus must be elsewhere before.
    await page.getByRole('heading', { name: 'Locks' }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('orders')
    await dashboardPage.waitForRows('Locks', ['orders:1', 'orders:2'])
    await page.getByRole('searchbox').fill('bob')
    await dashboardPage.waitForRows('Locks', ['reports'])
    await page.getByRole('searchbox').fill('nothing like it')
    await dashboardPage.waitForText(/No key or session matches/)
    const queueFilter = page.getByRole('checkbox', { name: 'Only with a queue' })
    await queueFilter.check()
    await dashboardPage.waitForText(/No key or session with a queue matches/)
    await page.getByRole('searchbox').fill('')
    await dashboardPage.waitForText('No request waits for a lock.')
    await queueFilter.uncheck()
    await page.getByRole('searchbox').fill('REPORTS')
    await page.getByRole('link', { name: 'reports' }).press('Enter')
    await page.getByRole('heading', { name: 'reports', level: 1 }).waitFor()
    // The back button restores the search.
    await page.goBack()
    await dashboardPage.waitForRows('Locks', ['reports'])
    expect(await page.getByRole('searchbox').inputValue()).to.equal('REPORTS')
    dashboardPage.expectNoProblems()
  })

  it('shows how the queue of a key moves', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob', 'cid', 'dan')
    const [ann, ...others] = sessions
    const lock = await ann!.lock('k')
    const granted = new Collector<string>()
    for (const session of others) {
      void session.lock('k').then(
        () => granted.add(session.name ?? ''),
        () => {},
      )
      await untilMessagesHandled(session)
    }
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    await dashboardPage.waitForRows('Queue', ['bob', 'cid', 'dan'])
    const graph = dashboardPage.page.getByRole('region', { name: /^Wait-for graph: / })
    expect(await graph.getAttribute('aria-label')).to.include('cid waits for ann (k)')
    await lock.unlock()
    await granted.waitForCount(1)
    await dashboardPage.waitForRows('Queue', ['cid', 'dan'])
    await dashboardPage.waitForText('Held, 2 waiting')
    // The page saw the end of ann's lock, and the grant of bob's lock.
    const history = dashboardPage.page.getByRole('region', { name: 'Last grants' }).getByRole('row')
    // Row 0 is the heading.
    await history.nth(2).waitFor()
    expect(await history.nth(1).textContent()).to.match(/bob.*held/)
    expect(await history.nth(2).textContent()).to.match(/ann.*unlocked/)
    dashboardPage.expectNoProblems()
  })

  it('reports a deadlock', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('a')
    await bob!.lock('b')
    // The broker refuses only deadlocks of scopes (tasks of a session). These requests have none.
    void ann!.lock('b').catch(() => {})
    void bob!.lock('a').catch(() => {})
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/a')
    await dashboardPage.waitForText('ann → bob → ann')
    await dashboardPage.page.getByRole('link', { name: /^bob/ }).first().click()
    await dashboardPage.page.getByRole('heading', { name: 'bob', level: 1 }).waitFor()
    await dashboardPage.waitForRows('Locks that the session holds', ['b'])
    await dashboardPage.waitForRows('Locks that the session waits for', ['a'])
    dashboardPage.expectNoProblems()
  })

  it('revokes a lock with a reason', async () => {
    const logged: { reason?: string }[] = []
    const logger = loggerTo((fields) => logged.push(fields))
    const { url } = await stage.startBroker({ logger })
    const ann = await stage.openSession(url, { name: 'ann' })
    const bob = await stage.openSession(url, { name: 'bob' })
    const lock = await ann.lock('stuck')
    const waiting = bob.lock('stuck')
    await untilMessagesHandled(bob)
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/stuck')
    const { page } = dashboardPage
    await page.getByRole('button', { name: 'Revoke…' }).click()
    const dialog = page.getByRole('dialog', { name: 'Revoke this lock?' })
    await dialog.getByText(String(lock.fence)).waitFor()
    // The reason is required.
    expect(await dialog.getByRole('button', { name: 'Revoke', exact: true }).isDisabled()).to.equal(
      true,
    )
    await dialog.getByLabel(/^Reason/).fill('the nightly job hangs')
    await dialog.getByLabel(/^Reason/).press('Enter')
    // Here `reason` is the kind of the loss. In the log, `reason` is the text of the operator.
    expect(((await untilAborted(lock.signal)) as HoldfastError).reason).to.equal('revoked')
    await waiting
    await dashboardPage.waitForText(/The lock stuck of ann was revoked/)
    await dashboardPage.waitForText('Held, none waiting')
    expect(await dialog.isVisible()).to.equal(false)
    expect(logged.filter(({ reason }) => reason === 'the nightly job hangs')).to.have.length(1)
    dashboardPage.expectNoProblems()
  })

  it('closes the revoke dialog with Escape, and reports a revoke of a lock that has already ended', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/lock/k')
    const { page } = dashboardPage
    const revokeButton = page.getByRole('button', { name: 'Revoke…' })
    await revokeButton.click()
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await revokeButton.click()
    await page.getByLabel(/^Reason/).fill('why not')
    await lock.unlock()
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    await dashboardPage.waitForText('The lock has ended meanwhile. Nothing was changed.')
    dashboardPage.expectNoProblems()
  })

  it('asks for a token, and allows only the operations of the token', async () => {
    const authenticate: BrokerOptions['authenticate'] = ({ token }) =>
      token === 'sesame'
        ? { principal: 'ann', may: (operation) => operation !== 'revoke' }
        : undefined
    const { url } = await stage.startBroker({ authenticate })
    const ann = await stage.openSession(url, { token: 'sesame' })
    await ann.lock('k')
    const dashboardPage = await dashboardPages.openPage(url, '#/lock/k')
    const { page } = dashboardPage
    await dashboardPage.waitForState('Token needed')
    await page.waitForFunction(() => document.activeElement?.id === 'token')
    await page.getByLabel('Token').fill('wrong')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await dashboardPage.waitForText('The broker refused this token.')
    await page.getByLabel('Token').fill('sesame')
    await page.getByLabel('Token').press('Enter')
    await dashboardPage.waitForState('Live')
    await page.getByRole('button', { name: 'Revoke…' }).click()
    await page.getByLabel(/^Reason/).fill('why not')
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    await dashboardPage.waitForText('Your token has no permission to revoke locks of this key.')
    await page.keyboard.press('Escape')
    expect(await page.getByRole('button', { name: 'Revoke…' }).count()).to.equal(0)
    // The page must keep the token in memory only.
    const storedText = await page.evaluate(() =>
      JSON.stringify([location.href, document.cookie, { ...localStorage }, { ...sessionStorage }]),
    )
    expect(storedText).to.not.include('sesame')
    await page.reload()
    await dashboardPage.waitForState('Token needed')
    dashboardPage.expectNoProblems()
  })

  it('asks for a new token before the current token expires', async () => {
    const authenticate: BrokerOptions['authenticate'] = ({ token }) =>
      token === 'long'
        ? 'ann'
        : token === 'short'
          ? // The broker warns 30 s before a token expires, so it warns about this token at once.
            { principal: 'ann', expiresAt: Date.now() + 25_000 }
          : undefined
    const { url } = await stage.startBroker({ authenticate })
    const dashboardPage = await dashboardPages.openPage(url)
    const { page } = dashboardPage
    await page.getByLabel('Token').fill('short')
    await page.getByLabel('Token').press('Enter')
    await dashboardPage.waitForText(/Your token expires in/)
    await page.getByRole('button', { name: 'Enter a new token' }).click()
    await page.getByLabel('Token').fill('wrong')
    await page.getByRole('button', { name: 'Use this token' }).click()
    await page.getByRole('alert').waitFor()
    await page.getByLabel('Token').fill('long')
    await page.getByRole('button', { name: 'Use this token' }).click()
    await dashboardPage.waitUntilHidden(/Your token expires in/)
    await dashboardPage.waitForState('Live')
    dashboardPage.expectNoProblems()
  })

  it('reconnects by itself after the connection is lost', async () => {
    const { port, url } = await stage.startBroker()
    const ann = await stage.openSession(url, { name: 'ann' })
    await ann.lock('before')
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const dashboardPage = await dashboardPages.openConnectedPage(proxy.url, '#/locks')
    await dashboardPage.waitForRows('Locks', ['before'])
    // A reload would remove the attribute `data-mark`.
    await dashboardPage.page.evaluate(() => {
      document.body.dataset['mark'] = 'the same page'
    })
    // The attribute `data-mark` shows at the end that the page did not reload.
    const connections = proxy.connectionCount
    proxy.cut()
    await ann.lock('meanwhile')
    await dashboardPage.waitForRows('Locks', ['before', 'meanwhile'])
    await dashboardPage.waitForState('Live')
    expect(proxy.connectionCount).to.be.above(connections)
    await ann.lock('since')
    await dashboardPage.waitForRows('Locks', ['before', 'meanwhile', 'since'])
    expect(await dashboardPage.page.locator('body').getAttribute('data-mark')).to.equal(
      'the same page',
    )
    dashboardPage.expectNoProblems()
  })

  it('reports a stopped broker, and connects to the next broker on the same port', async () => {
    const { broker, port, url } = await stage.startBroker()
    const ann = await stage.openSession(url, { name: 'ann' })
    const lost = nextEvent(ann, 'lost')
    await ann.lock('old')
    const dashboardPage = await dashboardPages.openConnectedPage(url, '#/locks')
    await dashboardPage.waitForRows('Locks', ['old'])
    await broker.close()
    await lost
    await dashboardPage.waitForState('Connection lost')
    await dashboardPage.waitForText(/Reconnecting to the broker/)
    await stage.startBroker({}, port)
    await dashboardPage.waitForState('Live')
    // The page suggests this command because the new broker has no lock.
    await dashboardPage.waitForText(`npx holdfast run --url ${url} orders -- sleep 60`)
    // The browser itself logs every refused connection; a page cannot prevent that.
    const otherProblems = dashboardPage.problems.filter(
      (text) => !/WebSocket connection to .* failed/.test(text),
    )
    expect(otherProblems).to.deep.equal([])
  })

  it('measures hand-offs when the operator switches this on, and hides the events of the measurement', async () => {
    const { broker, url } = await stage.startBroker()
    const dashboardPage = await dashboardPages.openConnectedPage(url)
    const { page } = dashboardPage
    expect(broker.stats().totalLocks).to.equal(0)
    await page.getByRole('switch', { name: 'Measure hand-offs' }).check()
    await page.locator('.legend-item', { hasText: /Hand-off \d/ }).waitFor()
    await page.getByRole('switch', { name: 'Measure hand-offs' }).uncheck()
    // The list has no event of the lock with which the page measures.
    await dashboardPage.waitForText('No events since this page was opened.')
    dashboardPage.expectNoProblems()
  })
})

/** A logger that passes the fields of each line to a callback. */
function loggerTo(onLine: (fields: { reason?: string }) => void): BrokerOptions['logger'] {
  const line = (fields: unknown) => onLine(fields as { reason?: string })
  return { debug: line, info: line, warn: line, error: line } as BrokerOptions['logger']
}
