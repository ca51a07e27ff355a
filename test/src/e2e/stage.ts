/**
 * The parts of an end-to-end test: real brokers and sessions that are closed after each test, and
 * ways to wait for events in place of time.
 */
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

export class Stage {
  readonly #closing: (() => unknown)[] = []

  /** A stage for each test of the calling suite, cleared after each test. */
  static forEachTest(): Stage {
    const stage = new Stage()
    afterEach(() => stage.clear())
    return stage
  }

  /** Registers a function that closes something after the test; the last one runs first. */
  onClear(close: () => unknown): void {
    this.#closing.push(close)
  }

  async clear(): Promise<void> {
    for (let close = this.#closing.pop(); close; close = this.#closing.pop()) await close()
  }

  async broker(options: BrokerOptions = {}, port = 0): Promise<RunningBroker> {
    const broker = createBroker(options)
    this.onClear(() => broker.close())
    const { url, port: listening } = await broker.listen({ port })
    return { broker, url, port: listening }
  }

  async session(url: string | readonly string[], options?: ConnectOptions): Promise<Session> {
    const session = await connect(url, options)
    this.onClear(() => session.close())
    return session
  }

  /** A broker, and sessions with these names. */
  async brokerWith(...names: readonly string[]): Promise<Meeting> {
    const running = await this.broker()
    const sessions = await Promise.all(names.map((name) => this.session(running.url, { name })))
    return { ...running, sessions }
  }
}

export interface Meeting extends RunningBroker {
  readonly sessions: readonly Session[]
}

/** Resolves when the broker has handled everything that this session sent before. */
export async function untilHandled(session: Session): Promise<void> {
  await session.stats()
}

/** The next event of this name. */
export function next<E extends keyof SessionEvents>(
  session: Session,
  event: E,
): Promise<Parameters<SessionEvents[E]>[0]> {
  return new Promise((resolve) => {
    session.once(event, ((payload: unknown) => resolve(payload as never)) as never)
  })
}

/** Resolves with the reason when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })
}

/** The error of this code with which the promise rejects; fails otherwise. */
export async function rejection(
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

/** Collects the arguments of its calls, and waits until there are enough. */
export class Collector<T> {
  readonly items: T[] = []
  #wake: () => void = () => {}

  readonly add = (item: T): void => {
    this.items.push(item)
    this.#wake()
  }

  /** Resolves with all items when `enough` returns true. */
  async until(enough: (items: readonly T[]) => boolean): Promise<readonly T[]> {
    while (!enough(this.items)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.items
  }

  async count(n: number): Promise<readonly T[]> {
    return this.until((items) => items.length >= n)
  }
}

/** The events of a watch of this session, after the watch has reported its first state. */
export async function watching(session: Session, key: string): Promise<Collector<WatchEvent>> {
  const events = new Collector<WatchEvent>()
  session.watch(key, events.add)
  await events.count(1)
  return events
}

/** A `WebSocket` class that records every frame that it sends. */
export function recorder(): {
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
