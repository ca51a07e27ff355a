/**
 * Controls Chromium through the DevTools protocol without Playwright. Under Playwright, no page is
 * ever hidden, throttled, frozen or put into the back/forward cache. With this class, tabs behave
 * as they do for a user.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { chromiumFlags, commandPath } from './chromium.js'

type Params = Readonly<Record<string, unknown>>

/** A message of the DevTools protocol: a response, if it has an id, or an event. */
interface Message {
  readonly id?: number
  readonly method?: string
  readonly sessionId?: string
  readonly params?: unknown
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

/** The functions that settle the promise of a sent command. */
interface PendingCommand {
  resolve(result: unknown): void
  reject(error: Error): void
}

export class DevTools {
  readonly #child: ChildProcess
  readonly #socket: WebSocket
  readonly #profile: string
  readonly #pending = new Map<number, PendingCommand>()
  readonly #listeners = new Set<(message: Message) => void>()
  #lastId = 0

  /** @param moreFlags Further flags of Chromium. */
  static async launch(...moreFlags: readonly string[]): Promise<DevTools> {
    const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
    const args = [
      ...chromiumFlags,
      '--headless',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
    ]
    const child = spawn(commandPath('chromium'), [...args, ...moreFlags, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // A process group of its own, so that a signal of `pause` or `close` reaches every process.
      detached: true,
    })
    const socket = new WebSocket(await addressOf(child))
    await once(socket, 'open')
    return new DevTools(child, socket, profile)
  }

  private constructor(child: ChildProcess, socket: WebSocket, profile: string) {
    this.#child = child
    this.#socket = socket
    this.#profile = profile
    socket.on('message', (data) => this.#onMessage(JSON.parse(String(data)) as Message))
  }

  /** Opens a tab in front of all others. */
  async open(url: string, browserContextId?: string): Promise<Tab> {
    const created = await this.send('Target.createTarget', { url: 'about:blank', browserContextId })
    const { targetId } = created as { targetId: string }
    // With `flatten`, the tab uses the same WebSocket; a `sessionId` marks the messages of the tab.
    const attached = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const tab = new Tab(this, targetId, (attached as { sessionId: string }).sessionId)
    await tab.send('Page.enable')
    await tab.navigate(url)
    return tab
  }

  /**
   * Makes a browser context that shares no cookies, storage or Web Locks with other contexts, like
   * the browser of another user. Returns its id.
   */
  async newContext(): Promise<string> {
    const created = await this.send('Target.createBrowserContext')
    return (created as { browserContextId: string }).browserContextId
  }

  /** Pauses every process of the browser, as a sleeping machine does. */
  pause(): void {
    process.kill(-this.#child.pid!, 'SIGSTOP')
  }

  /** Continues the processes of the browser after {@link pause}. */
  continue(): void {
    process.kill(-this.#child.pid!, 'SIGCONT')
  }

  async close(): Promise<void> {
    this.continue()
    const exited = once(this.#child, 'exit')
    this.#socket.terminate()
    process.kill(-this.#child.pid!, 'SIGKILL')
    await exited
    // A process of the browser may still write to the profile, so the removal may need retries.
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }

  /**
   * Calls a method of the DevTools protocol.
   *
   * @param sessionId The DevTools session of a tab; undefined for the browser.
   */
  send(method: string, params: Params = {}, sessionId?: string): Promise<unknown> {
    const id = ++this.#lastId
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }))
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }))
  }

  /** Resolves with the parameters of the next event that has this name, in the tab's session. */
  event(method: string, sessionId: string): Promise<unknown> {
    return new Promise((resolve) => {
      const listener = (message: Message) => {
        if (message.method !== method || message.sessionId !== sessionId) return
        this.#listeners.delete(listener)
        resolve(message.params)
      }
      this.#listeners.add(listener)
    })
  }

  #onMessage(message: Message): void {
    const command = message.id === undefined ? undefined : this.#pending.get(message.id)
    if (message.id === undefined || command === undefined) {
      for (const listener of this.#listeners) listener(message)
      return
    }
    this.#pending.delete(message.id)
    if (message.error === undefined) command.resolve(message.result)
    else command.reject(new Error(message.error.message))
  }
}

interface EvaluateResult {
  readonly result: { readonly value?: unknown }
  readonly exceptionDetails?: { readonly exception?: { readonly description?: string } }
}

export class Tab {
  readonly #browser: DevTools
  readonly #targetId: string
  readonly #sessionId: string

  constructor(browser: DevTools, targetId: string, sessionId: string) {
    this.#browser = browser
    this.#targetId = targetId
    this.#sessionId = sessionId
  }

  /** Calls a method of the DevTools protocol for this tab. */
  send(method: string, params?: Params): Promise<unknown> {
    return this.#browser.send(method, params, this.#sessionId)
  }

  /** Resolves with the parameters of the next event of this tab that has this name. */
  event(method: string): Promise<unknown> {
    return this.#browser.event(method, this.#sessionId)
  }

  /** Calls a function of a module in the page. The function must resolve with a JSON value. */
  async call<T>(module: string, name: string, ...args: readonly unknown[]): Promise<T> {
    const argsText = args.map((arg) => JSON.stringify(arg)).join(', ')
    return this.evaluate(
      `import(location.origin + '${module}').then((m) => m.${name}(${argsText}))`,
    )
  }

  /** Evaluates an expression in the page, and awaits its promise. Rejects if the page throws. */
  async evaluate<T>(expression: string): Promise<T> {
    const params = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = (await this.send(
      'Runtime.evaluate',
      params,
    )) as EvaluateResult
    if (exceptionDetails === undefined) return result.value as T
    throw new Error(exceptionDetails.exception?.description ?? 'The expression threw in the page')
  }

  /** Opens a URL, and resolves when the page has loaded. */
  async navigate(url: string): Promise<void> {
    const loaded = this.event('Page.loadEventFired')
    await this.send('Page.navigate', { url })
    await loaded
  }

  async reload(): Promise<void> {
    const loaded = this.event('Page.loadEventFired')
    await this.send('Page.reload')
    await loaded
  }

  /** Goes back to the previous page, which the back/forward cache may restore without loading. */
  async back(): Promise<void> {
    const history = (await this.send('Page.getNavigationHistory')) as {
      currentIndex: number
      entries: { id: number }[]
    }
    const shown = this.event('Page.frameNavigated')
    const { id } = history.entries[history.currentIndex - 1]!
    await this.send('Page.navigateToHistoryEntry', { entryId: id })
    await shown
  }

  /** Makes the tab visible, which hides the other tabs of the window. */
  async bringToFront(): Promise<void> {
    await this.#browser.send('Target.activateTarget', { targetId: this.#targetId })
  }

  async close(): Promise<void> {
    await this.#browser.send('Target.closeTarget', { targetId: this.#targetId })
  }
}

/** Resolves with the URL for DevTools clients, when Chromium has printed this URL. */
async function addressOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stderr!)) {
    const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
    if (address !== undefined) return address
  }
  throw new Error('Chromium ended before it printed the address of DevTools')
}
