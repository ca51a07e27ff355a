/**
 * The reference for a hand-off: the same number of connections in a ring over a plain `ws` server
 * without locks. A client that receives a grant sends a message; the server sends a ready-made
 * grant to the next client, and confirms. The difference to the broker is the cost of the broker.
 * What the ring itself loses with more connections is the cost of cold sockets.
 */
import { subprotocol } from '@holdfast/shared'
import type { Endpoint } from '../job.js'
import type { ExclusionCheck } from './exclusion.js'
import { Handoff } from './handoff.js'
import { openWire, type Wire } from './wire.js'

/** As long as a frame with a release and the next request. */
const message =
  '[{"type":"unlock","id":12345,"fence":1700000000000000},{"type":"lock","id":12346,"key":"hot:key"}]'
const grant = '{"type":"granted"'

export class RingHandoff extends Handoff {
  readonly #wires: readonly Wire[]

  private constructor(server: Endpoint, wires: readonly Wire[], exclusion: ExclusionCheck) {
    const about = { system: 'bare ws ring', serverPid: server.pid, key: 'ring' }
    super(about, wires.length, exclusion)
    this.#wires = wires
    for (const [client, wire] of wires.entries()) {
      const release = (): void => wire.send(message)
      const onText = (text: string): void => {
        if (text.startsWith(grant)) this.onGranted(client, undefined, release)
      }
      wire.listen({ onText, onTurn: nothing, onClose: nothing })
    }
  }

  static async open(
    server: Endpoint,
    clients: number,
    exclusion: ExclusionCheck,
  ): Promise<RingHandoff> {
    const wires: Wire[] = []
    for (let i = 0; i < clients; i++) wires.push(await openWire(`${server.url}/ring`, subprotocol))
    return new RingHandoff(server, wires, exclusion)
  }

  protected begin(): void {
    this.#wires[0]!.send(message)
  }
}

function nothing(): void {}
