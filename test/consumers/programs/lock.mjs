/**
 * A program that takes a lock, as an ES module: `node lock.mjs URL`. Its metadata makes the frame
 * long enough for the optional native parts of `ws`. It has no top-level await, so that every
 * bundler can make CommonJS of it.
 */
import { connect } from '@holdfast/client'

async function main(url) {
  const session = await connect(url, { name: 'consumer' })
  const lock = await session.lock('consumer', { metadata: 'x'.repeat(500) })
  const { held } = await session.query({ key: 'consumer' })
  if (!lock.held || held[0].fence !== lock.fence) throw new Error('the broker knows of no lock')
  await lock.unlock()
  await session.close()
  console.log('held and unlocked')
}

main(process.argv[2])
