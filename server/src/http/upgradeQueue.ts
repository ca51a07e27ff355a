/**
 * Limits the work for new connections in a turn of the event loop. An upgrade is much work, so a
 * hundred upgrades at once would delay all sessions. Upgrades beyond the budget of the turn wait
 * for later turns. The queue accepts the waiting upgrades of an address in order of arrival, and
 * the addresses take turns. So an address with many upgrades does not delay the upgrades of other
 * addresses.
 *
 * At most `limits.pendingConnections` upgrades wait. `PendingConnections` chooses which upgrade is
 * refused when there are more.
 */
import type { Duplex } from 'node:stream'
import { PendingConnections } from '../access/pendingConnections.js'
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, off } from '../config/limits.js'
import { costs, turnBudget, unitsPerMs } from '../config/workCosts.js'
import type { WorkScheduler } from '../connection/workScheduler.js'

export interface Upgrade {
  /** Undefined for a Unix socket. All Unix sockets count as one address. */
  readonly remoteAddress: string | undefined
  readonly raw: Duplex
  accept(): void
  /** Refuses the upgrade, because too many upgrades wait. */
  refuse(): void
}

export interface UpgradeQueueDeps {
  readonly scheduler: WorkScheduler
  readonly limits: BrokerLimits
  readonly clock: { monotonic(): number }
  /** Calls back once the input that has already arrived in this turn has been handled. */
  readonly endOfTurn: (callback: () => void) => void
}

/** An upgrade that waits, and the listener that removes it when its socket closes. */
interface WaitingUpgrade extends Pick<Upgrade, 'remoteAddress'> {
  readonly upgrade: Upgrade
  readonly onClose: () => void
}

const unixSockets = ''

export class UpgradeQueue {
  readonly #deps: UpgradeQueueDeps
  /** Bounds the waiting upgrades. Chooses the upgrade to refuse, fairly between the addresses. */
  readonly #pending: PendingConnections<WaitingUpgrade>
  /** The waiting upgrades by address, the oldest first. The next address comes first. */
  readonly #byAddress = new Map<string, Set<WaitingUpgrade>>()
  #isScheduled = false
  /** Units of work that new connections have left in this turn. */
  #unitsLeft: number = turnBudget.upgrades

  constructor(deps: UpgradeQueueDeps) {
    this.#deps = deps
    // `pendingConnectionsPerAddress` bounds handshakes, and a handshake begins after the upgrade.
    this.#pending = new PendingConnections({ ...deps.limits, pendingConnectionsPerAddress: off })
  }

  /** Accepts the upgrade now, or in a later turn if this turn has no work budget left. */
  add(upgrade: Upgrade): void {
    if (!this.#isScheduled) {
      this.#isScheduled = true
      this.#deps.endOfTurn(this.#endTurn)
    }
    const { scheduler, clock } = this.#deps
    scheduler.allowanceAt(clock.monotonic())
    if (this.#byAddress.size === 0 && this.#unitsLeft > 0 && scheduler.unitsLeft > 0)
      this.#accept(upgrade)
    else this.#enqueue(upgrade)
  }

  /** Destroys the sockets of all waiting upgrades. */
  close(): void {
    for (let waiting = this.#next(); waiting !== undefined; waiting = this.#next()) {
      this.#remove(waiting)
      waiting.upgrade.raw.destroy()
    }
  }

  /** Accepts waiting upgrades at the end of a turn, and gives the next turn its budget. */
  readonly #endTurn = (): void => {
    const { scheduler, clock, endOfTurn } = this.#deps
    this.#isScheduled = false
    this.#unitsLeft = turnBudget.upgrades
    scheduler.nextTurn()
    const endsAt = clock.monotonic() + turnBudget.upgrades / unitsPerMs
    for (let waiting = this.#next(); waiting !== undefined; waiting = this.#next()) {
      this.#remove(waiting)
      this.#accept(waiting.upgrade)
      if (this.#unitsLeft <= 0 || clock.monotonic() >= endsAt) break
    }
    if (this.#unitsLeft === turnBudget.upgrades) return
    this.#isScheduled = true
    endOfTurn(this.#endTurn)
  }

  #accept(upgrade: Upgrade): void {
    this.#unitsLeft -= costs.upgrade
    this.#deps.scheduler.spend(costs.upgrade)
    upgrade.accept()
  }

  #enqueue(upgrade: Upgrade): void {
    const { remoteAddress, raw } = upgrade
    const onClose = (): void => this.#remove(waiting)
    const waiting: WaitingUpgrade = { remoteAddress, upgrade, onClose }
    const { exceededLimit, displacedConnection } = this.#pending.add(waiting, false)
    if (displacedConnection !== undefined) {
      this.#remove(displacedConnection)
      displacedConnection.upgrade.refuse()
    }
    if (exceededLimit !== undefined) {
      upgrade.refuse()
      return
    }
    const address = addressOf(waiting)
    const ofAddress = this.#byAddress.get(address)
    if (ofAddress === undefined) this.#byAddress.set(address, new Set([waiting]))
    else ofAddress.add(waiting)
    // An `error` event without a listener would end the process.
    raw.on('error', ignoreError)
    raw.on('close', onClose)
  }

  /** The oldest waiting upgrade of the next address; puts that address behind the others. */
  #next(): WaitingUpgrade | undefined {
    const [first] = this.#byAddress
    if (first === undefined) return undefined
    const [address, ofAddress] = first
    this.#byAddress.delete(address)
    this.#byAddress.set(address, ofAddress)
    const [oldest] = ofAddress
    return oldest
  }

  #remove(waiting: WaitingUpgrade): void {
    const address = addressOf(waiting)
    const ofAddress = this.#byAddress.get(address)
    if (ofAddress?.delete(waiting) !== true) return
    if (ofAddress.size === 0) this.#byAddress.delete(address)
    this.#pending.remove(waiting)
    waiting.upgrade.raw.off('error', ignoreError)
    waiting.upgrade.raw.off('close', waiting.onClose)
  }
}

function ignoreError(): void {}

function addressOf({ remoteAddress }: WaitingUpgrade): string {
  return remoteAddress === undefined ? unixSockets : addressGroup(remoteAddress)
}
