/**
 * Limits the sockets of an HTTP server that have not become a WebSocket. The client of such a
 * socket may have sent only a part of its request, up to 16 KiB of headers, and has 5 s for the
 * whole request. No other limit counts these sockets, because the broker counts a connection only
 * after its complete request. Without this limit, a flood of such sockets could use up the broker's
 * memory.
 *
 * At most `limits.pendingConnections` + 1,000 of these sockets may be open. If more arrive,
 * `PendingConnections` chooses the socket to destroy, fairly between the addresses.
 */
import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { type PendingConnection, PendingConnections } from '../access/pendingConnections.js'
import { type BrokerLimits, off } from '../config/limits.js'

/** Room for a burst of new sockets whose requests the broker has not read yet. */
const burstSockets = 1_000

/** The part of a TCP or TLS socket that this file needs. */
export interface RequestSocket extends Duplex {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** A counted socket. Its address is copied here, because a closed socket has no address. */
interface CountedSocket extends PendingConnection {
  readonly socket: RequestSocket
  /** The address and the port of the client. */
  readonly peer: string
  readonly onClose: () => void
}

/** The counted sockets of each server that was passed to {@link limitRequestSockets}. */
const countedSocketsOf = new WeakMap<Server, RequestSockets>()

/** Limits the sockets of a server that have not become a WebSocket. */
export function limitRequestSockets(server: Server, limits: BrokerLimits): void {
  const sockets = new RequestSockets(limits)
  countedSocketsOf.set(server, sockets)
  server.on('connection', (socket: RequestSocket) => sockets.add(socket))
}

/** Stops counting a socket, because its request is an upgrade. Other limits count upgrades. */
export function stopCountingSocket(server: Server, socket: Duplex): void {
  countedSocketsOf.get(server)?.remove(socket)
}

export class RequestSockets {
  readonly #pending: PendingConnections<CountedSocket>
  /**
   * The counted sockets, by address and port of the client. A TLS server passes the TCP socket with
   * the event `connection`, and the TLS socket with `upgrade`. Both have the same address and port.
   */
  readonly #byPeer = new Map<string, CountedSocket>()

  constructor(limits: BrokerLimits) {
    this.#pending = new PendingConnections({
      ...limits,
      pendingConnections: limits.pendingConnections + burstSockets,
      // This limit counts only connections between the upgrade and the message `welcome`.
      pendingConnectionsPerAddress: off,
    })
  }

  /** Counts a new socket. Destroys this socket, or an older socket, if too many sockets wait. */
  add(socket: RequestSocket): void {
    const { remoteAddress } = socket
    // The server listens on TCP, and a TCP socket without an address is closed already.
    if (remoteAddress === undefined) return
    const onClose = (): void => this.#forget(counted)
    const counted: CountedSocket = { socket, remoteAddress, peer: peerOf(socket), onClose }
    // `isFull` means that `connections` is reached. The broker checks that limit after the upgrade.
    const { exceededLimit, displacedConnection } = this.#pending.add(counted, /* isFull */ false)
    if (displacedConnection !== undefined) {
      this.#forget(displacedConnection)
      displacedConnection.socket.destroy()
    }
    if (exceededLimit !== undefined) {
      socket.destroy()
      return
    }
    this.#byPeer.set(counted.peer, counted)
    socket.on('close', onClose)
  }

  /** Stops counting a socket. A second call does nothing. */
  remove(socket: RequestSocket): void {
    const counted = this.#byPeer.get(peerOf(socket))
    if (counted !== undefined) this.#forget(counted)
  }

  #forget(counted: CountedSocket): void {
    const { socket, peer, onClose } = counted
    this.#pending.remove(counted)
    if (this.#byPeer.get(peer) === counted) this.#byPeer.delete(peer)
    // A million idle connections must not keep a million listeners.
    socket.off('close', onClose)
  }
}

function peerOf({ remoteAddress, remotePort }: RequestSocket): string {
  return `${remoteAddress} ${remotePort}`
}
