/**
 * A load in which all sessions lock one hot key again and again. The load generator writes the
 * frames itself, without the client library. In a hand-off, one session releases the lock, and the
 * broker grants the lock to the next session. A fence is the number of a grant.
 */
import type { Endpoint } from '../job.js'
import type { ExclusionCheck } from './exclusion.js'
import { Handoff } from './handoff.js'
import { type RawAnswer, RawSession } from './rawSession.js'

/**
 * When a session requests the key again: in the same frame as the release (`together`), or after
 * the broker has confirmed the release (`awaited`), as in a program that awaits each step.
 */
export type Discipline = 'together' | 'awaited'

/** In this class, `client` is the index of a session. */
export class RawHandoff extends Handoff {
  readonly #discipline: Discipline
  readonly #sessions: readonly RawSession[]
  /** The callback of each session, made once so that a lock request allocates no callback. */
  readonly #callbacks: readonly ((answer: RawAnswer) => void)[]

  constructor(
    server: Endpoint,
    discipline: Discipline,
    sessions: readonly RawSession[],
    exclusion: ExclusionCheck,
  ) {
    const system = discipline === 'together' ? 'holdfast, by hand' : 'holdfast, by hand, awaited'
    super({ system, serverPid: server.pid, key: `hot:${discipline}` }, sessions.length, exclusion)
    this.#discipline = discipline
    this.#sessions = sessions
    this.#callbacks = sessions.map((_, client) => (answer) => this.#onAnswer(client, answer))
  }

  /** Opens sessions one after another. */
  static async openSessions(server: Endpoint, count: number): Promise<RawSession[]> {
    const sessions: RawSession[] = []
    for (let i = 0; i < count; i++) sessions.push(await RawSession.open(server.url))
    return sessions
  }

  /** Requests the lock in every session. */
  protected begin(): void {
    for (const client of this.#sessions.keys()) this.#request(client)
  }

  #request(client: number): void {
    this.#sessions[client]!.lock(this.key, this.#callbacks[client]!)
  }

  #onAnswer(client: number, { type, fence, code }: RawAnswer): void {
    if (type !== 'granted') throw new Error(`Lock of ${this.key} was not granted: ${code}`)
    this.onGranted(client, fence, () => this.#release(client, fence))
  }

  #release(client: number, fence: number): void {
    if (this.#discipline === 'together') {
      this.#sessions[client]!.unlock(fence, nothing)
      this.#request(client)
    } else this.#sessions[client]!.unlock(fence, () => this.#request(client))
  }
}

function nothing(): void {}
