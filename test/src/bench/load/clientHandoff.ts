/**
 * Hands one hot key from client to client, through any lock service with promises. A client awaits
 * its release before it queues again.
 */
import type { HeldLock, LockClient } from './clientPairs.js'
import type { ExclusionCheck } from './exclusion.js'
import { Handoff } from './handoff.js'

export interface ClientHandoffOptions {
  /** Polling clients never become idle, so they are closed at the end of their only slice. */
  readonly stopsForGood: boolean
}

export class ClientHandoff extends Handoff {
  readonly #clients: readonly LockClient[]
  readonly #stopsForGood: boolean
  #isStopped = false

  constructor(
    about: { system: string; serverPid: number; key: string },
    clients: readonly LockClient[],
    exclusion: ExclusionCheck,
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
        // A request of a closed client fails.
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
