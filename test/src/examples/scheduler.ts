/**
 * Several schedulers elect a leader: one scheduler leads, and the others know the address of the
 * leader. The others are candidates, and wait to lead. A leader that is stopped (Ctrl-C, SIGTERM)
 * finishes its work and resigns, so the next candidate leads immediately. If the leader dies, the
 * next candidate leads when the broker has ended the session of the dead leader.
 *
 * Usage: node test/dist/examples/scheduler.js [ADDRESS]
 *
 * ADDRESS is the address of this scheduler, which it publishes when it leads. `HOLDFAST_URL` is the
 * address of the broker.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, HoldfastError, type Leadership } from '@holdfast/client'

const [address = `scheduler-${process.pid}`] = process.argv.slice(2)
const broker = process.env['HOLDFAST_URL'] ?? 'ws://127.0.0.1:7420'

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

const session = await connect(broker, { name: address })

/** Prints the address of each new leader, until this scheduler stops. */
async function followLeaders(): Promise<void> {
  for await (const leader of session.observe('scheduler', { signal: stop.signal })) {
    if (leader !== undefined) console.log(`${leader.value} leads`)
  }
}

/**
 * Works as the leader until the leadership is lost or this scheduler stops.
 *
 * @param leadership Its fence (the number of its grant) is higher than the fence of every earlier
 *   leader. Send the fence with every job, and let the workers refuse a fence that is lower than
 *   the highest so far, because a leader that was frozen may not know yet that it was replaced.
 */
async function lead(leadership: Leadership): Promise<void> {
  const signal = AbortSignal.any([leadership.signal, stop.signal])
  while (!signal.aborted) {
    console.log('assigned jobs to the workers') // your work, with leadership.fence
    await sleep(1_000, undefined, { signal }).catch(() => {}) // an abort ends the sleep
  }
}

/** Ignores the error of a call that was aborted because this scheduler stops. */
function ignoreStop(error: unknown): void {
  if (!(error instanceof HoldfastError && error.code === 'ABORTED')) throw error
}

const following = followLeaders().catch(ignoreStop)
try {
  // When the leadership is lost, the scheduler becomes a candidate again.
  while (!stop.signal.aborted) {
    console.log('waits to lead')
    const leadership = await session.campaign('scheduler', {
      value: address,
      signal: stop.signal,
    })
    await lead(leadership)
    if (leadership.held) {
      await leadership.resign()
      console.log('resigned')
    }
  }
  await following
} catch (error) {
  ignoreStop(error)
} finally {
  await session.close()
}
