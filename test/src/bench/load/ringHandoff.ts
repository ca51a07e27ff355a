/**
 * The yardstick of a hand-off: the same number of connections in a ring over a bare `ws` server
 * that knows no locks. Whoever is granted says so; the next one is granted, and it is confirmed.
 * What a hand-off costs beyond this is the broker's; what this loses with the number of
 * connections is lost to sockets that have gone cold.
 */
import { subprotocol } from '@holdfast/shared'
import type { Endpoint } from '../job.js'
import type { Exclusion } from './exclusion.js'
import { Handoff } from './handoff.js'
import { openWire, type Wire } from './wire.js'

/** As long as what a client of the broker says: a release and the next request in one frame. */
const message =
  '[{"type":"unlock","id":12345,"fence":1700000000000000},{"type":"lock","id":12346,"key":"hot:key"}]'
const grant = '{"type":"granted"'

export class RingHandoff extends Handoff {
  readonly #wires: readonly Wire[]

  private constructor(server: Endpoint, wires: readonly Wire[], exclusion: Exclusion) {
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

  static async open(server: Endpoint, clients: number, exclusion: Exclusion): Promise<RingHandoff> {
    const wires: Wire[] = []
    for (let i = 0; i < clients; i++) wires.push(await openWire(`${server.url}/ring`, subprotocol))
    return new RingHandoff(server, wires, exclusion)
  }

  protected begin(): void {
    this.#wires[0]!.send(message)
  }
}

function nothing(): void {}
