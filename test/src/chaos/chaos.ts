/**
 * Runs one fault in a world of brokers, etcd members and clients, and checks the world afterwards.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../support/counts.js'
import type { Fault } from './faults.js'
import type { World } from './world.js'

/** The effect of a fault. */
export interface FaultOutcome {
  readonly fault: string
  /**
   * The time until all clients were served in spite of the fault, in ms; undefined if impossible.
   */
  readonly servedDuringMs: number | undefined
  /** The time from the end of the fault until all clients were served, in ms. */
  readonly servedAfterMs: number
  /** The time from the end of the fault until every broker accepted clients, in ms. */
  readonly allReadyMs: number
  /** How many clients of affected brokers lost the lock that they keep. */
  readonly lostByAffected: number
  /** The violations. */
  readonly faults: readonly string[]
}

export async function runFault(world: World, fault: Fault, random: Random): Promise<FaultOutcome> {
  // Move every client back to its own broker, because no client returns by itself.
  await Promise.all(world.workers.map((worker) => worker.returnToOwnBroker()))
  await world.servedSince(performance.now())
  const before = world.workers.map((worker) => ({
    worker,
    broker: world.brokerOf(worker),
    losses: worker.losses.length,
  }))
  const began = performance.now()
  const {
    affectedBrokers = [],
    isServed = true,
    lastsMs = 0,
    end,
  } = await fault.strike(world, random)
  const servedDuringMs = isServed ? await world.servedSince(began) : undefined
  await sleep(Math.max(0, began + lastsMs - performance.now()))
  const ended = performance.now()
  const served = world.servedSince(ended)
  served.catch(() => {})
  await end()
  await world.ready()
  const allReadyMs = performance.now() - ended
  const servedAfterMs = await served
  const faults = await world.findViolations()
  let lostByAffected = 0
  for (const { worker, broker, losses } of before) {
    const lost = worker.losses.slice(losses)
    if (lost.length === 0) continue
    if (affectedBrokers.includes(broker)) lostByAffected++
    else faults.push(`${worker.name} of broker ${broker} lost its lock: ${lost.join(' ')}`)
  }
  for (const broker of world.brokers) {
    if (broker.isRunning) continue
    faults.push(`a broker has ended: ${broker.errorLines.join(' ')}`)
  }
  return { fault: fault.name, servedDuringMs, servedAfterMs, allReadyMs, lostByAffected, faults }
}
