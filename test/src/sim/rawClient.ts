/**
 * What a simulated client needs if it speaks the protocol by hand.
 */
import type { WebSocketConstructor } from '@holdfast/client/internal'
import type { Oracles } from './oracles.js'
import type { Random } from './random.js'
import type { SimProcess } from './simProcess.js'

export interface RawClientDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly oracles: Oracles
  readonly WebSocket: WebSocketConstructor
  /** Returns the URL of a broker. */
  readonly anyUrl: () => string
}
