/**
 * Limits the pending connections: connections that are still in their handshake, between the HTTP
 * upgrade and the message `welcome`. The folder `http` uses the same class for sockets that have
 * not sent their whole request, and for upgrades that wait for a later turn of the event loop.
 *
 * One limit holds for each address, but not for Unix sockets. Another limit holds for all pending
 * connections together. When this total is reached, a new connection may displace the oldest
 * connection of the address that has the most pending connections. The new connection may do so
 * only if its own address has fewer pending connections than that address. So a flood from one
 * address cannot keep out the clients of other addresses.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, type LimitName, off } from '../config/limits.js'

/** The part of a connection that this file needs. */
export interface PendingConnection {
  /** Undefined for a Unix socket. All Unix sockets count as one address. */
  readonly remoteAddress: string | undefined
}

/** Empty if the new connection was added without displacing an older connection. */
export interface AdmissionResult<C> {
  /** The limit that the new connection exceeds; undefined if the connection was added. */
  readonly exceededLimit?: LimitName
  /** An older connection that was removed to make room for the new connection. */
  readonly displacedConnection?: C
}

/** The address that all Unix sockets share. */
const unixSockets = ''

export class PendingConnections<C extends PendingConnection> {
  readonly #limits: BrokerLimits
  /** The pending connections of each address, the oldest first. */
  readonly #byAddress = new Map<string, Set<C>>()
  /**
   * The sets of `#byAddress` by their size: `#bySize[n]` has the sets with `n` connections. With
   * this array the broker finds the address with the most pending connections without a search. A
   * search for each connection of a flood would block the broker.
   */
  readonly #bySize: Set<Set<C>>[] = []
  /** The largest number of pending connections that an address has. */
  #largestSize = 0
  #count = 0

  constructor(limits: BrokerLimits) {
    this.#limits = limits
  }

  /**
   * Adds a new connection, unless the connection exceeds a limit. The caller must close a refused
   * connection, and the connection that the new connection displaces.
   *
   * @param isFull Whether the limit `connections` is reached. If so, the new connection is added
   *   only if it can displace a pending connection.
   */
  add(connection: C, isFull: boolean): AdmissionResult<C> {
    const { pendingConnections, pendingConnectionsPerAddress } = this.#limits
    const address = addressOf(connection)
    const countOfAddress = this.#byAddress.get(address)?.size ?? 0
    const hasAddressLimit = pendingConnectionsPerAddress !== off && address !== unixSockets
    if (hasAddressLimit && countOfAddress >= pendingConnectionsPerAddress)
      return { exceededLimit: 'pendingConnectionsPerAddress' }
    let displaced: C | undefined
    if (isFull || this.#count >= pendingConnections) {
      if (countOfAddress >= this.#largestSize) {
        return { exceededLimit: isFull ? 'connections' : 'pendingConnections' }
      }
      // Another address has more connections, so there is a connection to displace.
      displaced = this.#oldestOfLargest()
      this.remove(displaced)
    }
    this.#insert(address, connection)
    return displaced === undefined ? {} : { displacedConnection: displaced }
  }

  /**
   * Removes a connection. Call this method when the handshake of the connection is over, or when
   * the connection is closed. A second call does nothing.
   */
  remove(connection: C): void {
    const address = addressOf(connection)
    const connections = this.#byAddress.get(address)
    if (connections?.has(connection) !== true) return
    this.#count--
    this.#bySize[connections.size]?.delete(connections)
    connections.delete(connection)
    if (connections.size === 0) this.#byAddress.delete(address)
    else this.#bySize[connections.size]?.add(connections)
    while (this.#largestSize > 0 && this.#bySize[this.#largestSize]?.size === 0) {
      this.#largestSize--
    }
  }

  #insert(address: string, connection: C): void {
    let connections = this.#byAddress.get(address)
    if (connections === undefined) {
      connections = new Set()
      this.#byAddress.set(address, connections)
    }
    this.#bySize[connections.size]?.delete(connections)
    connections.add(connection)
    while (this.#bySize.length <= connections.size) this.#bySize.push(new Set())
    this.#bySize[connections.size]?.add(connections)
    this.#largestSize = Math.max(this.#largestSize, connections.size)
    this.#count++
  }

  /** The oldest pending connection of an address that has the most pending connections. */
  #oldestOfLargest(): C {
    const [connections] = this.#bySize[this.#largestSize] as Set<Set<C>>
    // A `Set` has its members in the order in which they were added.
    const [oldest] = connections as Set<C>
    return oldest as C
  }
}

/** What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address. */
function addressOf({ remoteAddress }: PendingConnection): string {
  return remoteAddress === undefined ? unixSockets : addressGroup(remoteAddress)
}
