/**
 * Tests the dashboard in Chromium, as an operator uses it for a stuck lock: the operator opens the
 * page, finds the lock, looks at its queue and revokes the lock. A hand-off is the time from an
 * unlock to the grant for the next waiter. A fence is the number of a grant.
 */
import type { BrokerOptions, HoldfastError } from '@holdfast/server'
import { expect } from 'chai'
import { aborted, Collector, next, Stage, untilHandled } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import { Visitors } from './visitors.js'

describe('the dashboard in Chromium', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()
  const visitors = Visitors.forSuite(stage)

  it('shows the numbers, the longest queues and the charts of the broker', async () => {
    const { url, sessions } = await stage.brokerWith('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('orders:1', { metadata: { job: 7 } })
    void bob!.lock('orders:1').catch(() => {})
    await untilHandled(bob!)
    const visitor = await visitors.live(url)
    const { page } = visitor
    await page.getByRole('heading', { name: 'Longest queues' }).waitFor()
    await page.getByRole('link', { name: 'orders:1' }).first().waitFor()
    const held = page.getByRole('list', { name: 'Key figures' }).getByRole('listitem').first()
    await held.getByText('1', { exact: true }).waitFor()
    await page.getByRole('img', { name: /^Chart .*: rates$/ }).waitFor()
    await page.getByRole('img', { name: /^Chart .*: latency$/ }).waitFor()
    await ann!.lock('another')
    await visitor.sees('another')
    visitor.expectNoProblems()
  })

  it('finds a lock by its key and by its holder', async () => {
    const { url, sessions } = await stage.brokerWith('ann', 'bob')
    const [ann, bob] = sessions
    for (const key of ['orders:1', 'orders:2', 'mail/<b>out</b>']) await ann!.lock(key)
    await bob!.lock('reports')
    const visitor = await visitors.live(url, '#/locks')
    const { page } = visitor
    await visitor.seesRows('Locks', ['mail/<b>out</b>', 'orders:1', 'orders:2', 'reports'])
    // Move the focus away from the search field first.
    await page.getByRole('heading', { name: 'Locks' }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('orders')
    await visitor.seesRows('Locks', ['orders:1', 'orders:2'])
    await page.getByRole('searchbox').fill('bob')
    await visitor.seesRows('Locks', ['reports'])
    await page.getByRole('searchbox').fill('nothing like it')
    await visitor.sees(/No key or session matches/)
    await page.getByRole('searchbox').fill('REPORTS')
    await page.getByRole('link', { name: 'reports' }).press('Enter')
    await page.getByRole('heading', { name: 'reports', level: 1 }).waitFor()
    // The back button restores the search.
    await page.goBack()
    await visitor.seesRows('Locks', ['reports'])
    expect(await page.getByRole('searchbox').inputValue()).to.equal('REPORTS')
    visitor.expectNoProblems()
  })

  it('shows the queue of a key as it moves', async () => {
    const { url, sessions } = await stage.brokerWith('ann', 'bob', 'cid', 'dan')
    const [ann, ...others] = sessions
    const lock = await ann!.lock('k')
    const granted = new Collector<string>()
    for (const session of others) {
      void session.lock('k').then(
        () => granted.add(session.name ?? ''),
        () => {},
      )
      await untilHandled(session)
    }
    const visitor = await visitors.live(url, '#/lock/k')
    await visitor.seesRows('Queue', ['bob', 'cid', 'dan'])
    const graph = visitor.page.getByRole('region', { name: /^Wait-for graph: / })
    expect(await graph.getAttribute('aria-label')).to.include('cid waits for ann (k)')
    await lock.unlock()
    await granted.count(1)
    await visitor.seesRows('Queue', ['cid', 'dan'])
    await visitor.sees('Held, 2 waiting')
    // The page was opened during ann's lock, and saw its end. The page saw bob's lock from its
    // grant.
    const history = visitor.page.getByRole('region', { name: 'Last grants' }).getByRole('row')
    await history.nth(2).waitFor()
    expect(await history.nth(1).textContent()).to.match(/bob.*held/)
    expect(await history.nth(2).textContent()).to.match(/ann.*unlocked/)
    visitor.expectNoProblems()
  })

  it('reports a deadlock', async () => {
    const { url, sessions } = await stage.brokerWith('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('a')
    await bob!.lock('b')
    void ann!.lock('b').catch(() => {})
    void bob!.lock('a').catch(() => {})
    const visitor = await visitors.live(url, '#/lock/a')
    await visitor.sees('ann → bob → ann')
    await visitor.page.getByRole('link', { name: /^bob/ }).first().click()
    await visitor.page.getByRole('heading', { name: 'bob', level: 1 }).waitFor()
    await visitor.seesRows('Locks that the session holds', ['b'])
    await visitor.seesRows('Locks that the session waits for', ['a'])
    visitor.expectNoProblems()
  })

  it('revokes a lock with a reason', async () => {
    const lines: { reason?: string }[] = []
    const logger = loggerTo((fields) => lines.push(fields))
    const { url } = await stage.broker({ logger })
    const ann = await stage.session(url, { name: 'ann' })
    const bob = await stage.session(url, { name: 'bob' })
    const lock = await ann.lock('stuck')
    const waiting = bob.lock('stuck')
    await untilHandled(bob)
    const visitor = await visitors.live(url, '#/lock/stuck')
    const { page } = visitor
    await page.getByRole('button', { name: 'Revoke…' }).click()
    const dialog = page.getByRole('dialog', { name: 'Revoke this lock?' })
    await dialog.getByText(String(lock.fence)).waitFor()
    // The reason is required.
    expect(await dialog.getByRole('button', { name: 'Revoke', exact: true }).isDisabled()).to.equal(
      true,
    )
    await dialog.getByLabel(/^Reason/).fill('the nightly job hangs')
    await dialog.getByLabel(/^Reason/).press('Enter')
    expect(((await aborted(lock.signal)) as HoldfastError).reason).to.equal('revoked')
    await waiting
    await visitor.sees(/The lock stuck of ann was revoked/)
    await visitor.sees('Held, none waiting')
    expect(await dialog.isVisible()).to.equal(false)
    expect(lines.filter(({ reason }) => reason === 'the nightly job hangs')).to.have.length(1)
    visitor.expectNoProblems()
  })

  it('closes the revoke dialog, and reports that a lock has already ended', async () => {
    const { url, sessions } = await stage.brokerWith('ann')
    const lock = await sessions[0]!.lock('k')
    const visitor = await visitors.live(url, '#/lock/k')
    const { page } = visitor
    const open = page.getByRole('button', { name: 'Revoke…' })
    await open.click()
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await open.click()
    await page.getByLabel(/^Reason/).fill('why not')
    await lock.unlock()
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    await visitor.sees('The lock has ended meanwhile. Nothing was changed.')
    visitor.expectNoProblems()
  })

  it('asks for a token, and allows only the operations of the token', async () => {
    const authenticate: BrokerOptions['authenticate'] = ({ token }) =>
      token === 'sesame'
        ? { principal: 'ann', may: (operation) => operation !== 'revoke' }
        : undefined
    const { url } = await stage.broker({ authenticate })
    const ann = await stage.session(url, { token: 'sesame' })
    await ann.lock('k')
    const visitor = await visitors.at(url, '#/lock/k')
    const { page } = visitor
    await visitor.isTold('Token needed')
    await page.getByLabel('Token').fill('wrong')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await visitor.sees('The broker refused this token.')
    await page.getByLabel('Token').fill('sesame')
    await page.getByLabel('Token').press('Enter')
    await visitor.isTold('Live')
    await page.getByRole('button', { name: 'Revoke…' }).click()
    await page.getByLabel(/^Reason/).fill('why not')
    await page.getByRole('button', { name: 'Revoke', exact: true }).click()
    await visitor.sees('Your token has no permission to revoke locks of this key.')
    await page.keyboard.press('Escape')
    expect(await page.getByRole('button', { name: 'Revoke…' }).count()).to.equal(0)
    // The page must keep the token in memory only.
    const storedText = await page.evaluate(() =>
      JSON.stringify([location.href, document.cookie, { ...localStorage }, { ...sessionStorage }]),
    )
    expect(storedText).to.not.include('sesame')
    await page.reload()
    await visitor.isTold('Token needed')
    visitor.expectNoProblems()
  })

  it('asks for a new token before the present token expires', async () => {
    const authenticate: BrokerOptions['authenticate'] = ({ token }) =>
      token === 'long'
        ? 'ann'
        : token === 'short'
          ? { principal: 'ann', expiresAt: Date.now() + 25_000 }
          : undefined
    const { url } = await stage.broker({ authenticate })
    const visitor = await visitors.at(url)
    const { page } = visitor
    await page.getByLabel('Token').fill('short')
    await page.getByLabel('Token').press('Enter')
    await visitor.sees(/Your token expires in/)
    await page.getByRole('button', { name: 'Enter a new token' }).click()
    await page.getByLabel('Token').fill('wrong')
    await page.getByRole('button', { name: 'Use this token' }).click()
    await page.getByRole('alert').waitFor()
    await page.getByLabel('Token').fill('long')
    await page.getByRole('button', { name: 'Use this token' }).click()
    await visitor.seesNoMore(/Your token expires in/)
    await visitor.isTold('Live')
    visitor.expectNoProblems()
  })

  it('reconnects by itself after the connection is lost', async () => {
    const { port, url } = await stage.broker()
    const ann = await stage.session(url, { name: 'ann' })
    await ann.lock('before')
    const proxy = await TcpProxy.to(port)
    stage.onClear(() => proxy.close())
    const visitor = await visitors.live(proxy.url, '#/locks')
    await visitor.seesRows('Locks', ['before'])
    await visitor.page.evaluate(() => {
      document.body.dataset['mark'] = 'the same page'
    })
    const connections = proxy.count
    proxy.cut()
    await ann.lock('meanwhile')
    await visitor.seesRows('Locks', ['before', 'meanwhile'])
    await visitor.isTold('Live')
    expect(proxy.count).to.be.above(connections)
    await ann.lock('since')
    await visitor.seesRows('Locks', ['before', 'meanwhile', 'since'])
    expect(await visitor.page.locator('body').getAttribute('data-mark')).to.equal('the same page')
    visitor.expectNoProblems()
  })

  it('reports a stopped broker, and connects to the next broker on the same port', async () => {
    const { broker, port, url } = await stage.broker()
    const ann = await stage.session(url, { name: 'ann' })
    const lost = next(ann, 'lost')
    await ann.lock('old')
    const visitor = await visitors.live(url, '#/locks')
    await visitor.seesRows('Locks', ['old'])
    await broker.close()
    await lost
    await visitor.isTold('Connection lost')
    await visitor.sees(/Reconnecting to the broker/)
    await stage.broker({}, port)
    await visitor.isTold('Live')
    await visitor.sees('No session holds a lock.')
    // The browser itself logs every refused connection; a page cannot prevent that.
    const otherProblems = visitor.problems.filter(
      (text) => !/WebSocket connection to .* failed/.test(text),
    )
    expect(otherProblems).to.deep.equal([])
  })

  it('measures hand-offs when the operator switches this on, and leaves no lock behind', async () => {
    const { broker, url } = await stage.broker()
    const visitor = await visitors.live(url)
    const { page } = visitor
    expect(broker.stats().totalLocks).to.equal(0)
    await page.getByRole('switch', { name: 'Measure hand-offs' }).check()
    await page.locator('.legend-item', { hasText: /Hand-off \d/ }).waitFor()
    await page.getByRole('switch', { name: 'Measure hand-offs' }).uncheck()
    await visitor.sees('No events since this page was opened.')
    visitor.expectNoProblems()
  })
})

/** A logger that passes the fields of each line to a callback. */
function loggerTo(onLine: (fields: { reason?: string }) => void): BrokerOptions['logger'] {
  const line = (fields: unknown) => onLine(fields as { reason?: string })
  return { debug: line, info: line, warn: line, error: line } as BrokerOptions['logger']
}
