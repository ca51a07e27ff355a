/** Rounds of chaos: each fault in turn strikes one world, which is checked after each. */
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
  readonly during: number | undefined
  /** The time from the end of the fault until all clients were served, in ms. */
  readonly after: number
  /** The time from the end of the fault until every broker accepted clients, in ms. */
  readonly whole: number
  /** Locks lost by clients of affected brokers. */
  readonly lostByTouched: number
  /** The violations. */
  readonly faults: readonly string[]
}

export async function runFault(world: World, fault: Fault, random: Random): Promise<FaultOutcome> {
  // No client returns by itself to a broker that works again.
  await Promise.all(world.workers.map((worker) => worker.goHome()))
  await world.servedSince(performance.now())
  const before = world.workers.map((worker) => ({
    worker,
    broker: world.brokerOf(worker),
    losses: worker.losses.length,
  }))
  const began = performance.now()
  const { touched = [], isServed = true, lastsMs = 0, end } = await fault.strike(world, random)
  const during = isServed ? await world.servedSince(began) : undefined
  await sleep(Math.max(0, began + lastsMs - performance.now()))
  const ended = performance.now()
  const served = world.servedSince(ended)
  served.catch(() => {})
  await end()
  await world.ready()
  const whole = performance.now() - ended
  const after = await served
  const faults = await world.findViolations()
  let lostByTouched = 0
  for (const { worker, broker, losses } of before) {
    const lost = worker.losses.slice(losses)
    if (lost.length === 0) continue
    if (touched.includes(broker)) lostByTouched++
    else faults.push(`${worker.name} of broker ${broker} lost its lock: ${lost.join(' ')}`)
  }
  for (const broker of world.brokers) {
    if (broker.isRunning) continue
    faults.push(`a broker has ended: ${broker.complaints.join(' ')}`)
  }
  return { fault: fault.name, during, after, whole, lostByTouched, faults }
}
