/**
 * Runs one fault in a world of brokers, storage (etcd or PostgreSQL) and clients, and checks the
 * world afterwards. All clients are served when each worker has been granted a new lock.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../support/counts.js'
import { leaseMs } from './clientLink.js'
import type { Fault } from './faults.js'
import type { World } from './world.js'

/** What happened during and after a fault. */
export interface FaultOutcome {
  readonly fault: string
  /**
   * The time from the start of the fault until all clients were served, in ms. Undefined if no
   * client can be served during the fault.
   */
  readonly servedDuringMs: number | undefined
  /** The time from the end of the fault until all clients were served, in ms. */
  readonly servedAfterMs: number
  /** The time from the end of the fault until every broker accepted clients, in ms. */
  readonly allReadyMs: number
  /**
   * The number of workers of affected brokers that lost their kept lock, the lock that each worker
   * holds all the time.
   */
  readonly lostByAffected: number
  /** The longest time for which the process that runs all clients stood still, in ms. */
  readonly longestStallMs: number
  /**
   * The number of workers of unaffected brokers that lost their kept lock while their process stood
   * still for half a lease or longer. Up to half of the lease may have passed before the stall, so
   * the lease may end during the stall.
   */
  readonly lostByStall: number
  /** The violations that the checks found after the fault. */
  readonly violations: readonly string[]
}

/** Causes a fault, waits for its end and for all clients, and checks the world. */
export async function runFault(world: World, fault: Fault, random: Random): Promise<FaultOutcome> {
  // A client that moved to another broker during the last fault would otherwise stay there.
  await Promise.all([
    ...world.workers.map((worker) => worker.returnToOwnBroker()),
    world.election.returnToOwnBrokers(),
  ])
  await world.untilServed(performance.now())
  const workersBeforeFault = world.workers.map((worker) => ({
    worker,
    broker: world.brokerOf(worker),
    lossCount: worker.losses.length,
  }))
  // A resolution of 20 ms suffices, because no stall shorter than half a lease matters.
  const stalls = monitorEventLoopDelay({ resolution: 20 })
  stalls.enable()
  const startedAt = performance.now()
  const {
    affectedBrokers = [],
    isServed: isServedMeanwhile = true,
    lastsMs = 0,
    end,
  } = await fault.cause(world, random)
  const servedDuringMs = isServedMeanwhile ? await world.untilServed(startedAt) : undefined
  await sleep(Math.max(0, startedAt + lastsMs - performance.now()))
  const endedAt = performance.now()
  // This function awaits the promise later. Until then, Node must not report a rejection as
  // unhandled.
  const whenServed = world.untilServed(endedAt)
  whenServed.catch(() => {})
  await end()
  await world.ready()
  const allReadyMs = performance.now() - endedAt
  const servedAfterMs = await whenServed
  const violations = await world.findViolations()
  stalls.disable()
  // `max` is in ns.
  const longestStallMs = stalls.max / 1e6
  let lostByAffected = 0
  let lostByStall = 0
  for (const { worker, broker, lossCount } of workersBeforeFault) {
    const newLosses = worker.losses.slice(lossCount)
    if (newLosses.length === 0) continue
    if (affectedBrokers.includes(broker)) lostByAffected++
    else if (longestStallMs >= leaseMs / 2) lostByStall++
    else violations.push(`${worker.name} of broker ${broker} lost its lock: ${newLosses.join(' ')}`)
  }
  for (const broker of world.brokers) {
    if (broker.isRunning) continue
    violations.push(`a broker has ended: ${broker.errorLines.join(' ')}`)
  }
  return {
    fault: fault.name,
    servedDuringMs,
    servedAfterMs,
    allReadyMs,
    lostByAffected,
    longestStallMs,
    lostByStall,
    violations,
  }
}
