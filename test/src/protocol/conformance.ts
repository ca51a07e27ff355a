/**
 * Tests any broker against the rules of PROTOCOL.md over a raw WebSocket. Call `conformanceSuite`
 * in a mocha run with the URL of the broker:
 *
 *     conformanceSuite(async () => ({ url: 'ws://127.0.0.1:7420' }))
 *
 * Or run `npm run conformance -- ws://host:port`.
 *
 * The broker should have no other clients, because the vectors (frames in JSON files) use keys such
 * as `k`. All other tests use random keys. The suite leaves no locks behind, and expects the
 * default leases and limits. Only `helloMs`, the longest wait for the first message of a client,
 * may be shorter. A lease is how long the broker keeps a silent session.
 */
import { connecting } from './conformance/connecting.js'
import { electing } from './conformance/electing.js'
import { frameVectors } from './conformance/frameVectors.js'
import { holding } from './conformance/holding.js'
import { liveness } from './conformance/liveness.js'
import { locking } from './conformance/locking.js'
import { looking } from './conformance/looking.js'
import { once } from './conformance/once.js'
import type { Target } from './conformance/peer.js'
import { repeating } from './conformance/repeating.js'
import { resuming } from './conformance/resuming.js'
import { Stage } from './conformance/stage.js'

export type { Target }

/**
 * Defines the suite.
 *
 * @param startTarget Returns the broker to test. The suite calls this function once.
 */
export function conformanceSuite(startTarget: () => Promise<Target>): void {
  let started: Promise<Target> | undefined
  const getTarget = (): Promise<Target> => {
    started ??= startTarget()
    return started
  }
  for (const group of [
    connecting,
    locking,
    // The requests `once` and `complete`, not the `once` of Node.
    once,
    holding,
    electing,
    looking,
    resuming,
    repeating,
    frameVectors,
    liveness,
  ]) {
    describe('conformance', () => {
      const stage = new Stage(getTarget)
      // The tests of `liveness` share clients, which must stay connected until the last test.
      if (group === liveness) after(() => stage.clear())
      else afterEach(() => stage.clear())
      group(stage)
    })
  }
}
