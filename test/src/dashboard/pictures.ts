/**
 * `npm run pictures`: takes the picture of the dashboard that README.md shows, from a real broker
 * with a few dozen clients and a real Chromium. The flag `--all` adds pictures of every page:
 * light, dark and on a phone, with locks and without.
 *
 *   npm run pictures                    writes test/dashboard.png
 *   npm run pictures -- --all FOLDER    also writes the pictures of every page into FOLDER
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connect, type Session } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { type Chromium, openChromium } from '../browser/chromium.js'
import { pageHashes, type Screen, screens } from './allPages.js'
import { DashboardPage } from './dashboardPage.js'

const { values } = parseArgs({ options: { all: { type: 'string' } } })
const readmePicture = fileURLToPath(new URL('../../dashboard.png', import.meta.url))

/** How long the clients lock and unlock before the picture of README.md, in ms. */
const warmUpMs = 55_000
/** The number of clients that lock and unlock. */
const workerCount = 24
/** A well-formed id of a session that does not exist, for pictures without locks. */
const unknownSession = 'FWTlRuLi5iiFVUmSsg_gh'

/** Clients that lock and unlock again and again, and a few clients that hold locks and wait. */
class Clients {
  readonly #sessions: Session[] = []
  #isStopping = false
  readonly #loops: Promise<void>[] = []

  static async start(url: string): Promise<Clients> {
    const clients = new Clients()
    await clients.#holdAndWait(url)
    for (let i = 1; i <= workerCount; i++) {
      const session = await clients.#open(url, `worker-${i}`)
      clients.#loops.push(clients.#work(session, i))
    }
    return clients
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#sessions.map((session) => session.close()))
    await Promise.allSettled(this.#loops)
  }

  async #open(url: string, name: string): Promise<Session> {
    const session = await connect(url, { name })
    this.#sessions.push(session)
    return session
  }

