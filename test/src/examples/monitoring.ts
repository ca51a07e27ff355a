/**
 * Monitoring: a session that holds no locks reads the holders, the waiters, the events and the
 * counters of the broker.
 *
 * Run it with `node test/dist/examples/monitoring.js` after `npm run build`.
 */
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const broker = createBroker()
const { url } = await broker.listen({ port: 0 })

const ann = await connect(url, { name: 'ann' })
const ben = await connect(url, { name: 'ben' })
const monitor = await connect(url, { name: 'monitor' })

// If the broker allows the watch, the first event is the state, and the changes follow. Otherwise
// the only event is `refused`.
monitor.watch({ prefix: 'jobs:' }, (event) => {
  if (event.event === 'state') console.log('watching:', event.heldCount, 'held at first')
  else if (event.event !== 'refused')
    console.log('event:', event.event, event.key, 'by', event.name)
})

const lock = await ann.lock('jobs:nightly', { metadata: { step: 'import' } })
const pendingLock = ben.lock('jobs:nightly')
// Waits until Ben's lock request is in the queue. The broker handles his requests in order, so it
// queues the lock request before it responds with the counters.
await ben.stats()

const { held, waiting } = await monitor.query({ prefix: 'jobs:' })
for (const { key, name, metadata } of held) console.log(`${key} is held by ${name}`, metadata)
for (const { key, name } of waiting) console.log(`${name} waits for ${key}`)

await lock.unlock()
await (await pendingLock).unlock()

const stats = await monitor.stats() // equal to broker.stats()
console.log('locks:', stats.totalLocks, 'active:', stats.activeLocks, 'failed:', stats.failedLocks)
console.log('success rate:', stats.successRate)

for (const session of [ann, ben, monitor]) await session.close()
await broker.close()
