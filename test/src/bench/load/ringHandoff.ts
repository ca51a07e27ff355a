/**
 * The reference with which the bench compares hand-offs. In a hand-off, one client releases the
 * lock, and the broker grants the lock to the next client. Here the clients are connected to a
 * plain `ws` server without locks, which passes a grant from client to client in a ring. A client
 * that receives the grant sends a message. The server then sends the same grant to the next client,
 * and a confirmation to the sender.
 *
 * The ring must have as many connections as the load that is compared with it. With more
 * connections a ring is slower, because each socket is used less often.
 */
import { subprotocol } from '@holdfast/shared'
import type { Endpoint } from '../job.js'
import type { ExclusionCheck } from './exclusion.js'
import { Handoff } from './handoff.js'
import { openWire, type Wire } from './wire.js'

/** Like the frame of a release and the next request. The server does not read the content. */
const message =
  '[{"type":"unlock","id":12345,"fence":1700000000000000},{"type":"lock","id":12346,"key":"hot:key"}]'
/** The beginning of each grant. The ring also sends confirmations, which the client ignores. */
const grantStart = '{"type":"granted"'

export class RingHandoff extends Handoff {
  readonly #wires: readonly Wire[]

  private constructor(server: Endpoint, wires: readonly Wire[], exclusion: ExclusionCheck) {
    const description = { system: 'bare ws ring', serverPid: server.pid, key: 'ring' }
    super(description, wires.length, exclusion)
    this.#wires = wires
    for (const [client, wire] of wires.entries()) {
      const release = (): void => wire.send(message)
      const onText = (text: string): void => {
        // All grants of the ring have the same fence, so the exclusion check gets no fence.
        if (text.startsWith(grantStart)) this.onGranted(client, undefined, release)
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

  /** Sends the first message, after which the grant goes from connection to connection. */
  protected begin(): void {
    this.#wires[0]!.send(message)
  }
}

function nothing(): void {}
