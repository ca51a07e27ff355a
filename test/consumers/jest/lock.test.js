/** What a test of jest in its default mode may do: `require()`, an embedded broker, a lock. */
const { connect, HoldfastError } = require('@holdfast/client')
const { createBroker, jwtTokens } = require('@holdfast/server')

test('takes a lock at an embedded broker', async () => {
  const broker = createBroker()
  const { url } = await broker.listen({ port: 0 })
  const session = await connect(url)
  const lock = await session.lock('consumer', { metadata: 'x'.repeat(500) })
  expect(lock.held).toBe(true)
  const error = await session.tryLock('consumer').catch((error) => error)
  expect(error).toBeInstanceOf(HoldfastError)
  expect(error.code).toBe('LOCK_HELD')
  await session.close()
  await broker.close()
})

test('loads what is an ES module elsewhere, when it is needed', async () => {
  const broker = createBroker({ authenticate: jwtTokens({ secret: 'x'.repeat(32) }) })
  const { url } = await broker.listen({ port: 0 })
  const refused = await connect(url, { token: 'no.token.atall' }).catch((error) => error)
  expect(refused.code).toBe('UNAUTHORIZED')
  await broker.close()
})
