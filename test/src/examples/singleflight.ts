/**
 * Singleflight: callers in one process that request the same lock at the same time share one
 * request and its lock. Ten handlers that need the same report send the broker one message, and the
 * lock is free when the last handler has unlocked. The handlers hold the lock together and do not
 * exclude each other. Therefore the handlers also share a promise, and make the report only once.
 *
 * Run it with `node test/dist/examples/singleflight.js` after `npm run build`.
 */
import { setTimeout } from 'node:timers/promises'
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const broker = createBroker()
const { url } = await broker.listen({ port: 0 })
const session = await connect(url, { name: 'web-1' })

let report: Promise<string> | undefined
let reportsMade = 0

/** @param fence The number of the grant. A later grant has a higher fence. */
async function makeReport(fence: number): Promise<string> {
  reportsMade++
  // This wait stands for the work.
  await setTimeout(20)
  return `the report, as of fence ${fence}`
}

async function handle(): Promise<string> {
  // Each caller gets its own object for the shared lock, and may pass its own timeout and signal.
  await using lock = await session.singleflightLock('report')
  report ??= makeReport(lock.fence).finally(() => {
    report = undefined
  })
  // Without `await`, the lock would be unlocked before the report is made.
  return await report
}

const answers = await Promise.all(Array.from({ length: 10 }, handle))
console.log('answers:', answers.length, 'reports made:', reportsMade)

const stats = await session.stats()
console.log('locks granted:', stats.totalLocks, 'unlocked:', stats.unlockCount)

// Only calls before the grant share a request. A later call sends a request of its own.
await handle()
console.log('locks granted after a late caller:', (await session.stats()).totalLocks)

await session.close()
await broker.close()
