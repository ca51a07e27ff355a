/** The conformance suite against our own broker. */
import { createBroker, type HoldfastBroker } from '@holdfast/server'
import { conformanceSuite } from './conformance.js'

describe('protocol: our broker', () => {
  let broker: HoldfastBroker

  after(async () => {
    await broker.close()
  })

  conformanceSuite(async () => {
    // Who says nothing is waited for as long as the other silences take.
    broker = createBroker({ limits: { helloMs: 2_000 } })
    return broker.listen({ port: 0, host: '127.0.0.1' })
  })
})
