/**
 * What the client takes from where it runs: time, chance, a WebSocket, the end of a turn. All of it
 * in one place and passed in, so that a simulation can be the browser.
 */

import type { Clock } from '@holdfast/shared'
import { adviceOn, PlatformWebSocket, platformWebSocket, warn } from '#websocket'
import { type Page, page } from './page.js'

export interface Environment {
  readonly clock: Clock
  /** From 0 up to 1, as `Math.random`; for the jitter of reconnecting. */
  readonly random: () => number
  /**
   * Calls back when the present turn has asked for what it will, so that one frame takes it all.
   */
  readonly endOfTurn: (callback: () => void) => void
  /**
   * Calls back in a task of its own, when everything that the present one brought about has run.
   * Not by a timer, which a hidden tab delays by up to a minute. Without it, `endOfTurn` has to do.
   */
  readonly newTask?: ((callback: () => void) => void) | undefined
  readonly WebSocket: WebSocketConstructor
  /**
   * Makes a WebSocket that connects in another way than by default.
   * @throws HoldfastError `INVALID_OPTION` where the platform cannot do that.
   */
  readonly webSocketFor?: ((options: PlatformOptions) => WebSocketConstructor) | undefined
  /** Prints a warning for the developer; without it there are no warnings. */
  readonly warn?: ((message: string, code: string) => void) | undefined
  /** What to do about an error of the platform's WebSocket, where it is known. */
  readonly adviceOn?: ((error: unknown) => string | undefined) | undefined
  /** The page that this runs in, if it is one. */
  readonly page?: Page | undefined
}

/** How the platform's own WebSocket is to connect, where it can be told. */
export interface PlatformOptions {
  /** Certificates of authorities in PEM form, in place of those that the platform trusts. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined
  /** URL of an HTTP proxy; false for none, whatever the environment says. */
  readonly proxy?: string | false | undefined
}

/** Written as a method, so that a class whose events have more to them than this fits as well. */
type Handler<E> = { on(event: E): void }['on'] | null

/** What the client needs of a `WebSocket`; the browser's, Node's and that of `ws` all have it. */
export interface WebSocketLike {
  readonly protocol: string
  onopen: Handler<unknown>
  onmessage: Handler<{ readonly data: unknown }>
  onclose: Handler<{ readonly code: number; readonly reason: string }>
  onerror: Handler<unknown>
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Drops the connection without a closing handshake, where the platform can (`ws` can). */
  terminate?(): void
  /** Lets the process end although the connection is up, where the platform can. */
  unref?(): void
  /** The opposite of `unref`. */
  ref?(): void
  /** URL of the proxy by which it connects, without secrets. */
  readonly via?: string | undefined
}

export interface WebSocketConstructor {
  new (url: string, protocols?: string | string[]): WebSocketLike
}

/*
 * Taken when this module loads, so that a test's fake timers, which replace the functions of the
 * platform, stop neither the client nor its view of time: a lock would otherwise be believed for as
 * long as the fake clock stands, and a queue of microtasks that never runs would end all sending.
 * Bound, since a browser minds what they are called on.
 */
const clock: Clock = {
  monotonic: /* @__PURE__ */ performance.now.bind(performance),
  wall: Date.now,
  setTimer: /* @__PURE__ */ setTimeout.bind(globalThis),
  clearTimer: /* @__PURE__ */ clearTimeout.bind(globalThis) as Clock['clearTimer'],
}
const Channel = globalThis.MessageChannel as typeof MessageChannel | undefined
const settled = Promise.resolve()
/** Apart from `machine`, so that a page which imports only a strategy does not load the rest. */
export const random: () => number = Math.random

/** The real machine. */
export const platformEnvironment: Environment = {
  clock,
  random,
  // Not by `queueMicrotask`: a test may have replaced it before this module was loaded.
  endOfTurn: (callback) => void settled.then(callback),
  newTask: Channel && ((callback) => runInTask(Channel, callback)),
  WebSocket: PlatformWebSocket,
  webSocketFor: platformWebSocket,
  adviceOn,
  warn,
  page,
}

function runInTask(Channel: typeof MessageChannel, callback: () => void): void {
  const { port1, port2 } = new Channel()
  port1.onmessage = () => {
    port1.close()
    callback()
  }
  port2.postMessage(undefined)
}
