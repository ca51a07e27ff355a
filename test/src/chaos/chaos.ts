/**
 * Rounds of chaos: each fault in turn on one world, which is looked at after each.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../support/counts.js'
import type { Fault } from './faults.js'
import type { World } from './world.js'

/** What a fault did. */
export interface Outcome {
  readonly fault: string
  /** Until everybody was served in spite of it, in ms; undefined if nobody could be. */
  readonly during: number | undefined
  /** From its end until everybody was served, in ms. */
  readonly after: number
  /** From its end until every broker took on clients, in ms. */
  readonly whole: number
  /** Locks lost by clients of brokers that it touched. */
  readonly lostByTouched: number
  /** What is wrong. */
  readonly faults: readonly string[]
}

export async function strike(world: World, fault: Fault, random: Random): Promise<Outcome> {
  // Nobody goes back by itself to a broker that is there again.
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
  const faults = await world.judge()
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
