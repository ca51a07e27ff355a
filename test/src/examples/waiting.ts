/**
 * Waiting: one request, queued at the broker, first come first served; with a timeout, or a signal
 * to give up by. Nobody polls and nobody retries.
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

// Whoever does not want to wait for ever says so.
try {
  await ann.lock('printer', { timeout: 100 })
} catch (error) {
  if (!(error instanceof HoldfastError && error.code === 'LOCK_TIMEOUT')) throw error
  console.log('ann did not get it within 100 ms')
}

// Or gives up by a signal: of a user who goes away, of a server that stops.
const controller = new AbortController()
const given = ann.lock('printer', { signal: controller.signal }).catch((error) => error.code)
controller.abort()
console.log('ann gave up:', await given)

// These wait for as long as it takes. The broker pushes each of them its grant, in order.
const jobs = ['letter', 'poster', 'stamp'].map((job) =>
  ben.withLock('printer', (lock) => console.log('ben prints a', job, 'and holds it:', lock.held)),
)
console.log('holder gives it back')
await lock.unlock()
await Promise.all(jobs)

for (const session of [holder, ann, ben]) await session.close()
await broker.close()
