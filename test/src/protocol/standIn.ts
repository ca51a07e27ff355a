/**
 * A broker without a network: fake sockets that record what the broker sends, and a fake clock that
 * a test moves. For tests that send a million messages through a whole broker.
 */
import {
  Broker,
  clockFences,
  MemoryLog,
  type Socket,
  settingsFrom,
} from '@holdfast/server/internal'
import { FakeEnvironment } from '../server/fakeEnvironment.js'

/** A fake socket that records what the broker writes. */
export class StandInSocket implements Socket {
  readonly remoteAddress = '127.0.0.1'
  readonly origin = undefined
  readonly bufferedBytes = 0
  /** Frames that the broker sent and the test has not taken yet. */
  frames: string[] = []
  /** The code that the broker closed with; 0 for a socket that was dropped. */
  closed: number | undefined

  send(frame: string): void {
    this.frames.push(frame)
  }

  pause(): void {}

  resume(): void {}

  close(code: number): void {
    this.closed ??= code
  }

  terminate(): void {
    this.closed ??= 0
  }
}

export class StandIn {
  readonly broker: Broker
  readonly #environment = new FakeEnvironment()

  /** @param leaseMs The lease of every session. */
  constructor(leaseMs: number) {
    const lease = { min: leaseMs, max: leaseMs, default: leaseMs }
    this.broker = new Broker({
      settings: settingsFrom({ lease }),
      log: new MemoryLog(),
      fences: clockFences(1_000),
      environment: this.#environment,
    })
  }

  /** Ends a turn: runs everything that was scheduled for its end. */
  endTurn(): void {
    this.#environment.endTurn()
  }

  /** Moves the clock, and fires each timer at its time. */
  advance(ms: number): void {
    this.#environment.pass(ms)
  }
}
