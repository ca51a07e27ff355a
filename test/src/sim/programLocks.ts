/**
 * The locks that a client program holds, from the grant to the unlock. The program reports each
 * lock to the oracle of holders, refreshes the lock while the program holds it, and unlocks it.
 */
import type { Lock } from '@holdfast/client'
import { safeDuration } from '@holdfast/shared'
import type { CallContext } from './callContext.js'
import type { HeldLock } from './holderOracle.js'

export class ProgramLocks {
  readonly #context: CallContext
  readonly #heldLocks = new Set<HeldLock>()

  constructor(context: CallContext) {
    this.#context = context
  }

  /** Records a lock that the program has got. */
  acquired(lock: Lock): HeldLock {
    const { process, callOracle, oracles } = this.#context
    const heldLock: HeldLock = {
      lock,
      process,
      isReturned: false,
      wasLost: false,
      lostInTurn: 0,
      grantedInTurn: process.turns,
    }
    this.#heldLocks.add(heldLock)
    callOracle.count('lock acquired')
    oracles.holderOracle.acquired(heldLock)
    return heldLock
  }

  /**
   * Keeps the lock for a random time, or until the client loses the lock. Sometimes refreshes it.
   *
   * @param ttl How long the lock lasts after its grant or last refresh, in ms; undefined if the
   *   request of the lock had no ttl.
   */
  async hold(lock: Lock, ttl: number | undefined): Promise<void> {
    const { random } = this.#context
    let isHoldOver = false
    // The limit of 300 ms keeps the interval at 100 ms or more.
    if (ttl !== undefined && ttl > 300 && random.chance(0.3)) {
      const interval = Math.floor(ttl / 3)
      this.#autoRefresh(lock, interval, () => isHoldOver)
    }
    if (ttl !== undefined && random.chance(0.35)) await this.#refreshLate(lock, ttl)
    const slices = random.int(0, 3)
    for (let i = 0; i < slices && lock.held && !this.#context.isStopping; i++) {
      await this.#context.work()
      if (random.chance(0.2)) await this.#refresh(lock)
    }
    isHoldOver = true
  }

  /** Refreshes the lock shortly before the client regards the ttl as over. */
  async #refreshLate(lock: Lock, ttl: number): Promise<void> {
    const latest = safeDuration(ttl)
    await this.#context.pause(Math.max(0, latest - this.#context.random.between(0, 200)))
    await this.#refresh(lock)
  }

  async #refresh(lock: Lock): Promise<void> {
    const { callOracle } = this.#context
    try {
      await callOracle.track(`refresh ${lock.key}`, lock.refresh())
      callOracle.count('refreshed')
    } catch (error) {
      callOracle.expectLoss(error, 'refresh')
    }
  }

  async #autoRefresh(lock: Lock, interval: number, isHoldOver: () => boolean): Promise<void> {
    try {
      await lock.autoRefresh({ interval, timeout: interval })
    } catch (error) {
      // An error after the hold is not checked.
      if (!isHoldOver()) this.#context.callOracle.expectLoss(error, 'autoRefresh', 'LOCK_TIMEOUT')
    }
  }

  async unlock(heldLock: HeldLock): Promise<void> {
    const { callOracle } = this.#context
    heldLock.isReturned = true
    try {
      await callOracle.track(`unlock ${heldLock.lock.key}`, heldLock.lock.unlock())
      callOracle.count('unlocked')
    } catch (error) {
      callOracle.expectLoss(error, 'unlock')
    } finally {
      this.#heldLocks.delete(heldLock)
    }
  }

  /** Forgets a lock that ended with its scope or its `withLock`, so without a call of `unlock`. */
  forget(heldLock: HeldLock): void {
    this.#heldLocks.delete(heldLock)
  }

  /** Must be called before the program closes its session, because the close returns all locks. */
  returnAll(): void {
    for (const heldLock of this.#heldLocks) heldLock.isReturned = true
  }
}
