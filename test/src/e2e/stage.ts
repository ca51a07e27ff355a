/**
 * Helpers for end-to-end tests. A stage opens real brokers and sessions, and closes them after each
 * test. The other helpers wait for events, so that no test sleeps.
 */
import { EventEmitter, once } from 'node:events'
import {
  type ConnectOptions,
  connect,
  type Session,
  type SessionEvents,
  type WatchEvent,
  type WebSocketConstructor,
} from '@holdfast/client'
import {
  type BrokerOptions,
  createBroker,
  type HoldfastBroker,
  HoldfastError,
} from '@holdfast/server'
import { expect } from 'chai'
import { WebSocket } from 'ws'

/** A broker that listens. */
export interface RunningBroker {
  readonly broker: HoldfastBroker
  readonly url: string
  readonly port: number
}

/** Opens the brokers and sessions of one test, and closes them after the test. */
export class Stage {
  readonly #closing: (() => unknown)[] = []

  /** Makes a stage for the tests of the calling suite, and cleans up after each test. */
  static forEachTest(): Stage {
    const stage = new Stage()
    afterEach(() => stage.cleanUp())
    return stage
  }

  /** Registers a function that runs after the test. The function registered last runs first. */
  onCleanUp(close: () => unknown): void {
    this.#closing.push(close)
  }

  /** Runs the registered functions, which close the brokers and sessions, the newest first. */
  async cleanUp(): Promise<void> {
    for (let close = this.#closing.pop(); close; close = this.#closing.pop()) await close()
  }

  /**
   * Starts a broker in this process. The stage closes the broker.
   *
   * @param port Default: a free port.
   */
  async startBroker(options: BrokerOptions = {}, port = 0): Promise<RunningBroker> {
    const broker = createBroker(options)
    this.onCleanUp(() => broker.close())
    const { url, port: actualPort } = await broker.listen({ port })
    return { broker, url, port: actualPort }
  }

  /** Connects a client, whose session the stage closes. */
  async openSession(url: string | readonly string[], options?: ConnectOptions): Promise<Session> {
    const session = await connect(url, options)
    this.onCleanUp(() => session.close())
    return session
  }

  /**
   * Starts a broker, and opens one session with each of these names. Returns the sessions in order.
   */
  async startBrokerWithSessions(...names: readonly string[]): Promise<BrokerWithSessions> {
    const running = await this.startBroker()
    const sessions = await Promise.all(names.map((name) => this.openSession(running.url, { name })))
    return { ...running, sessions }
  }
}

export interface BrokerWithSessions extends RunningBroker {
  readonly sessions: readonly Session[]
}

/** Resolves when the broker has handled all messages that this session sent before this call. */
export async function untilMessagesHandled(session: Session): Promise<void> {
  await session.stats()
}

/** Resolves with the argument of the next event of this name. */
export function nextEvent<E extends keyof SessionEvents>(
  session: Session,
  event: E,
): Promise<Parameters<SessionEvents[E]>[0]> {
  return new Promise((resolve) => {
    session.once(event, ((payload: unknown) => resolve(payload as never)) as never)
  })
}

/** Resolves with the reason when the signal is aborted, or if it is already. */
export function untilAborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })
}

/** Returns the error of a promise that must reject with this code. Throws in all other cases. */
export async function expectRejection(
  promise: Promise<unknown>,
  code: HoldfastError['code'],
): Promise<HoldfastError> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    expect(error).to.be.instanceOf(HoldfastError).that.includes({ code })
    return error as HoldfastError
  }
  throw new Error(
    `Expected a rejection with ${code}, but the promise resolved with ${String(value)}`,
  )
}

/** Collects the items that a source adds, and lets a test wait until there are enough items. */
export class Collector<T> {
  readonly items: T[] = []
  /**
   * Emits `change` to each waiting test after an item was added or the source has ended. The limit
   * 0 allows any number of waiting tests.
   */
  readonly #changes = new EventEmitter().setMaxListeners(0)
  #end: string | undefined

  readonly add = (item: T): void => {
    this.items.push(item)
    this.#changes.emit('change')
  }

  /** Declares that no further item will come. A test that still waits fails with this reason. */
  end(reason: string): void {
    this.#end = reason
    this.#changes.emit('change')
  }

  /** Resolves with all items when `enough` returns true. Rejects if the source ends first. */
  async waitUntil(enough: (items: readonly T[]) => boolean): Promise<readonly T[]> {
    while (!enough(this.items)) {
      if (this.#end !== undefined)
        throw new Error(
          `${this.#end}, and the expected items did not come, only: ${this.items.join()}`,
        )
      await once(this.#changes, 'change')
    }
    return this.items
  }

  /** Resolves with all items when there are at least this many. */
  async waitForCount(minimum: number): Promise<readonly T[]> {
    return this.waitUntil((items) => items.length >= minimum)
  }
}

/** Begins a watch, and resolves when its first event, the state of the key, has arrived. */
export async function collectWatchEvents(
  session: Session,
  key: string,
): Promise<Collector<WatchEvent>> {
  const events = new Collector<WatchEvent>()
  session.watch(key, events.add)
  await events.waitForCount(1)
  return events
}

/** Makes a `WebSocket` class that records every frame that it sends. */
export function recordingWebSocket(): {
  readonly frames: Collector<string>
  readonly WebSocket: WebSocketConstructor
} {
  const frames = new Collector<string>()
  class Recorder extends WebSocket {
    override send(data: string): void {
      frames.add(data)
      super.send(data)
    }
  }
  return { frames, WebSocket: Recorder as unknown as WebSocketConstructor }
}
