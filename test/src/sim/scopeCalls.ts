/**
 * The scopes of a client program. A scope is one task; the end of the task releases all locks of
 * the scope. A scope gets locks of single keys and of sets (several keys at once), in random order.
 * Other scopes do the same, so real deadlocks happen. Each scope upgrades, downgrades and unlocks
 * some of its locks. Some scopes end while a call still waits. Probabilities without a comment are
 * arbitrary.
 */
import type { Lock, Scope, Session } from '@holdfast/client'
import { HoldfastError } from '@holdfast/shared'
import { type CallContext, usualCapacity } from './callContext.js'
import type { LockRequest } from './callOracle.js'
import type { HeldLock } from './holderOracle.js'
import { downgrade, upgrade } from './modeCalls.js'
import type { ProgramLocks } from './programLocks.js'

/** The relative frequency of each step. `together` sends up to three calls at the same time. */
const stepWeights = {
  lock: 8,
  tryLock: 1,
  lockAll: 3,
  permits: 1,
  together: 2,
  upgrade: 3,
  downgrade: 1,
  unlock: 1,
}

/** Runs one scope until its end. */
export async function runScope(
  session: Session,
  context: CallContext,
  locks: ProgramLocks,
): Promise<void> {
  const calls = new ScopeCalls(context, locks)
  const { callOracle, random, oracles } = context
  const { id: firstId } = session
  const failure = random.chance(0.1) ? new Error('the task of the scope fails') : undefined
  const scopeEnd = session.scope(async (scope) => {
    await calls.run(scope)
    calls.end()
    if (failure !== undefined) throw failure
  })
  try {
    await callOracle.track('scope', scopeEnd)
  } catch (error) {
    if (error !== failure)
      callOracle.violated('a scope rejects with the error of its task', `${error}`)
  }
  await calls.unawaitedCall
  // The broker may release the locks of an ended session later. If the client has begun a new
  // session meanwhile, the id differs.
  const { state, leaseLeft } = session
  const hasSameSession = state === 'connected' && leaseLeft > 0 && session.id === firstId
  if (hasSameSession) oracles.holderOracle.scopeEnded(calls.endedLocks)
}

class ScopeCalls {
  readonly #context: CallContext
  readonly #programLocks: ProgramLocks
  readonly #heldLocks = new Set<HeldLock>()
  /** The locks from `lockAll`, even those of only one key. Their mode cannot change. */
  readonly #sets = new WeakSet<Lock>()
  /** The locks that ended with the scope. */
  readonly endedLocks: HeldLock[] = []
  #isEnded = false
  /** Whether a call got `DEADLOCK` and the task then gave up, as most tasks would. */
  #hasGivenUp = false
  /** The call that the task does not await; already resolved if there is no such call. */
  unawaitedCall: Promise<void> = Promise.resolve()

  constructor(context: CallContext, programLocks: ProgramLocks) {
    this.#context = context
    this.#programLocks = programLocks
  }

