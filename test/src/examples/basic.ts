/**
 * Basic use: take a lock that is free, see who has one that is not, keep it alive, give it back.
 *
 * Run it with `node test/dist/examples/basic.js` after `npm run build`.
 */
import { connect, HoldfastError } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

// A broker in the same process, so that this runs by itself; `npx holdfast serve` is the same.
const broker = createBroker()
const { url } = await broker.listen({ port: 0 })

const ann = await connect(url, { name: 'ann' })
const ben = await connect(url, { name: 'ben' })

// At once or not at all; it expires after 30 s unless it is refreshed.
const lock = await ann.tryLock('orders:42', { ttl: 30_000 })
console.log('ann holds', lock.key)

try {
  await ben.tryLock('orders:42')
} catch (error) {
  if (!(error instanceof HoldfastError && error.code === 'LOCK_HELD')) throw error
  console.log('ben is told at once that it is held by', error.holders?.[0]?.name)
}

await lock.refresh()
console.log('ann has another 30 s, held:', lock.held)

await lock.unlock()
console.log('ann gave it back, held:', lock.held)

// Given back at the end of the block, whatever happens in it.
{
  await using mine = await ben.tryLock('orders:42')
  console.log('now ben holds', mine.key)
}
console.log('and nobody holds anything:', broker.query().heldCount)

await ann.close()
await ben.close()
await broker.close()
