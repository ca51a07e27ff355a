/**
 * Waiting: the broker queues each request, first come first served. A caller can set a timeout, or
 * cancel the request with a signal. No client polls or retries.
 *
 * Run it with `node test/dist/examples/waiting.js` after `npm run build`.
 */
import { connect, HoldfastError } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const broker = createBroker()
const { url } = await broker.listen({ port: 0 })

const holder = await connect(url, { name: 'holder' })
const ann = await connect(url, { name: 'ann' })
const ben = await connect(url, { name: 'ben' })

const lock = await holder.lock('printer')
console.log('holder has the printer')

// A timeout limits the wait.
try {
  await ann.lock('printer', { timeout: 100 })
} catch (error) {
  if (!(error instanceof HoldfastError && error.code === 'LOCK_TIMEOUT')) throw error
  console.log('ann did not get it within 100 ms')
}

// A signal cancels the request, for example when a user leaves or a server stops.
const controller = new AbortController()
const errorCode = ann.lock('printer', { signal: controller.signal }).catch((error) => error.code)
controller.abort()
console.log('ann cancelled:', await errorCode)

// Requests without a timeout wait until their grant. The broker pushes the grants in the order of
// the requests.
const jobs = ['letter', 'poster', 'stamp'].map((job) =>
  ben.withLock('printer', ({ held }) => console.log('ben prints a', job, 'and holds it:', held)),
)
console.log('holder unlocks')
await lock.unlock()
await Promise.all(jobs)

for (const session of [holder, ann, ben]) await session.close()
await broker.close()