  async run(scope: Scope): Promise<void> {
    const { random } = this.#context
    for (let stepsLeft = random.int(2, 6); stepsLeft > 0; stepsLeft--) {
      if (this.#hasGivenUp || this.#context.isStopping || scope.signal.aborted) return
      await this.#step(scope)
      if (random.chance(0.4)) await this.#context.work()
    }
    if (!random.chance(0.2)) return
    // The task does not await its last call, which may still wait when the scope ends.
    this.unawaitedCall = this.#lock(scope)
    if (random.chance(0.5)) await this.#context.work()
  }

  /** Must be called when the task ends. From then on, the program holds no lock of the scope. */
  end(): void {
    this.#isEnded = true
    for (const heldLock of this.#heldLocks) this.#endLock(heldLock)
    this.#heldLocks.clear()
  }

  async #step(scope: Scope): Promise<void> {
    const { random } = this.#context
    const step = random.pickWeighted(stepWeights)
    const heldLocks = [...this.#heldLocks].filter(({ lock }) => lock.held)
    const changeableLocks = heldLocks.filter(
      ({ lock }) => lock.mode !== 'permits' && !this.#sets.has(lock),
    )
    switch (step) {
      case 'lock':
        return this.#lock(scope)
      case 'tryLock':
        return this.#request(
          (key, { timeout: _, onQueued: __, ...options }) => scope.tryLock(key, options),
          // The oracle checks a `tryLock` like a `lock` with the timeout 0.
          0,
        )
      case 'lockAll': {
        const items = this.#context.newItems()
        return this.#request(async (_, { mode: __, ...options }) => {
          const lock = await scope.lockAll(items, options)
          this.#sets.add(lock)
          return lock
        })
      }
      case 'permits':
        return this.#request((key, { mode: _, ...options }) =>
          scope.lock(key, { ...options, capacity: usualCapacity }),
        )
      case 'together': {
        const extraLockCalls = random.chance(0.5) ? [this.#lock(scope)] : []
        const upgradeCalls = changeableLocks
          .slice(0, 1)
          .map((heldLock) => upgrade(heldLock, this.#context))
        await Promise.all([...extraLockCalls, ...upgradeCalls, this.#lock(scope)])
        return
      }
      case 'upgrade':
        if (changeableLocks.length > 0) await upgrade(random.pick(changeableLocks), this.#context)
        return
      case 'downgrade':
        if (changeableLocks.length > 0) await downgrade(random.pick(changeableLocks), this.#context)
        return
      case 'unlock': {
        if (heldLocks.length === 0) return
        const heldLock = random.pick(heldLocks)
        this.#heldLocks.delete(heldLock)
        await this.#programLocks.unlock(heldLock)
      }
    }
  }

  #lock(scope: Scope): Promise<void> {
    return this.#request((key, options) => scope.lock(key, options))
  }

  /** @param timeout The timeout that the oracle checks; by default the timeout in the options. */
  async #request(
    send: (key: string, options: Options) => Promise<Lock>,
    timeout?: number,
  ): Promise<void> {
    const { random, plan, callOracle, process, oracles } = this.#context
    const newRequest = this.#context.newRequest()
    const request = timeout === undefined ? newRequest : { ...newRequest, timeout }
    const key = random.pick(plan.keys)
    const start = callOracle.start()
    let isSettled = false
    callOracle.watchAbort(request, () => isSettled)
    const { abortTimer, ...options } = request
    try {
      const call = send(key, options)
      const lock = await callOracle.track(`scope ${request.metadata.op} ${key}`, call)
      this.#acquired(lock)
      callOracle.checkSettledInTime(request, start)
    } catch (error) {
      const code = error instanceof HoldfastError ? error.code : undefined
      const isAbortedByEnd = this.#isEnded && code === 'ABORTED'
      if (code === 'DEADLOCK') {
        callOracle.count('scope got DEADLOCK')
        oracles.requestFailed(request.metadata)
        this.#hasGivenUp = random.chance(0.7)
      } else if (!isAbortedByEnd) callOracle.checkFailure(error, request, start)
    } finally {
      isSettled = true
      process.clock.clearTimer(abortTimer)
    }
  }

  #acquired(lock: Lock): void {
    // If the scope holds a set, a call for a key of the set returns a new `Lock` of the same set.
    if (this.#isOfHeldSet(lock)) this.#sets.add(lock)
    const heldLock = this.#programLocks.acquired(lock)
    if (this.#isEnded) this.#endLock(heldLock)
    else this.#heldLocks.add(heldLock)
  }

  #isOfHeldSet({ fence }: Lock): boolean {
    return [...this.#heldLocks].some(({ lock }) => this.#sets.has(lock) && lock.fence === fence)
  }

  #endLock(heldLock: HeldLock): void {
    heldLock.isReturned = true
    this.#programLocks.forget(heldLock)
    this.endedLocks.push(heldLock)
  }
}

type Options = Omit<LockRequest, 'abortTimer' | 'steal'>
