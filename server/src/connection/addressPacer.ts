/**
 * Limits the work for new clients in a turn of the event loop. Work beyond the budget of the turn
 * waits for later turns. The pacer does the work of one address in order of arrival. After one
 * piece of work for an address, the pacer first does a piece for every other address that waits.
 * So an address with many new clients does not delay the clients of other addresses.
 */
import { addressGroup } from '../config/addresses.js'
import { unitsPerMs } from '../config/workCosts.js'
import type { WorkScheduler } from './workScheduler.js'

/** Work for one new client. */
export interface ArrivalWork {
  /** Undefined for a Unix socket. All Unix sockets count as one address. */
  readonly remoteAddress: string | undefined
}

export interface AddressPacerDeps<W extends ArrivalWork> {
  readonly scheduler: WorkScheduler
  readonly clock: { monotonic(): number }
  /** Calls back at the end of this turn, after the input that has already arrived. */
  readonly endOfTurn: (callback: () => void) => void
  /** Units of work (see `workCosts.ts`) for all new clients in one turn. */
  readonly unitsPerTurn: number
  /** Does the work. Returns the used units of work. */
  readonly work: (arrival: W) => number
}

/** All Unix sockets count as this address. */
const unixSockets = ''

export class AddressPacer<W extends ArrivalWork> {
  readonly #deps: AddressPacerDeps<W>
  /**
   * The waiting work by address, oldest first. The first address of the map is the address whose
   * work is done next.
   */
  readonly #byAddress = new Map<string, Set<W>>()
  #isEndTurnScheduled = false
  /** Units of work that remain for new clients in this turn. */
  #arrivalUnitsLeft: number

  constructor(deps: AddressPacerDeps<W>) {
    this.#deps = deps
    this.#arrivalUnitsLeft = deps.unitsPerTurn
  }

  /**
   * Does the work now, unless other work waits or a budget of this turn is used up. The budgets are
   * `#arrivalUnitsLeft` for new clients, and `scheduler.unitsLeft` for all connections.
   *
   * @returns False if the work must wait; the caller then calls {@link enqueue} or drops the work.
   */
  tryNow(arrival: W): boolean {
    this.#scheduleEndTurn()
    const { scheduler } = this.#deps
    // Measures how long this turn has lasted, because `scheduler.unitsLeft` depends on this time.
    scheduler.allowanceNow()
    if (this.#byAddress.size > 0 || this.#arrivalUnitsLeft <= 0 || scheduler.unitsLeft <= 0)
      return false
    this.#work(arrival)
    return true
  }

  /**
   * Lets work wait for the end of a turn. Call this method only after {@link tryNow}, because
   * `tryNow` schedules the end of the turn.
   */
  enqueue(arrival: W): void {
    const address = addressOf(arrival)
    const arrivals = this.#byAddress.get(address)
    if (arrivals === undefined) this.#byAddress.set(address, new Set([arrival]))
    else arrivals.add(arrival)
  }

  /** Removes waiting work. Returns false if the work does not wait. */
  remove(arrival: W): boolean {
    const address = addressOf(arrival)
    const arrivals = this.#byAddress.get(address)
    if (arrivals?.delete(arrival) !== true) return false
    if (arrivals.size === 0) this.#byAddress.delete(address)
    return true
  }

  /** Removes and returns the oldest work of the next address; undefined if no work waits. */
  removeNext(): W | undefined {
    const [first] = this.#byAddress
    if (first === undefined) return undefined
    const [address, arrivals] = first
    // The iteration of a `Set` or `Map` begins with the member that was added first.
    const [oldest] = arrivals as Set<W>
    this.#byAddress.delete(address)
    arrivals.delete(oldest!)
    // Puts the address behind the other addresses.
    if (arrivals.size > 0) this.#byAddress.set(address, arrivals)
    return oldest
  }

  #scheduleEndTurn(): void {
    if (this.#isEndTurnScheduled) return
    this.#isEndTurnScheduled = true
    this.#deps.endOfTurn(this.#endTurn)
  }

  /**
   * Runs at the end of each turn with new clients. Sets the budget of the next turn, and already
   * uses it for waiting work. Work that arrives in the next turn gets the rest of the budget.
   */
  readonly #endTurn = (): void => {
    const { scheduler, clock, unitsPerTurn } = this.#deps
    this.#isEndTurnScheduled = false
    this.#arrivalUnitsLeft = unitsPerTurn
    scheduler.nextTurn()
    // No further work begins after the time that the budget usually takes.
    const endsAt = clock.monotonic() + unitsPerTurn / unitsPerMs
    for (let arrival = this.removeNext(); arrival !== undefined; arrival = this.removeNext()) {
      this.#work(arrival)
      if (this.#arrivalUnitsLeft <= 0 || clock.monotonic() >= endsAt) break
    }
    // Runs at the end of the next turn too if work still waits, or if the budget is not full.
    if (this.#byAddress.size > 0 || this.#arrivalUnitsLeft < unitsPerTurn) this.#scheduleEndTurn()
  }

  #work(arrival: W): void {
    const usedUnits = this.#deps.work(arrival)
    this.#arrivalUnitsLeft -= usedUnits
    this.#deps.scheduler.spend(usedUnits)
  }
}

function addressOf({ remoteAddress }: ArrivalWork): string {
  return remoteAddress === undefined ? unixSockets : addressGroup(remoteAddress)
}
