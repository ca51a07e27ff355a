/**
 * The calls of `session.once` in a client program. Each call passes a function. Each run of a
 * function returns a value that names this run, so that the oracle of `once` can check the values
 * that callers get. Sometimes a crowd of callers shares a run with a large value. The lock
 * table of the broker then needs several commands to answer the crowd.
 */
import type { Session } from '@holdfast/client'
import type { CallContext } from './callContext.js'
import type { RunValue } from './onceOracle.js'

/** The probability that a crowd calls. */
const crowdChance = 0.2
/** The callers of a crowd. One command cannot send a large value to all of them. */
const crowdSize = 25
/** Characters of a large value; the broker accepts at most 32 KiB. */
const largeValueLength = 30_000

/** Calls `session.once` for one caller or for a crowd. Resolves after the last call. */
export async function callOnce(session: Session, key: string, context: CallContext): Promise<void> {
  const { random, plan } = context
  const isCrowd = random.chance(crowdChance)
  // A broker with tight buffers would disconnect a client that must read so much.
  const padding = isCrowd && !plan.hasTightBuffers ? 'x'.repeat(largeValueLength) : ''
  const calls = Array.from({ length: isCrowd ? crowdSize : 1 }, () =>
    call(session, key, padding, context),
  )
  await Promise.all(calls)
}

/** Makes one call of `once`, and checks its outcome. */
async function call(
  session: Session,
  key: string,
  padding: string,
  context: CallContext,
): Promise<void> {
  const { random, process, oracles, callOracle } = context
  // `once` has none of the four options that are left out here.
  const {
    mode: _,
    maxHold: __,
    onQueued: ___,
    onContended: ____,
    ...request
  } = context.newRequest()
  const { metadata, timeout, ttl, signal } = request
  const keepMs = random.chance(0.6) ? random.int(100, 3_000) : undefined
  const failure = random.chance(0.1) ? new Error(`the run of ${metadata.op} fails`) : undefined
  /** The fence (number of the grant) under which this call runs its function; undefined before. */
  let ownFence: number | undefined
  let work: Promise<void> | undefined
  let isSettled = false
  const run = async ({ fence }: { readonly fence: number }): Promise<RunValue> => {
    ownFence = fence
    work = context.work()
    await work
    if (failure !== undefined) throw failure
    return { op: metadata.op, fence, padding }
  }
  const start = callOracle.start()
  // An abort ends the waiting, but not a run that has begun.
  const isWaitOver = () => isSettled || ownFence !== undefined
  callOracle.watchAbort(request, isWaitOver)
  try {
    const task = session.once(key, run, { keep: keepMs, metadata, timeout, ttl, signal })
    const value = await callOracle.track(`once ${metadata.op} ${key}`, task)
    oracles.onceOracle.valueReturned(key, value, start.at, ownFence)
    // The timeout covers the waiting, not the run.
    if (ownFence === undefined) callOracle.checkSettledInTime(request, start)
  } catch (error) {
    if (error === failure) return
    if (ownFence === undefined) callOracle.checkFailure(error, request, start)
    else callOracle.expectLoss(error, 'once', 'UNAVAILABLE')
  } finally {
    isSettled = true
    process.clock.clearTimer(request.abortTimer)
    // If the lock is lost, the call rejects before its function ends.
    await work
  }
}
