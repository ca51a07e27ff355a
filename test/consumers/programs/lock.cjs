/** A program that takes a lock, by `require()`: `node lock.cjs URL`. The same as `lock.mjs`. */
const { connect } = require('@holdfast/client')

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
