/**
 * One Chromium for all test files of a run, because each start of Chromium costs a second. Each
 * suite has a context of its own. The browser is closed after the last test.
 */
import { type Browser, chromium } from 'playwright-core'
import { type Chromium, chromiumFlags, commandPath } from './chromium.js'

let browser: Promise<Browser> | undefined

after(async () => {
  await (await browser)?.close()
})

/**
 * Opens a context in the browser of this run. The context has cookies, storage and Web Locks of its
 * own. `close` closes only the context, and the browser stays open.
 */
export async function openContext(): Promise<Chromium> {
  browser ??= chromium.launch({
    executablePath: commandPath('chromium'),
    headless: true,
    args: [...chromiumFlags],
  })
  const context = await (await browser).newContext()
  return { context, close: () => context.close() }
}
