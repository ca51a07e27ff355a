/**
 * `navigator.locks` ends at the browser, but `session.locks` also works across browsers and
 * processes.
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

/** Requests the one lock of these tests; the promise does not settle while the lock is held. */
const isFree = `async (locks) => locks.request('one', { ifAvailable: true }, (lock) => {
  if (lock !== null) globalThis.held = new Promise((resolve) => { globalThis.release = resolve })
  globalThis.result = lock !== null
  globalThis.told?.()
  return globalThis.held
})`

describe('locks across two browsers and two processes', function () {
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

  /** Whether a tab gets the lock; the tab keeps the lock. */
  const take = (tab: Tab, locks: string): Promise<boolean> =>
    tab.evaluate(`new Promise((resolve) => {
      globalThis.told = () => resolve(globalThis.result)
      void (async () => (${isFree})(${locks}))()
    })`)

  it('are separate with navigator.locks', async () => {
    expect(await take(tabs[0]!, 'navigator.locks')).to.equal(true)
    expect(await take(tabs[1]!, 'navigator.locks')).to.equal(true)
  })

  it('are shared with session.locks', async () => {
    const ours = `(globalThis.session ??= await (await import('/holdfast.js'))
      .connect('${site.url}')).locks`
    expect(await take(tabs[0]!, ours)).to.equal(true)
    expect(await take(tabs[1]!, ours)).to.equal(false)
    const free = () => session.locks.request('one', { ifAvailable: true }, (lock) => lock !== null)
    expect(await free()).to.equal(false)
    child = spawn(process.execPath, ['--input-type=module', '--eval', inAnotherProcess(site.url)], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
    expect((await lines.next()).value).to.equal('waits')
    await tabs[0]!.evaluate('release()')
    expect((await lines.next()).value).to.equal('holds')
    expect(await take(tabs[1]!, ours)).to.equal(false)
    expect(await free()).to.equal(false)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await session.locks.request('one', () => {})
    expect(await take(tabs[1]!, ours)).to.equal(true)
  })
})

/** A program that waits for the lock and holds it until it is killed. */
function inAnotherProcess(url: string): string {
  return `
    import { connect } from '@holdfast/client'
    const session = await connect('${url}')
    const holding = session.locks.request('one', () => {
      console.log('holds')
      return new Promise(() => {})
    })
    await session.locks.query()
    console.log('waits')
    await holding`
}
