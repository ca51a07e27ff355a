/**
 * One hot key through anything that has an `await`-able lock. The release is awaited before the
 * client queues again.
 */
import type { HeldLock, LockClient } from './clientPairs.js'
import type { Exclusion } from './exclusion.js'
import { Handoff } from './handoff.js'

export interface ClientHandoffOptions {
  /** Clients that poll never come to rest, so they are closed at the end of their only turn. */
  readonly stopsForGood: boolean
}

export class ClientHandoff extends Handoff {
  readonly #clients: readonly LockClient[]
  readonly #stopsForGood: boolean
  #isStopped = false

  constructor(
    about: { system: string; serverPid: number; key: string },
    clients: readonly LockClient[],
    exclusion: Exclusion,
    { stopsForGood }: ClientHandoffOptions = { stopsForGood: false },
  ) {
    super(about, clients.length, exclusion)
    this.#clients = clients
    this.#stopsForGood = stopsForGood
  }

  override async stop(): Promise<void> {
    if (!this.#stopsForGood) {
      await super.stop()
      return
    }
    this.#isStopped = true
    await Promise.all(this.#clients.map((client) => client.close()))
  }

  protected begin(): void {
    for (const i of this.#clients.keys()) {
      this.#run(i).catch((error: unknown) => {
        // A client that was closed while it asked says so.
        if (!this.#isStopped) throw error
      })
    }
  }

  async #run(i: number): Promise<void> {
    while (!this.#isStopped)
      await this.#keepUntilReleased(i, await this.#clients[i]!.lock(this.key))
  }

  #keepUntilReleased(i: number, lock: HeldLock): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onGranted(i, lock.fence, () => void lock.unlock().then(resolve, reject))
    })
  }
}
