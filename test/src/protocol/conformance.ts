/**
 * The protocol, rule by rule, over a raw WebSocket to any broker: PROTOCOL.md as tests. Give it a
 * way to the broker, inside a mocha run:
 *
 *     conformanceSuite(async () => ({ url: 'ws://127.0.0.1:7420' }))
 *
 * It uses keys that nobody else uses and leaves nothing behind, but the vectors are tried with keys
 * such as `k`, and it expects the limits and leases that a broker has by default: it is meant for a
 * broker that nobody else is using. On the command line: `npm run conformance -- ws://host:port`.
 */
import { connecting } from './conformance/connecting.js'
import { liveness } from './conformance/liveness.js'
import { locking } from './conformance/locking.js'
import { looking } from './conformance/looking.js'
import type { Target } from './conformance/peer.js'
import { resuming } from './conformance/resuming.js'
import { Stage } from './conformance/stage.js'
import { strangers } from './conformance/strangers.js'

export type { Target }

/** Defines the suite. @param target Asked for once, when the first test begins. */
export function conformanceSuite(target: () => Promise<Target>): void {
  let found: Promise<Target> | undefined
  const find = (): Promise<Target> => {
    found ??= target()
    return found
  }
  for (const group of [connecting, locking, looking, resuming, strangers, liveness]) {
    describe('conformance', () => {
      const stage = new Stage(find)
      // Those that wait for a silence to be over began before the tests that look at them.
      if (group === liveness) after(() => stage.clear())
      else afterEach(() => stage.clear())
      group(stage)
    })
  }
}
