/**
 * Everything that the client needs of the platform: clocks, random numbers, a WebSocket, and ways
 * to run code later. All of these are members of one object, so that a simulation can replace the
 * whole platform.
 */

import type { Clock } from '@holdfast/shared'
import { adviceOnConnectionError, PlatformWebSocket, warn, webSocketWithOptions } from '#websocket'
import { type Page, page } from './page.js'
import type { PlatformOptions, WebSocketConstructor } from './webSocket/types.js'

export interface Environment {
  readonly clock: Clock
  /** Returns a random number, as `Math.random` does; for the jitter of the retry delays. */
  readonly random: () => number
  /**
   * Calls the callback after the present code, in a microtask or at the end of the turn of the
   * event loop. A connection uses this function to send the messages of one turn in one frame.
   */
  readonly endOfTurn: (callback: () => void) => void
  /**
   * Calls the callback in a new task, after all microtasks of the present task. This function must
   * not use a timer, because a hidden tab delays timers by up to a minute. On a platform without
   * this function, the client calls `endOfTurn` instead.
   */
  readonly newTask?: ((callback: () => void) => void) | undefined
  readonly WebSocket: WebSocketConstructor
  /**
   * Makes a WebSocket class that connects as the options say.
   * @throws HoldfastError `INVALID_OPTION` if the platform does not support these options
   */
  readonly webSocketFor?: ((options: PlatformOptions) => WebSocketConstructor) | undefined
  /** Prints a warning for the developer. Without this function, the client prints no warnings. */
  readonly warn?: ((message: string, code: string) => void) | undefined
  /** Returns how to fix an error of the platform's WebSocket, or undefined for an unknown error. */
  readonly adviceOnConnectionError?: ((error: unknown) => string | undefined) | undefined
  /** The page or worker in which the client runs, in a browser. */
  readonly page?: Page | undefined
}

/** One moment, past or future, as a time of the monotonic clock and of the wall clock, in ms. */
export interface ClockTimes {
  readonly monotonic: number
  readonly wall: number
}

export function readClocks(clock: Clock): ClockTimes {
  return { monotonic: clock.monotonic(), wall: clock.wall() }
}

/*
 * The client keeps the platform's functions that exist when this module loads, because fake timers
 * of a test may replace these functions later. With a fake clock that stands still, the client
 * would treat a lock as held for ever. All functions except `Date.now` are bound, because a browser
 * checks the object on which they are called. The annotation at each `bind` lets a bundler leave
 * out the call if the bundle does not use the clock. This comment does not spell the annotation,
 * because rollup warns of an annotation without a call.
 */
const clock: Clock = {
  monotonic: /* @__PURE__ */ performance.now.bind(performance),
  wall: Date.now,
  setTimer: /* @__PURE__ */ setTimeout.bind(globalThis),
  clearTimer: /* @__PURE__ */ clearTimeout.bind(globalThis) as Clock['clearTimer'],
}
const Channel = globalThis.MessageChannel as typeof MessageChannel | undefined
const resolvedPromise = Promise.resolve()
/**
 * The random numbers of the retry delays. An export of its own, so that a program that imports only
 * a retry strategy does not bundle `platformEnvironment`.
 */
export const random: () => number = Math.random

/** The environment of a client that is not simulated. */
export const platformEnvironment: Environment = {
  clock,
  random,
  // Not `queueMicrotask`, because fake timers may replace that function even before this module
  // loads. A promise always works.
  endOfTurn: (callback) => void resolvedPromise.then(callback),
  newTask: Channel && ((callback) => runInTask(Channel, callback)),
  WebSocket: PlatformWebSocket,
  webSocketFor: webSocketWithOptions,
  adviceOnConnectionError,
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
