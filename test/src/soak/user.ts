/**
 * A user of the soak program, inside a client process: opens a session, does some random actions,
 * ends the session, and begins again with a new session.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  connect,
  fixedInterval,
  type Session,
  type Watch,
  type WebSocketConstructor,
} from '@holdfast/client'
import { WebSocket } from 'ws'
import type { Random } from '../support/counts.js'
import { actions, settle } from './actions.js'

/** The lease of each session (how long the broker keeps a silent session), in ms. */
const leaseMs = 4_000
/** A session has at least `min` and fewer than `end` actions. */
const actionCountRange = { min: 10, end: 60 }

export interface UserOptions {
  readonly url: string
  readonly token: string
  readonly random: Random
  /** The mean pause between two actions, in ms. */
  readonly pauseMs: number
  /** Called with the name of each action that ended. */
  onAction(name: string): void
}

export class User {
  readonly #options: UserOptions
  #socket: WebSocket | undefined
  #isStopped = false

  constructor(options: UserOptions) {
    this.#options = options
  }

  /** Opens, uses and closes one session after another until `stop` is called. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      const session = await this.connect()
      const { min, end } = actionCountRange
      await this.act(session, min + this.#options.random.below(end - min))
      await session.close()
    }
  }

  /** Makes `run` end after the present action. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * Opens a session with a random grace (how long the broker keeps a session whose connection is
   * lost). The grace `lease` is as long as the lease.
   */
  connect(): Promise<Session> {
    const { url, token, random } = this.#options
    const onNewSocket = (socket: WebSocket): void => {
      this.#socket = socket
    }
    // Records the newest socket, which the action `drop` resets.
    class RecordedWebSocket extends WebSocket {
      constructor(target: string, protocols?: string | string[]) {
        super(target, protocols)
        onNewSocket(this)
      }
    }
    return connect(url, {
      token,
      name: `user ${random.below(1_000)}`,
      lease: leaseMs,
      grace: random.pick([0, 1_000, 'lease'] as const),
      reconnect: fixedInterval({ interval: 50, jitter: 'full' }),
      warnings: false,
      WebSocket: RecordedWebSocket as unknown as WebSocketConstructor,
    })
  }

  /** Does `count` random actions, or fewer if `stop` is called. */
  async act(session: Session, count: number): Promise<void> {
    const { url, token, random, pauseMs, onAction } = this.#options
    const watches: Watch[] = []
    const drop = () => this.#socket?.terminate()
    const names = Object.keys(actions)
    for (let done = 0; done < count && !this.#isStopped; done++) {
      const name = random.pick(names)
      await settle(actions[name]!({ session, random, url, token, watches, drop }))
      onAction(name)
      // The mean of these random times is `pauseMs`.
      await sleep(random.below(2 * pauseMs))
    }
  }
}
