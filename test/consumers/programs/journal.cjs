/**
 * A broker with a journal, by `require()`: `node journal.cjs DIR`. Ends when the thread that makes
 * snapshots has made one, because the thread is started by the URL of an ES module.
 */
const { connect } = require('@holdfast/client')
const { createBroker, journalLog } = require('@holdfast/server')

async function main(dir) {
  let onSnapshot
  const snapshot = new Promise((resolve) => {
    onSnapshot = resolve
  })
  const broker = createBroker({ log: journalLog({ dir, snapshotBytes: 1, onSnapshot }) })
  const { url } = await broker.listen({ port: 0 })
  const session = await connect(url)
  const lock = await session.lock('consumer')
  await snapshot
  await lock.unlock()
  await session.close()
  await broker.close()
  console.log('held, unlocked and written to the journal')
}

main(process.argv[2])