  /** Locks several keys, and lets requests wait behind some of the holders. */
  async #holdAndWait(url: string): Promise<void> {
    const people = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Leslie', 'Nancy']
    for (const [i, name] of people.entries()) {
      const session = await this.#open(url, name)
      await session.lock(`documents/${100 + i}`, { metadata: { title: `Chapter ${i + 1}` } })
    }
    const [first, ...others] = this.#sessions
    await first!.lock('jobs/nightly-report', { ttl: 600_000, metadata: { host: 'batch-2' } })
    for (const session of others) void session.lock('jobs/nightly-report').catch(() => {})
    for (const session of others.slice(0, 2)) void session.lock('documents/100').catch(() => {})
    await Promise.all(others.map((session) => session.lock('documents/shared', { mode: 'shared' })))
  }

  /** Adds leaders, barriers, kept results, scopes, a refused deadlock, and 50 waiters of a key. */
  async addCoordination(url: string): Promise<void> {
    const [first, second] = [await this.#open(url, 'billing-1'), await this.#open(url, 'billing-2')]
    const longName = 'a-name-of-sixty-characters-without-a-space-xxxxxxxxxxxxxxxxx'
    const longNamed = await this.#open(url, longName)
    await longNamed.lock(`documents/${longName}`, { maxHold: 3_600_000 })
    await first.campaign('scheduler', { value: { url: 'http://10.0.0.7:8080' } })
    void second.campaign('scheduler').catch(() => {})
    await second.campaign('cache-warmer')
    for (const session of [first, second, first])
      void session.barrier('phase-2', { parties: 4 }).catch(() => {})
    await first.once('report:2026-11', () => ({ rows: 42 }), { keep: 600_000 })
    void this.#deadlock(first, second).catch(() => {})
    for (let i = 1; i <= 50; i++) {
      const session = await this.#open(url, i % 5 === 0 ? `importer-${i}` : `indexer-${i}`)
      const mode = i % 2 === 0 ? 'shared' : 'exclusive'
      void session.lock('jobs/nightly-report', { mode }).catch(() => {})
    }
  }

  /**
   * Opens two scopes (tasks of a session) that hold one key each, and lets each request the key of
   * the other. The broker refuses the second request, which would cause a deadlock.
   */
  async #deadlock(first: Session, second: Session): Promise<void> {
    await first.scope(async (a) => {
      await a.lock('account/1')
      await second.scope(async (b) => {
        await b.lock('account/2')
        const waiting = a.lock('account/2')
        // The broker answers `stats` after it has handled the request that waits.
        await first.stats()
        await b.lock('account/1').catch(() => {})
        await waiting
      })
    })
  }

  /**
   * Locks twelve keys in turn until the clients stop, each key for a short time. The factors 7 and
   * 13 only make the times differ between workers and rounds.
   */
  async #work(session: Session, firstRound: number): Promise<void> {
    for (let round = firstRound; !this.#isStopping; round++) {
      await session
        .withLock(`orders/${round % 12}`, () => pause(5 + ((round * 7) % 40)))
        .catch(() => {})
      await pause((round * 13) % 90)
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Opens a page of the dashboard with the size and the theme of a screen. */
async function openPicturedPage(
  { context }: Chromium,
  url: string,
  hash: string,
  screen: Screen,
): Promise<DashboardPage> {
  const { width, height, colorScheme } = screens[screen]
  const dashboardPage = await DashboardPage.open(await context.newPage(), url, hash)
  await dashboardPage.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
  await dashboardPage.page.setViewportSize({ width, height })
  return dashboardPage
}

/** The hash of each page of the dashboard, by a name that becomes a part of file names. */
async function pagesOf(url: string): Promise<Record<string, string>> {
  const session = await connect(url, { name: 'pictures' })
  const { held } = await session.query({ key: 'jobs/nightly-report' })
  await session.close()
  const id = held[0]?.session ?? unknownSession
  const pages = pageHashes({ key: 'jobs/nightly-report', sessionId: id })
  if (held.length === 0) return pages
  return { ...pages, deadlock: pageHashes({ key: 'account/1' })['lock']! }
}

/**
 * Takes a picture of every page on every screen.
 *
 * @param state What the broker has, as a part of the file names: `empty` or `full`.
 */
async function takeAll(chromium: Chromium, url: string, state: string, folder: string) {
  for (const [page, hash] of Object.entries(await pagesOf(url))) {
    for (const screen of Object.keys(screens) as Screen[]) {
      const dashboardPage = await openPicturedPage(chromium, url, hash, screen)
      await dashboardPage.waitForState('Live')
      await takePicture(dashboardPage, screen, join(folder, `${page}-${state}-${screen}.png`))
    }
  }
}

/** Takes a picture of the page that asks for a token, on every screen. */
async function takeTokenPage(chromium: Chromium, folder: string): Promise<void> {
  const broker = createBroker({ authenticate: () => undefined })
  const { url } = await broker.listen({ port: 0 })
  for (const screen of Object.keys(screens) as Screen[]) {
    const dashboardPage = await openPicturedPage(chromium, url, '#/', screen)
    await dashboardPage.waitForState('Token needed')
    await takePicture(dashboardPage, screen, join(folder, `token-${screen}.png`))
  }
  await broker.close()
}

/** Takes a picture of the visible part of a page (on a phone: the whole page), and closes it. */
async function takePicture({ page }: DashboardPage, screen: Screen, path: string): Promise<void> {
  // The lists of the page arrive a moment after the connection.
  await pause(1_000)
  if (screen === 'phone') {
    // Make the screen as high as the page, so that the navigation is at the bottom of the picture.
    const height = await page.evaluate(() => document.documentElement.scrollHeight)
    await page.setViewportSize({ width: screens.phone.width, height })
  }
  await page.screenshot({ path })
  await page.close()
}

const folder = values.all
if (folder !== undefined) await mkdir(folder, { recursive: true })
const broker = createBroker()
const { url } = await broker.listen({ port: 0 })
const chromium = await openChromium()
try {
  if (folder !== undefined) {
    await takeTokenPage(chromium, folder)
    await takeAll(chromium, url, 'empty', folder)
  }
  const clients = await Clients.start(url)
  const dashboardPage = await openPicturedPage(chromium, url, '#/', 'light')
  await dashboardPage.waitForState('Live')
  await pause(warmUpMs)
  await dashboardPage.page.screenshot({ path: readmePicture })
  process.stdout.write(`wrote ${readmePicture}\n`)
  if (folder !== undefined) {
    await clients.addCoordination(url)
    await takeAll(chromium, url, 'full', folder)
  }
  await clients.stop()
} finally {
  await chromium.close()
  await broker.close()
}
