/**
 * The calls of `lock.upgrade` and `lock.downgrade` in a client program. After each call the program
 * checks the mode and the fence (the number of the grant) that the client shows.
 */
import { type ErrorCode, HoldfastError } from '@holdfast/shared'
import type { CallContext } from './callContext.js'
import type { HeldLock } from './holderOracle.js'

/** The errors with which an upgrade may fail. */
const upgradeCodes: ReadonlySet<ErrorCode> = new Set([
  'DEADLOCK',
  'LOCK_HELD',
  'LOCK_TIMEOUT',
  'ABORTED',
  'LOCK_NOT_HELD',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
  'UNAVAILABLE',
])

/** The errors when the lock already has the requested mode, or is lost. */
const noChangeCodes: ReadonlySet<ErrorCode> = new Set(['INVALID_OPTION', 'LOCK_NOT_HELD'])

/** Upgrades and downgrades the lock in random order, and works in between. */
export async function changeModes(heldLock: HeldLock, context: CallContext): Promise<void> {
  const { lock } = heldLock
  for (let changes = context.random.int(1, 3); changes > 0 && lock.held; changes--) {
    // Mostly changes the mode, and sometimes tries a change that must be refused.
    if (context.random.chance(lock.mode === 'shared' ? 0.8 : 0.3)) await upgrade(heldLock, context)
    else await downgrade(heldLock, context)
    await context.work()
  }
}

/** Upgrades a lock of a client program, and checks the outcome. */
export async function upgrade(heldLock: HeldLock, context: CallContext): Promise<void> {
  const { callOracle, process } = context
  const { lock } = heldLock
  const { mode: formerMode, fence: formerFence } = lock
  const request = context.newRequest()
  const { timeout, signal } = request
  const start = callOracle.start()
  let isSettled = false
  callOracle.watchAbort(request, () => isSettled)
  try {
    const task = lock.upgrade({ timeout, signal })
    await callOracle.track(`upgrade ${request.metadata.op} ${lock.key}`, task)
    callOracle.count('upgraded')
    if (formerMode === 'exclusive')
      callOracle.violated('an upgrade of an exclusive lock is refused', lock.key)
    if (lock.held && (lock.mode !== 'exclusive' || lock.fence <= formerFence))
      callOracle.violated(
        'an upgrade raises the fence',
        `${lock.mode} ${formerFence} ${lock.fence}`,
      )
    callOracle.checkSettledInTime(request, start)
  } catch (error) {
    callOracle.expect(error, formerMode === 'exclusive' ? noChangeCodes : upgradeCodes, 'upgrade')
    if (error instanceof HoldfastError) {
      callOracle.count(`upgrade refused ${error.code}`)
      callOracle.checkEarlyTimeout(error, request, start)
    }
    callOracle.checkSettledInTime(request, start)
    if (lock.held && lock.mode !== formerMode)
      callOracle.violated('a failed upgrade leaves the lock as it was', `${lock.mode} ${lock.key}`)
  } finally {
    isSettled = true
    process.clock.clearTimer(request.abortTimer)
  }
}

/** Downgrades a lock of a client program, and checks the outcome. */
export async function downgrade(heldLock: HeldLock, context: CallContext): Promise<void> {
  const { callOracle, oracles } = context
  const { lock } = heldLock
  const isShared = lock.mode === 'shared'
  if (isShared) {
    // If the call succeeds, `error` is undefined, and `expect` reports a violation.
    const error: unknown = await lock.downgrade().catch((refusal: unknown) => refusal)
    callOracle.expect(error, noChangeCodes, 'downgrade of a shared lock')
    return
  }
  try {
    await oracles.holderOracle.duringDowngrade(heldLock, () =>
      callOracle.track(`downgrade ${lock.key}`, lock.downgrade()),
    )
  } catch (error) {
    callOracle.expectLoss(error, 'downgrade')
    return
  }
  // TypeScript does not know that the call changed `lock.mode`, so this is a copy.
  const { held, mode } = lock
  if (held && mode !== 'shared')
    callOracle.violated('a downgrade makes the lock shared', `${mode} ${lock.key}`)
}
