/**
 * What the client takes from where it runs: time, chance, a WebSocket, the end of a turn. All of it
 * in one place and passed in, so that a simulation can be the browser.
 */

import type { Clock } from '@holdfast/shared'
import { PlatformWebSocket } from '#websocket'
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
  /** The page that this runs in, if it is one. */
  readonly page?: Page | undefined
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
}

export interface WebSocketConstructor {
  new (url: string, protocols?: string | string[]): WebSocketLike
}

/** The real machine. */
export const machine: Environment = {
  clock: {
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    setTimer: (callback, ms) => setTimeout(callback, ms),
    clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  },
  random: Math.random,
  // Not the function itself: a browser minds what it is called on.
  endOfTurn: (callback) => queueMicrotask(callback),
  newTask: (callback) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      callback()
    }
    port2.postMessage(undefined)
  },
  WebSocket: PlatformWebSocket,
  page,
}
