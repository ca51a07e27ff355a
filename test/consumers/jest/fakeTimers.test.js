/** jest's fake timers, `queueMicrotask` and `nextTick` included, stop neither client nor broker. */
const { connect } = require('@holdfast/client')
const { createBroker } = require('@holdfast/server')

test('takes a lock at an embedded broker while the timers are fake', async () => {
  const broker = createBroker()
  const { url } = await broker.listen({ port: 0 })
  const session = await connect(url)
  jest.useFakeTimers()
  try {
    const lock = await session.lock('consumer')
    await lock.unlock()
  } finally {
    jest.useRealTimers()
  }
  await session.close()
  await broker.close()
})
