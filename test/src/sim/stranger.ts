/**
 * What somebody in the simulated world has who speaks the protocol by hand: a thief of secrets, a
 * warden, a stutterer.
 */
import type { WebSocketConstructor } from '@holdfast/client/internal'
import type { Oracles } from './oracles.js'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'

export interface StrangerDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly judges: Oracles
  readonly WebSocket: WebSocketConstructor
  /** Where a broker is. */
  readonly anyUrl: () => string
}
