/** The real environment: the clocks of the platform, its chance, its microtasks, its WebSocket. */
import { PlatformWebSocket } from '#websocket'
import type { Environment } from './environment.js'

export const machine: Environment = {
  clock: {
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    setTimer: (callback, ms) => setTimeout(callback, ms),
    clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  },
  random: Math.random,
  endOfTurn: queueMicrotask,
  WebSocket: PlatformWebSocket,
}
