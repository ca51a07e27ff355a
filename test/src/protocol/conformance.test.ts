/** Runs the conformance suite, the tests of the rules in PROTOCOL.md, against Holdfast's broker. */
import { createBroker, type HoldfastBroker } from '@holdfast/server'
import { conformanceSuite } from './conformance.js'

describe('protocol: the broker of Holdfast', () => {
  let broker: HoldfastBroker

  after(async () => {
    await broker.close()
  })

  conformanceSuite(async () => {
    // The tests of silent clients take two seconds, so a client without a hello may take as long.
    broker = createBroker({ limits: { helloMs: 2_000 } })
    return broker.listen({ port: 0, host: '127.0.0.1' })
  })
})
