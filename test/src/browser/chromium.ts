/**
 * Starts Chromium for tests: the `chromium` command of the machine, headless, without background
 * requests to the network, and with a temporary profile.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'

/** The flags of every Chromium of the tests. As root, Chromium starts only with `--no-sandbox`. */
export const chromiumFlags: readonly string[] = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
]

/** A browser context. `close` also closes everything that was opened only for this context. */
export interface Chromium {
  readonly context: BrowserContext
  close(): Promise<void>
}

/**
 * Starts a browser that shares no cookies, storage or Web Locks with other browsers.
 *
 * @param moreFlags Further flags of Chromium.
 */
export async function openChromium(...moreFlags: readonly string[]): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: commandPath('chromium'),
    headless: true,
    args: [...chromiumFlags, ...moreFlags],
  })
  return {
    context,
    close: async () => {
      await context.close()
      // A process of the browser may still write to the profile, so the removal may need retries.
      await rm(profile, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** Opens a page at this address. An uncaught error of the page fails the running test. */
export async function openPage(context: BrowserContext, address: string): Promise<Page> {
  const page = await context.newPage()
  page.on('pageerror', (error) => {
    throw error
  })
  await page.goto(address)
  return page
}

/** Finds a command in the folders of PATH, because Playwright needs the path of the file. */
export function commandPath(command: string): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const paths = folders.map((folder) => join(folder, command))
  return paths.find((path) => existsSync(path)) ?? command
}
