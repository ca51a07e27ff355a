/**
 * Connections that are not let in yet: between their upgrade and their welcome.
 *
 * Their room is shared between addresses. When it is full, a connection from an address that has
 * fewer than another one takes the place of the oldest of the address that has most. So addresses
 * that only connect keep no client out, as long as one of them has more than the client's.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, type LimitName, off } from '../config/limits.js'

/** A connection, as far as it matters here. */
export interface PendingConnection {
  /** Undefined for a Unix socket; all of those count as one address. */
  readonly remoteAddress: string | undefined
}

/** What comes of one more connection. */
export interface Entrance<N> {
  /** The limit that keeps it out; undefined if it is in. */
  readonly refused?: LimitName
  /** The connection that has to leave for it. */
  readonly displaced?: N
}

const unixSockets = ''

export class PendingConnections<N extends PendingConnection> {
  readonly #limits: BrokerLimits
  /** Of each address its connections, the oldest first. */
  readonly #byAddress = new Map<string, Set<N>>()
  /**
   * The addresses by how many connections they have, so that the one with most is found without a
   * search: a flood would pay for that with the time of the broker.
   */
  readonly #bySize: Set<Set<N>>[] = []
  /** The index of the last set of `#bySize` that is not empty; 0 if all are. */
  #most = 0
  #count = 0

  constructor(limits: BrokerLimits) {
    this.#limits = limits
  }

  /**
   * One more has come. The caller closes what is refused, and what is displaced.
   *
   * @param isFull No connection can be had, however few of them are pendingConnections.
   */
  enter(newcomer: N, isFull: boolean): Entrance<N> {
    const { pendingConnections, pendingConnectionsPerAddress } = this.#limits
    const address = addressOf(newcomer)
    const own = this.#byAddress.get(address)?.size ?? 0
    const mayBeFull = pendingConnectionsPerAddress !== off && address !== unixSockets
    if (mayBeFull && own >= pendingConnectionsPerAddress)
      return { refused: 'pendingConnectionsPerAddress' }
    let displaced: N | undefined
    if (isFull || this.#count >= pendingConnections) {
      if (own >= this.#most) return { refused: isFull ? 'connections' : 'pendingConnections' }
      displaced = this.#oldestOfMost()
      this.leave(displaced)
    }
    this.#add(address, newcomer)
    return displaced === undefined ? {} : { displaced }
  }

  /** It was let in, or it is gone; more than once does no harm. */
  leave(newcomer: N): void {
    const address = addressOf(newcomer)
    const group = this.#byAddress.get(address)
    if (group?.has(newcomer) !== true) return
    this.#count--
    this.#bySize[group.size]?.delete(group)
    group.delete(newcomer)
    if (group.size === 0) this.#byAddress.delete(address)
    else this.#bySize[group.size]?.add(group)
    while (this.#most > 0 && this.#bySize[this.#most]?.size === 0) this.#most--
  }

  #add(address: string, newcomer: N): void {
    let group = this.#byAddress.get(address)
    if (group === undefined) {
      group = new Set()
      this.#byAddress.set(address, group)
    }
    this.#bySize[group.size]?.delete(group)
    group.add(newcomer)
    while (this.#bySize.length <= group.size) this.#bySize.push(new Set())
    this.#bySize[group.size]?.add(group)
    this.#most = Math.max(this.#most, group.size)
    this.#count++
  }

  #oldestOfMost(): N {
    const [group] = this.#bySize[this.#most] as Set<Set<N>>
    const [oldest] = group as Set<N>
    return oldest as N
  }
}

function addressOf({ remoteAddress }: PendingConnection): string {
  return remoteAddress === undefined ? unixSockets : addressGroup(remoteAddress)
}
