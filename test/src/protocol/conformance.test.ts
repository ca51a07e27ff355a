/** Runs the conformance suite, the tests of the rules in PROTOCOL.md, against Holdfast's broker. */
import { type BrokerOptions, createBroker, type HoldfastBroker } from '@holdfast/server'
import { conformanceSuite } from './conformance.js'

const settings: { readonly [broker: string]: BrokerOptions } = {
  'the broker of Holdfast': {},
  // An operator may forbid an operation. The suite must accept such a broker.
  'a broker that forbids every revoke': {
    authorize: (_principal, operation) => operation !== 'revoke',
  },
}

for (const [name, options] of Object.entries(settings)) {
  describe(`protocol: ${name}`, () => {
    let broker: HoldfastBroker

    after(async () => {
      await broker.close()
    })

    conformanceSuite(async () => {
      // Shorter than the default, so that the test of a connection without a hello ends sooner.
      broker = createBroker({ ...options, limits: { helloMs: 2_000 } })
      return broker.listen({ port: 0, host: '127.0.0.1' })
    })
  })
}
