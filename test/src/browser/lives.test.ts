/**
 * Tests whether and when a tab of Chromium loses its locks: a tab that is closed, hidden, frozen,
 * asleep or offline. Each test is a row of the table in the client's README. A rival session in
 * Node waits for the lock of the tab, and gets the lock at the moment when the tab's lock ends. The
 * lease is how long the broker keeps a silent session. The grace is how long the broker keeps a
 * session without a connection. The ttl is how long a lock lasts without a refresh.
 */
import type { Lock, Session } from '@holdfast/client'
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { DevTools, type Tab } from './devtools.js'
import type { RecordedEvent } from './inPage/life.js'
import { openSite, type Site } from './site.js'

/** The module on the site whose functions run in the page. */
const life = '/built/browser/inPage/life.js'
/**
 * Chromium lets the timers of a hidden page fire only once a minute. With this flag, this
 * throttling begins 2 s after the page was hidden, and not after 5 minutes.
 */
const throttlingFlag = '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/2'
/** The ttl of the lock of a hidden page, in ms: so short that the client must refresh the lock. */
const shortTtl = 1_400
/**
 * The interval of a timer in the page, in ms. Each firing is recorded as an event. After the tab
 * wakes, the loss of the lock must be recorded before the first firing.
 */
const timerMs = 10
/**
 * A lease that is longer than the timeout of a test, and a grace of the same length. So a test
 * fails if the locks are not free before the lease ends.
 */
const longLease = { lease: 300_000, grace: 'lease' } as const

describe('a tab', function () {
  this.timeout(60_000)
  needs('chromium')
  let site: Site
  let browser: DevTools
  let rival: Session
  let tab: Tab

  before(async () => {
    site = await openSite({ brokerOptions: { lease: { min: 500, default: 1_500 } } })
    browser = await DevTools.launch(throttlingFlag)
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

  // The test may have closed the tab already.
  afterEach(() => tab.close().catch(() => {}))

  /** Lets the rival wait for the key, and runs an action. Resolves with the time of the grant. */
  async function freedBy(key: string, action: () => Promise<unknown>): Promise<number> {
    const waiting = rival.lock(key)
    await action()
    const lock: Lock = await waiting
    const grantedAt = Date.now()
    await lock.unlock()
    return grantedAt
  }

  const recordedEvents = (): Promise<RecordedEvent[]> => tab.call(life, 'recordedEvents')
  /** The names of the events that the page has recorded. */
  const eventNames = async (): Promise<string[]> =>
    (await recordedEvents()).map(({ event }) => event)

  describe('frees its locks immediately when it is', () => {
    const actions: Record<string, () => Promise<unknown>> = {
      closed: () => tab.close(),
      'navigated away': () => tab.navigate(`${site.origin}/other.html`),
      reloaded: () => tab.reload(),
    }
    for (const [title, action] of Object.entries(actions)) {
      it(title, async () => {
        const key = title
        await tab.call(life, 'hold', site.url, key, longLease)
        await freedBy(key, action)
      })
    }
  })

  it('frees its locks when it crashes, because its connection drops', async () => {
    // The session has no grace, so it ends when its connection drops.
    await tab.call(life, 'hold', site.url, 'crash', { lease: 300_000 })
    await freedBy('crash', async () => void tab.send('Page.crash').catch(() => {}))
  })

  it('loses its locks in the back/forward cache, and has a new session afterwards', async () => {
    await tab.call(life, 'hold', site.url, 'cached', longLease)
    // The tab requests the key "later", which the rival holds until the tab is in the back/forward
    // cache.
    const laterLock = await rival.lock('later')
    // Do not wait for the response, because the tab leaves the page before the response.
    tab.call(life, 'requestOther', 'later').catch(() => {})
    await freedBy('cached', () => tab.navigate(`${site.origin}/other.html`))
    await laterLock.unlock()
    await tab.back()
    await tab.call(life, 'untilRecorded', 'granted later')
    expect(await eventNames()).to.deep.equal([
      ...['locked', 'aborted: session', 'lost', 'pagehide true', 'visibilitychange', 'freeze'],
      ...['connects', 'resume', 'visibilitychange', 'pageshow true', 'newSession', 'granted later'],
    ])
  })

  it('keeps its locks while it is hidden and its timers are throttled', async () => {
    await tab.call(life, 'hold', site.url, 'hidden', {}, shortTtl)
    const other = await browser.open(`${site.origin}/other.html`)
    // The broker sends a ping in each half of a lease. So the three pings of a quick run take more
    // than one lease, and the ten pings of a full run take more than three leases.
    expect(await tab.call(life, 'heldAfterPings', quickOrFull(3, 10))).to.equal(true)
    expect(await eventNames()).to.deep.equal(['locked', 'visibilitychange'])
    await other.close()
  })

  it('loses its locks at the end of its lease when it is frozen, and reports the loss first when it wakes', async () => {
    await tab.call(life, 'hold', site.url, 'frozen')
    await tab.call(life, 'startTimer', timerMs)
    const other = await browser.open(`${site.origin}/other.html`)
    const freedAt = await freedBy('frozen', () =>
      tab.send('Page.setWebLifecycleState', { state: 'frozen' }),
    )
    await tab.send('Page.setWebLifecycleState', { state: 'active' })
    await tab.call(life, 'untilRecorded', 'newSession')
    expect(await eventNames()).to.include.members(['freeze', 'aborted: session', 'resume'])
    expectLossFirst(await recordedEvents(), freedAt)
    await other.close()
  })

  it('loses its locks at the end of its lease when the machine sleeps, and reports the loss first when it wakes', async () => {
    await tab.call(life, 'hold', site.url, 'asleep')
    await tab.call(life, 'startTimer', timerMs)
    const freedAt = await freedBy('asleep', async () => browser.pause())
    browser.continue()
    await tab.call(life, 'untilRecorded', 'newSession')
    expectLossFirst(await recordedEvents(), freedAt)
  })

  /** Expects that the loss is the first event of the tab after the rival got the lock. */
  function expectLossFirst(events: readonly RecordedEvent[], freedAt: number): void {
    const laterEvents = events.filter(({ at }) => at >= freedAt)
    expect(laterEvents[0]?.event).to.equal('aborted: session')
    expect(laterEvents.filter(({ held }) => held)).to.deep.equal([])
  }

  it('loses its locks at the end of its lease when it is offline, and reconnects when online', async () => {
    const setOffline = (offline: boolean) =>
      tab.send('Network.emulateNetworkConditions', {
        offline,
        latency: 0,
        // -1 means no limit.
        downloadThroughput: -1,
        uploadThroughput: -1,
      })
    await tab.send('Network.enable')
    // The delay before the second try to connect is so long that only the event "online" can end
    // the delay in this test.
    await tab.call(life, 'hold', site.url, 'offline', { reconnect: [0, 1_000_000] })
    const freedAt = await freedBy('offline', () => setOffline(true))
    await tab.call(life, 'untilRecorded', 'lost')
    expect((await recordedEvents()).filter(({ at, held }) => held && at >= freedAt)).to.deep.equal(
      [],
    )
    await setOffline(false)
    await tab.call(life, 'untilRecorded', 'newSession')
  })
})
