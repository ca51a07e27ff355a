/**
 * The common parts of raw clients. A raw client is a simulated client that writes protocol messages
 * itself, without the client library.
 */
import type { WebSocketConstructor } from '@holdfast/client/internal'
import type { Oracles } from './oracles.js'
import type { Random } from './random.js'
import type { SimProcess } from './simProcess.js'

export interface RawClientDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly oracles: Oracles
  readonly WebSocket: WebSocketConstructor
  /** Returns the URL of a random broker. */
  readonly anyUrl: () => string
}

/** Calls `act` again and again after random pauses, until `stop`. */
export class ActionLoop {
  readonly #deps: RawClientDeps
  readonly #meanPauseMs: number
  readonly #act: () => void
  #isStopped = false

  constructor(deps: RawClientDeps, meanPauseMs: number, act: () => void) {
    this.#deps = deps
    this.#meanPauseMs = meanPauseMs
    this.#act = act
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Schedules a call of `act`. After each call, the loop schedules the next. */
  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#next(), random.between(0, 2 * this.#meanPauseMs))
  }

  stop(): void {
    this.#isStopped = true
  }

  #next(): void {
    if (this.#isStopped) return
    this.#act()
    this.start()
  }
}

/** Parses a frame, which contains one message or an array of messages. */
export function messagesIn<T>(frame: unknown): readonly T[] {
  const parsed = JSON.parse(String(frame)) as T | readonly T[]
  return Array.isArray(parsed) ? parsed : [parsed as T]
}
