/**
 * Tests that a lock of `session.locks` excludes clients in other browsers and in other processes. A
 * lock of `navigator.locks` excludes only clients in the same browser.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Session } from '@holdfast/client'
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { root } from '../conventions/repository.js'
import { needs } from '../support/needs.js'
import { DevTools, type Tab } from './devtools.js'
import { openSite, type Site } from './site.js'

/**
 * A function that runs in a page. It requests the lock `printer`, and passes to `onResult` whether
 * the page got the lock. The page keeps the lock until the test calls `release`.
 */
const tryToHold = `async (locks) => locks.request('printer', { ifAvailable: true }, (lock) => {
  if (lock !== null) globalThis.held = new Promise((resolve) => { globalThis.release = resolve })
  globalThis.onResult?.(lock !== null)
  return globalThis.held
})`

describe('locks of two browsers and two processes', function () {
  this.timeout(60_000)
  needs('chromium')
  let site: Site
  let browser: DevTools
  let session: Session
  let child: ChildProcess
  const tabs: Tab[] = []

  before(async () => {
    site = await openSite()
    browser = await DevTools.launch()
    // Two contexts share nothing with each other, as if they were two browsers.
    for (let i = 0; i < 2; i++) {
      const context = await browser.newContext()
      tabs.push(await browser.open(`${site.origin}/page.html`, context))
    }
    session = await connect(site.url)
  })

  after(async () => {
    child?.kill()
    await session?.close()
    await browser?.close()
    await site?.close()
  })

  /**
   * Resolves with whether the tab got the lock. A tab that got the lock keeps it.
   *
   * @param locks The code of an expression whose value is a lock manager.
   */
  const acquiresIn = (tab: Tab, locks: string): Promise<boolean> =>
    tab.evaluate(`new Promise((resolve) => {
      globalThis.onResult = resolve
      void (async () => (${tryToHold})(${locks}))()
    })`)

  it('are separate in each browser with navigator.locks', async () => {
    expect(await acquiresIn(tabs[0]!, 'navigator.locks')).to.equal(true)
    expect(await acquiresIn(tabs[1]!, 'navigator.locks')).to.equal(true)
  })

  it('are common to all with session.locks', async () => {
    const sessionLocks = `(globalThis.session ??= await (await import('/holdfast.js'))
      .connect('${site.url}')).locks`
    expect(await acquiresIn(tabs[0]!, sessionLocks)).to.equal(true)
    expect(await acquiresIn(tabs[1]!, sessionLocks)).to.equal(false)
    /** Whether the session of this test can get the lock. The session releases the lock at once. */
    const isFree = () =>
      session.locks.request('printer', { ifAvailable: true }, (lock) => lock !== null)
    expect(await isFree()).to.equal(false)
    child = spawn(process.execPath, ['--input-type=module', '--eval', holderProgram(site.url)], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
    expect((await lines.next()).value).to.equal('waits')
    await tabs[0]!.evaluate('release()')
    expect((await lines.next()).value).to.equal('holds')
    expect(await acquiresIn(tabs[1]!, sessionLocks)).to.equal(false)
    expect(await isFree()).to.equal(false)
    child.kill('SIGKILL')
    await once(child, 'exit')
    // Waits until the broker has ended the session of the killed program.
    await session.locks.request('printer', () => {})
    expect(await acquiresIn(tabs[1]!, sessionLocks)).to.equal(true)
  })
})

/**
 * A program that waits for the lock, and holds the lock until a test kills the program. The broker
 * handles the lock request before the query. So the lock request is in the queue when the program
 * prints `waits`.
 */
function holderProgram(url: string): string {
  return `
    import { connect } from '@holdfast/client'
    const session = await connect('${url}')
    const holding = session.locks.request('printer', () => {
      console.log('holds')
      return new Promise(() => {})
    })
    await session.locks.query()
    console.log('waits')
    await holding`
}
