/** A broker with its table in memory, `node memory.mjs`: it needs no lmdb. */
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const broker = createBroker()
const { url } = await broker.listen({ port: 0 })
const session = await connect(url)
const lock = await session.lock('consumer')
await lock.unlock()
await session.close()
await broker.close()
console.log('held and unlocked')
