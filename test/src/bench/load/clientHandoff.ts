/**
 * A load in which all clients lock one hot key again and again. The load works with the client of
 * any lock service. A hand-off is the release by one client and the grant to the next client. A
 * client awaits its release before it requests the key again.
 */
import type { HeldLock, LockClient } from './clientPairs.js'
import type { ExclusionCheck } from './exclusion.js'
import { Handoff } from './handoff.js'

export interface ClientHandoffOptions {
  /**
   * Whether `stop` closes the clients. True for clients that poll, because they would poll on after
   * `stop` and slow the next load. A load with closed clients cannot start again.
   */
  readonly closesAtStop: boolean
}

export class ClientHandoff extends Handoff {
  readonly #clients: readonly LockClient[]
  readonly #closesAtStop: boolean
  /** Whether `stop` has begun to close the clients. */
  #isClosing = false

  constructor(
    description: { system: string; serverPid: number; key: string },
    clients: readonly LockClient[],
    exclusion: ExclusionCheck,
    { closesAtStop }: ClientHandoffOptions = { closesAtStop: false },
  ) {
    super(description, clients.length, exclusion)
    this.#clients = clients
    this.#closesAtStop = closesAtStop
  }

  override async stop(): Promise<void> {
    if (!this.#closesAtStop) {
      await super.stop()
      return
    }
    this.#isClosing = true
    await Promise.all(this.#clients.map((client) => client.close()))
  }

  /** Starts the loop of every client: lock, then unlock. */
  protected begin(): void {
    for (const i of this.#clients.keys()) {
      this.#run(i).catch((error: unknown) => {
        // The request of a closed client fails, which is no error of the load. Any other error ends
        // the process, because no code handles the rejection.
        if (!this.#isClosing) throw error
      })
    }
  }

  /** Locks and unlocks the key with one client until `stop` closes the client. */
  async #run(i: number): Promise<void> {
    while (!this.#isClosing)
      await this.#holdUntilReleased(i, await this.#clients[i]!.lock(this.key))
  }

  /**
   * Reports the grant, with a function by which `Handoff` releases the lock. Resolves after the
   * release.
   */
  #holdUntilReleased(i: number, lock: HeldLock): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onGranted(i, lock.fence, () => void lock.unlock().then(resolve, reject))
    })
  }
}
