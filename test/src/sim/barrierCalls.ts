/**
 * The calls of `session.barrier` by a simulated client. The calls at a barrier wait until their
 * number is `parties`, and then resolve together.
 */
import type { Session } from '@holdfast/client'
import type { ErrorCode } from '@holdfast/shared'
import type { CallContext } from './callContext.js'

/** The errors with which a call at a barrier may fail. */
const barrierCodes: ReadonlySet<ErrorCode> = new Set([
  'LOCK_TIMEOUT',
  'CAPACITY_MISMATCH',
  'ABORTED',
  'SESSION_CLOSED',
  'SESSION_EXPIRED',
  'UNAVAILABLE',
])

/**
 * Calls a barrier with a timeout (in ms), because other clients may never call the same barrier.
 */
export async function callBarrier(
  session: Session,
  key: string,
  context: CallContext,
): Promise<void> {
  const { random, callOracle, process } = context
  // Mostly two parties, so that calls pass even in a simulation with few clients.
  const parties = random.chance(0.8) ? 2 : 3
  const request = context.newRequest()
  request.timeout ??= random.int(1, 4_000)
  const { timeout, signal } = request
  const start = callOracle.start()
  let isSettled = false
  callOracle.watchAbort(request, () => isSettled)
  try {
    const passed = session.barrier(key, { parties, timeout, signal })
    await callOracle.track(`barrier ${key}`, passed)
    callOracle.count('barrier passed')
  } catch (error) {
    callOracle.expect(error, barrierCodes, 'barrier')
  } finally {
    isSettled = true
    process.clock.clearTimer(request.abortTimer)
  }
  callOracle.checkSettledInTime(request, start)
}
