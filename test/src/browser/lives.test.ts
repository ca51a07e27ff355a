/**
 * The life cycle of a tab in Chromium, and what happens to its locks: the table of the client's
 * README, row by row. A rival session in Node waits for the lock; its grant shows when the lock is
 * free.
 */
import type { Lock, Session } from '@holdfast/client'
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { count } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { DevTools, type Tab } from './devtools.js'
import type { RecordedEvent } from './inPage/life.js'
import { openSite, type Site } from './site.js'

const life = '/built/browser/inPage/life.js'
/**
 * Chromium slows the timers of hidden pages down to one a minute: here after 2 s, not after 5 min.
 */
const throttleSoon = '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/2'
/** A lease that is longer than any test. */
const longLease = { lease: 300_000, grace: 'lease' } as const

describe('a tab', function () {
  this.timeout(60_000)
  needs('chromium')
  let site: Site
  let browser: DevTools
  let rival: Session
  let tab: Tab

  before(async () => {
    site = await openSite({ lease: { min: 500, default: 1_500 } })
    browser = await DevTools.launch(throttleSoon)
    rival = await connect(site.url, { name: 'rival', lease: 60_000 })
  })

  after(async () => {
    await rival?.close()
    await browser?.close()
    await site?.close()
  })

  beforeEach(async () => {
    tab = await browser.open(`${site.origin}/page.html`)
  })

  afterEach(() => tab.close().catch(() => {}))

  /** Runs an action on the tab that holds the key; returns when the rival got the grant. */
  async function freedBy(key: string, happening: () => Promise<unknown>): Promise<number> {
    const waiting = rival.lock(key)
    await happening()
    const lock: Lock = await waiting
    const at = Date.now()
    await lock.unlock()
    return at
  }

  const noticed = (): Promise<RecordedEvent[]> => tab.call(life, 'recordedEvents')
  const kinds = async (): Promise<string[]> => (await noticed()).map(({ event }) => event)

  describe('frees its locks at once when it is', () => {
    const ways: Record<string, () => Promise<unknown>> = {
      closed: () => tab.close(),
      'navigated away': () => tab.navigate(`${site.origin}/other.html`),
      reloaded: () => tab.reload(),
    }
    for (const [how, happening] of Object.entries(ways)) {
      it(how, async () => {
        await tab.call(life, 'hold', site.url, how, longLease)
        await freedBy(how, happening)
      })
    }
  })

  it('frees its locks with the connection when it crashes', async () => {
    await tab.call(life, 'hold', site.url, 'crash', { lease: 300_000 })
    await freedBy('crash', async () => void tab.send('Page.crash').catch(() => {}))
  })

  it('loses its locks in the back/forward cache, and has a new session afterwards', async () => {
    await tab.call(life, 'hold', site.url, 'cached', longLease)
    await rival.lock('later').then((lock) => {
      // Do not wait for the answer, because the user leaves the page before it.
      tab.call(life, 'waitFor', 'later').catch(() => {})
      return freedBy('cached', () => tab.navigate(`${site.origin}/other.html`)).then(() =>
        lock.unlock(),
      )
    })
    await tab.back()
    await tab.call(life, 'noticed', 'granted later')
    expect(await kinds()).to.deep.equal([
      ...['locked', 'aborted: session', 'lost', 'pagehide true', 'visibilitychange', 'freeze'],
      ...['connects', 'resume', 'visibilitychange', 'pageshow true', 'newSession', 'granted later'],
    ])
  })

  it('keeps its locks while it is hidden and its timers are throttled', async () => {
    await tab.call(life, 'hold', site.url, 'hidden', {}, 1_400)
    const other = await browser.open(`${site.origin}/other.html`)
    // Four pings are more than a lease, ten more than three.
    expect(await tab.call(life, 'heldAfterPings', count(4, 10))).to.equal(true)
    expect(await kinds()).to.deep.equal(['locked', 'visibilitychange'])
    await other.close()
  })

  it('loses its locks in time when it is frozen, and reports that first when it wakes', async () => {
    await tab.call(life, 'hold', site.url, 'frozen')
    await tab.call(life, 'startTimer', 10)
    const other = await browser.open(`${site.origin}/other.html`)
    const freedAt = await freedBy('frozen', () =>
      tab.send('Page.setWebLifecycleState', { state: 'frozen' }),
    )
    await tab.send('Page.setWebLifecycleState', { state: 'active' })
    await tab.call(life, 'noticed', 'newSession')
    expect(await kinds()).to.include.members(['freeze', 'aborted: session', 'resume'])
    knewFirst(await noticed(), freedAt)
    await other.close()
  })

  it('loses its locks in time when the machine sleeps, and reports that first when it wakes', async () => {
    await tab.call(life, 'hold', site.url, 'asleep')
    await tab.call(life, 'startTimer', 10)
    const freedAt = await freedBy('asleep', async () => browser.stop())
    browser.goOn()
    await tab.call(life, 'noticed', 'newSession')
    knewFirst(await noticed(), freedAt)
  })

  /** Checks that the tab noticed nothing as a holder after the rival got the lock. */
  function knewFirst(events: readonly RecordedEvent[], freedAt: number): void {
    const after = events.filter(({ at }) => at >= freedAt)
    expect(after[0]?.event).to.equal('aborted: session')
    expect(after.filter(({ held }) => held)).to.deep.equal([])
  }

  it('loses its locks with its lease when it is offline, and reconnects when it is online', async () => {
    const offline = (yes: boolean) =>
      tab.send('Network.emulateNetworkConditions', {
        offline: yes,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: -1,
      })
    await tab.send('Network.enable')
    // A long pause between attempts, which only the event "online" can shorten.
    await tab.call(life, 'hold', site.url, 'offline', { reconnect: [0, 1_000_000] })
    const freedAt = await freedBy('offline', () => offline(true))
    await tab.call(life, 'noticed', 'lost')
    expect((await noticed()).filter(({ at, held }) => held && at >= freedAt)).to.deep.equal([])
    await offline(false)
    await tab.call(life, 'noticed', 'newSession')
  })
})
