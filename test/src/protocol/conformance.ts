/**
 * Tests a broker against the rules of PROTOCOL.md, over a raw WebSocket. Call it inside a mocha run
 * with the URL of any broker:
 *
 *     conformanceSuite(async () => ({ url: 'ws://127.0.0.1:7420' }))
 *
 * Or on the command line: `npm run conformance -- ws://host:port`.
 *
 * The broker should have no other clients, because the vectors use keys such as `k`. All other
 * tests use random keys. The suite expects the default limits and leases, and leaves no locks
 * behind.
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

/** Defines the suite. @param target Called once, when the first test begins. */
export function conformanceSuite(target: () => Promise<Target>): void {
  let found: Promise<Target> | undefined
  const find = (): Promise<Target> => {
    found ??= target()
    return found
  }
  for (const group of [connecting, locking, looking, resuming, strangers, liveness]) {
    describe('conformance', () => {
      const stage = new Stage(find)
      // The clients of `liveness` begin in `before`, so they must live until the last test.
      if (group === liveness) after(() => stage.clear())
      else afterEach(() => stage.clear())
      group(stage)
    })
  }
}
