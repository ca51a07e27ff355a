/**
 * A real broker without a network, for tests that send a very large number of messages. Fake
 * sockets record the frames of the broker, and a test moves the clock of the broker. The lease is
 * the time that the broker keeps a session without a message of its client.
 */
import {
  Broker,
  clockFences,
  MemoryLog,
  type Socket,
  settingsFrom,
} from '@holdfast/server/internal'
import { FakeEnvironment } from '../server/fakeEnvironment.js'

/** A fake socket that records the frames that the broker sends. */
export class StandInSocket implements Socket {
  readonly remoteAddress = '127.0.0.1'
  readonly origin = undefined
  readonly bufferedBytes = 0
  /** The frames that the broker has sent. A test empties the list. */
  frames: string[] = []
  /** The code with which the broker has closed the socket; 0 after `terminate`. */
  closeCode: number | undefined

  send(frame: string): void {
    this.frames.push(frame)
  }

  pause(): void {}

  resume(): void {}

  close(code: number): void {
    this.closeCode ??= code
  }

  terminate(): void {
    this.closeCode ??= 0
  }
}

/** A real broker in a fake environment, which stands in for a broker process. */
export class StandIn {
  readonly broker: Broker
  readonly #environment = new FakeEnvironment()

  /** @param leaseMs The lease of every session. */
  constructor(leaseMs: number) {
    const lease = { min: leaseMs, max: leaseMs, default: leaseMs }
    this.broker = new Broker({
      settings: settingsFrom({ lease }),
      log: new MemoryLog(),
      // A fence is the number of a grant. The argument is a time in ms, and the first fence is
      // 1,024 times as high.
      fences: clockFences(1_000),
      environment: this.#environment,
    })
  }

  /**
   * Ends a turn of the event loop: runs the callbacks that the broker scheduled for this moment.
   */
  endTurn(): void {
    this.#environment.endTurn()
  }

  /** Moves the clock, and fires each timer at its time. */
  advance(ms: number): void {
    this.#environment.advance(ms)
  }
}
