/**
 * Controls Chromium through the DevTools protocol without Playwright. Playwright keeps every page
 * in the foreground, so that no page is ever hidden, throttled, frozen or put into the back/forward
 * cache. Here tabs behave as for a user.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { commandPath, flags } from './chromium.js'

type Params = Readonly<Record<string, unknown>>

interface Message {
  readonly id?: number
  readonly method?: string
  readonly sessionId?: string
  readonly params?: unknown
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
}

export class DevTools {
  readonly #child: ChildProcess
  readonly #socket: WebSocket
  readonly #profile: string
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new Set<(message: Message) => void>()
  #lastId = 0

  static async launch(...more: readonly string[]): Promise<DevTools> {
    const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
    const args = [...flags, '--headless', '--remote-debugging-port=0', `--user-data-dir=${profile}`]
    const child = spawn(commandPath('chromium'), [...args, ...more, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // A process group of its own, which can be stopped as a whole.
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
  async open(address: string, browserContextId?: string): Promise<Tab> {
    const created = await this.send('Target.createTarget', { url: 'about:blank', browserContextId })
    const { targetId } = created as { targetId: string }
    const attached = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const tab = new Tab(this, targetId, (attached as { sessionId: string }).sessionId)
    await tab.send('Page.enable')
    await tab.navigate(address)
    return tab
  }

  /**
   * A context that shares nothing with others: another person's browser, as far as pages can tell.
   */
  async newContext(): Promise<string> {
    const created = await this.send('Target.createBrowserContext')
    return (created as { browserContextId: string }).browserContextId
  }

  /** Stops every process of the browser, as a sleeping machine does. */
  stop(): void {
    process.kill(-this.#child.pid!, 'SIGSTOP')
  }

  goOn(): void {
    process.kill(-this.#child.pid!, 'SIGCONT')
  }

  async close(): Promise<void> {
    this.goOn()
    const exited = once(this.#child, 'exit')
    this.#socket.terminate()
    process.kill(-this.#child.pid!, 'SIGKILL')
    await exited
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }

  send(method: string, params: Params = {}, sessionId?: string): Promise<unknown> {
    const id = ++this.#lastId
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }))
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  /** The next event of this name, with its parameters. */
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
    const waiting = message.id === undefined ? undefined : this.#waiting.get(message.id)
    if (message.id === undefined || waiting === undefined) {
      for (const listener of this.#listeners) listener(message)
      return
    }
    this.#waiting.delete(message.id)
    if (message.error === undefined) waiting.resolve(message.result)
    else waiting.reject(new Error(message.error.message))
  }
}

interface Evaluated {
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

  send(method: string, params?: Params): Promise<unknown> {
    return this.#browser.send(method, params, this.#sessionId)
  }

  event(method: string): Promise<unknown> {
    return this.#browser.event(method, this.#sessionId)
  }

  /** Runs a function of a module of the site in the page; it must resolve with a JSON value. */
  async call<T>(module: string, name: string, ...args: readonly unknown[]): Promise<T> {
    const list = args.map((arg) => JSON.stringify(arg)).join(', ')
    return this.evaluate(`import(location.origin + '${module}').then((m) => m.${name}(${list}))`)
  }

  async evaluate<T>(expression: string): Promise<T> {
    const how = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', how)) as Evaluated
    if (exceptionDetails === undefined) return result.value as T
    throw new Error(exceptionDetails.exception?.description ?? 'it threw')
  }

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

  async bringToFront(): Promise<void> {
    await this.#browser.send('Target.activateTarget', { targetId: this.#targetId })
  }

  async close(): Promise<void> {
    await this.#browser.send('Target.closeTarget', { targetId: this.#targetId })
  }
}

async function addressOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stderr!)) {
    const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
    if (address !== undefined) return address
  }
  throw new Error('chromium ended before it listened')
}
