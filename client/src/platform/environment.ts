/**
 * Everything that the client takes from the platform: clocks, random numbers, a WebSocket, and ways
 * to run code later. The client gets all of this from one object, so that a simulation can stand in
 * for the platform.
 */

import type { Clock } from '@holdfast/shared'
import { adviceOn, PlatformWebSocket, platformWebSocket, warn } from '#websocket'
import { type Page, page } from './page.js'
import type { PlatformOptions, WebSocketConstructor } from './webSocket/types.js'

export interface Environment {
  readonly clock: Clock
  /** A number from 0 up to 1, as `Math.random`; for the jitter of the retry delays. */
  readonly random: () => number
  /**
   * Calls back at the end of the present turn, so that all messages of a turn share one frame.
   */
  readonly endOfTurn: (callback: () => void) => void
  /**
   * Calls back in a new task, after all microtasks of the present task. Not implemented by a timer,
   * because a hidden tab delays timers by up to a minute. Default: `endOfTurn`.
   */
  readonly newTask?: ((callback: () => void) => void) | undefined
  readonly WebSocket: WebSocketConstructor
  /**
   * Makes a WebSocket class that connects as the options say.
   * @throws HoldfastError `INVALID_OPTION` where the platform cannot do that
   */
  readonly webSocketFor?: ((options: PlatformOptions) => WebSocketConstructor) | undefined
  /** Prints a warning for the developer; without it there are no warnings. */
  readonly warn?: ((message: string, code: string) => void) | undefined
  /** How to fix an error of the platform's WebSocket; undefined for an unknown error. */
  readonly adviceOn?: ((error: unknown) => string | undefined) | undefined
  /** The page or worker in which the client runs, in a browser. */
  readonly page?: Page | undefined
}

/** One instant on both clocks, in ms. */
export interface ClockReading {
  readonly monotonic: number
  readonly wall: number
}

export function readClocks(clock: Clock): ClockReading {
  return { monotonic: clock.monotonic(), wall: clock.wall() }
}

/*
 * These functions are read when this module loads, because fake timers of a test replace the
 * functions of the platform later. With a fake clock the client would take a lock for held as long
 * as that clock stands still. With a fake `queueMicrotask` the client would never send anything.
 * The functions are bound, because a browser checks the object on which they are called.
 */
const clock: Clock = {
  monotonic: /* @__PURE__ */ performance.now.bind(performance),
  wall: Date.now,
  setTimer: /* @__PURE__ */ setTimeout.bind(globalThis),
  clearTimer: /* @__PURE__ */ clearTimeout.bind(globalThis) as Clock['clearTimer'],
}
const Channel = globalThis.MessageChannel as typeof MessageChannel | undefined
const settled = Promise.resolve()
/** Exported alone, so that a page that imports only a retry strategy does not load the rest. */
export const random: () => number = Math.random

/** The environment of a client that is not simulated. */
export const platformEnvironment: Environment = {
  clock,
  random,
  // Not `queueMicrotask`, because a test may have replaced it before this module was loaded.
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
