/** What a test of vitest may do: an embedded broker and a lock. */
import { connect, HoldfastError } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect, test } from 'vitest'

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
