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

interface StandInTimer {
  readonly callback: () => void
  readonly at: number
}

export class StandIn {
  readonly broker: Broker
  #now = 1_000
  #ids = 0
  #turn: (() => void)[] = []
  readonly #timers = new Set<StandInTimer>()

  /** @param leaseMs The lease of every session. */
  constructor(leaseMs: number) {
    const lease = { min: leaseMs, max: leaseMs, default: leaseMs }
    this.broker = new Broker({
      settings: settingsFrom({ lease }),
      log: new MemoryLog(),
      fences: clockFences(1_000),
      environment: {
        clock: {
          monotonic: () => this.#now,
          wall: () => this.#now,
          setTimer: (callback, ms) => {
            const timer = { callback, at: this.#now + ms }
            this.#timers.add(timer)
            return timer
          },
          clearTimer: (timer) => this.#timers.delete(timer as StandInTimer),
        },
        endOfTurn: (callback) => this.#turn.push(callback),
        newId: () => `id-${++this.#ids}`,
        newSecret: () => `secret-${++this.#ids}`,
        hash: (secret) => `hash of ${secret}`,
      },
    })
  }

  /** Ends a turn: runs everything that was scheduled for its end. */
  endTurn(): void {
    while (this.#turn.length > 0) {
      const callbacks = this.#turn
      this.#turn = []
      for (const callback of callbacks) callback()
    }
  }

  /** Moves the clock, and fires each timer at its time. */
  advance(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      this.endTurn()
      const due = [...this.#timers].sort((a, b) => a.at - b.at)[0]
      if (due === undefined || due.at > until) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.callback()
    }
    this.#now = until
  }
}
