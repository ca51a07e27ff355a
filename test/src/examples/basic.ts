/**
 * Basic use: acquire a free lock, learn who holds a held lock, refresh the lock, unlock.
 *
 * Run it with `node test/dist/examples/basic.js` after `npm run build`.
 */
import { connect, HoldfastError } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

// This broker runs in the process of the example, which needs no other process. The command
// `npx holdfast serve` runs a broker in a process of its own.
const broker = createBroker()
const { url } = await broker.listen({ port: 0 })

const ann = await connect(url, { name: 'ann' })
const ben = await connect(url, { name: 'ben' })

// tryLock acquires the lock immediately, or rejects. The ttl is how long the lock lasts without a
// refresh: here 30 s.
const lock = await ann.tryLock('orders:42', { ttl: 30_000 })
console.log('ann holds', lock.key)

try {
  await ben.tryLock('orders:42')
} catch (error) {
  if (!(error instanceof HoldfastError && error.code === 'LOCK_HELD')) throw error
  console.log('ben gets an error at once: the holder is', error.holders?.[0]?.name)
}

await lock.refresh()
console.log('ann has another 30 s, held:', lock.held)

await lock.unlock()
console.log('ann unlocked, held:', lock.held)

// `await using` unlocks at the end of the block, also after an error.
{
  await using benLock = await ben.tryLock('orders:42')
  console.log('now ben holds', benLock.key)
}
console.log('locks held at the end:', broker.query().heldCount)

await ann.close()
await ben.close()
await broker.close()
