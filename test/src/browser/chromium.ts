/**
 * Starts Chromium for tests: the one of Debian, headless, without requests to the network, and with
 * a temporary profile.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'

export const flags: readonly string[] = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
]

export interface Chromium {
  readonly context: BrowserContext
  close(): Promise<void>
}

/** Starts a browser whose context has cookies, storage and native locks of its own. */
export async function openChromium(...more: readonly string[]): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: commandPath('chromium'),
    headless: true,
    args: [...flags, ...more],
  })
  return {
    context,
    close: async () => {
      await context.close()
      await rm(profile, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** Opens a page at this address; errors of the page fail the test that awaits `problems`. */
export async function openPage(context: BrowserContext, address: string): Promise<Page> {
  const page = await context.newPage()
  page.on('pageerror', (error) => {
    throw error
  })
  await page.goto(address)
  return page
}

/** The path of a command on the PATH, because Playwright needs a path. */
export function commandPath(command: string): string {
  const places = (process.env['PATH'] ?? '').split(delimiter).map((each) => join(each, command))
  return places.find((place) => existsSync(place)) ?? command
}
