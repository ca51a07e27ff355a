/**
 * Chromium, as tests use it: Debian's own, without a window, without a word to the network, with a
 * profile of its own that is gone afterwards.
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

/** Starts one; its context has its cookies, storage and native locks for itself. */
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

/** A page at this address whose errors fail the test that waits for `problems`. */
export async function openPage(context: BrowserContext, address: string): Promise<Page> {
  const page = await context.newPage()
  page.on('pageerror', (error) => {
    throw error
  })
  await page.goto(address)
  return page
}

/** Where a command is, which playwright wants to know. */
export function commandPath(command: string): string {
  const places = (process.env['PATH'] ?? '').split(delimiter).map((each) => join(each, command))
  return places.find((place) => existsSync(place)) ?? command
}
