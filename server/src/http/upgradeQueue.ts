/**
 * Limits the work for new connections in a turn of the event loop. An upgrade is the HTTP request
 * with which a WebSocket begins. The work for a hundred upgrades in one turn would delay all
 * sessions. Upgrades beyond the budget of the turn wait for later turns. `AddressPacer` chooses
 * their order.
 *
 * At most `limits.pendingConnections` upgrades wait. If more upgrades arrive, `PendingConnections`
 * chooses which upgrade is refused.
 */
import type { Duplex } from 'node:stream'
import { PendingConnections } from '../access/pendingConnections.js'
import { type BrokerLimits, off } from '../config/limits.js'
import { costs, turnBudget } from '../config/workCosts.js'
import { AddressPacer } from '../connection/addressPacer.js'
import type { WorkScheduler } from '../connection/workScheduler.js'

export interface Upgrade {
  /** Undefined for a Unix socket. All Unix sockets count as one address. */
  readonly remoteAddress: string | undefined
  /** The TCP or TLS socket of the request. */
  readonly raw: Duplex
  accept(): void
  /** Refuses the upgrade, because too many upgrades wait. */
  refuse(): void
}

export interface UpgradeQueueDeps {
  readonly scheduler: WorkScheduler
  readonly limits: BrokerLimits
  readonly clock: { monotonic(): number }
  /** Calls back at the end of this turn, after the broker has handled the input of the turn. */
  readonly endOfTurn: (callback: () => void) => void
}

/** An upgrade that waits, or that `add` is about to accept. */
interface QueuedUpgrade extends Pick<Upgrade, 'remoteAddress'> {
  readonly upgrade: Upgrade
  /**
   * The listener that removes the upgrade when its socket closes. Undefined for an upgrade that
   * is accepted immediately, because `add` neither counts the upgrade nor listens to its socket.
   */
  onClose: (() => void) | undefined
}

export class UpgradeQueue {
  readonly #pacer: AddressPacer<QueuedUpgrade>
  /** Bounds the waiting upgrades. Chooses the upgrade to refuse, fairly between the addresses. */
  readonly #pending: PendingConnections<QueuedUpgrade>

  constructor({ scheduler, limits, clock, endOfTurn }: UpgradeQueueDeps) {
    this.#pacer = new AddressPacer({
      scheduler,
      clock,
      endOfTurn,
      unitsPerTurn: turnBudget.upgrades,
      work: (waiting) => {
        this.#forget(waiting)
        waiting.upgrade.accept()
        return costs.upgrade
      },
    })
    // No limit per address: `pendingConnectionsPerAddress` counts only connections between the
    // upgrade and the message `welcome`.
    this.#pending = new PendingConnections({ ...limits, pendingConnectionsPerAddress: off })
  }

  /** Accepts the upgrade now, or in a later turn if this turn has no work budget left. */
  add(upgrade: Upgrade): void {
    const { remoteAddress, raw } = upgrade
    const waiting: QueuedUpgrade = { remoteAddress, upgrade, onClose: undefined }
    if (this.#pacer.tryNow(waiting)) return
    // `isFull` means that `connections` is reached. The broker checks that limit after the upgrade.
    const { exceededLimit, displacedConnection: displaced } = this.#pending.add(
      waiting,
      /* isFull */ false,
    )
    if (displaced !== undefined) {
      this.#pacer.remove(displaced)
      this.#forget(displaced)
      displaced.upgrade.refuse()
    }
    if (exceededLimit !== undefined) {
      upgrade.refuse()
      return
    }
    this.#pacer.enqueue(waiting)
    waiting.onClose = () => {
      if (this.#pacer.remove(waiting)) this.#forget(waiting)
    }
    // An `error` event without a listener would end the process.
    raw.on('error', ignoreError)
    raw.on('close', waiting.onClose)
  }

  /** Destroys the sockets of all waiting upgrades. */
  close(): void {
    const pacer = this.#pacer
    for (let waiting = pacer.removeNext(); waiting !== undefined; waiting = pacer.removeNext()) {
      this.#forget(waiting)
      waiting.upgrade.raw.destroy()
    }
  }

  /**
   * Stops counting an upgrade that waits no longer, and removes the listeners of its socket. Does
   * nothing for an upgrade that the pacer accepts immediately.
   */
  #forget(waiting: QueuedUpgrade): void {
    const { upgrade, onClose } = waiting
    if (onClose === undefined) return
    this.#pending.remove(waiting)
    upgrade.raw.off('error', ignoreError)
    upgrade.raw.off('close', onClose)
  }
}

function ignoreError(): void {}
