/**
 * One direction of one connection, with the behaviour of TCP. Packets arrive in the order of
 * sending. After a loss, the sender sends no more data: at most a reset, which breaks the
 * connection. A blocked link delays packets until it is unblocked. A cut loses the last packets
 * under way, and all later packets.
 */
import type { Random } from './random.js'
import type { World } from './world.js'

/**
 * One direction between a client's machine and a broker's machine, shared by all their connections.
 */
export interface Link {
  /** The shortest time that a packet is under way, in ms. */
  latency: number
  /** The longest random delay in addition to `latency`, in ms. */
  jitter: number
  /** While true, no packet arrives. */
  isBlocked: boolean
  /** The pipes that have packets waiting for `unblock`. */
  readonly waiting: Set<Pipe>
}

/** Makes a link. `jitterMs` is the longest random delay in addition to `latencyMs`. */
export function makeLink({
  latencyMs,
  jitterMs,
}: {
  readonly latencyMs: number
  readonly jitterMs: number
}): Link {
  return { latency: latencyMs, jitter: jitterMs, isBlocked: false, waiting: new Set() }
}

/** Stops all packets on the link until `unblock`. */
export function block(link: Link): void {
  link.isBlocked = true
}

/** Lets the waiting packets and all later packets pass. */
export function unblock(link: Link): void {
  link.isBlocked = false
  const pipes = [...link.waiting]
  link.waiting.clear()
  for (const pipe of pipes) pipe.flush()
}

interface Packet {
  readonly bytes: number
  /** Called when the packet arrives. Does nothing for a packet that is lost. */
  arrive: () => void
}

const doNothing = () => {}

export class Pipe {
  readonly #world: World
  readonly #random: Random
  readonly #link: Link
  #underWay: Packet[] = []
  /** When the newest packet arrives. A later packet must not arrive earlier. */
  #lastArrival = 0
  /** False from the moment a packet meets a blocked link, until `unblock`. */
  #isFlowing = true
  #isCut = false
  /** The number of bytes that were sent and have not arrived. */
  bytes = 0

  constructor(world: World, random: Random, link: Link) {
    this.#world = world
    this.#random = random
    this.#link = link
  }

  get packetsUnderWay(): number {
    return this.#underWay.length
  }

  /** Sends a packet. @param arrive Called when the packet arrives. */
  send(bytes: number, arrive: () => void): void {
    if (this.#isCut) return
    this.bytes += bytes
    this.#underWay.push({ bytes, arrive })
    if (this.#isFlowing) this.#schedule()
  }

  /** Loses all packets under way except the first `kept`. */
  lose(kept: number): void {
    for (let i = kept; i < this.#underWay.length; i++) this.#underWay[i]!.arrive = doNothing
  }

  /** Loses all packets under way except the first `kept`, and all later packets. */
  cut(kept: number): void {
    this.lose(kept)
    this.#isCut = true
  }

  /** Schedules all packets under way again, because the link is unblocked. */
  flush(): void {
    if (this.#isFlowing) return
    this.#isFlowing = true
    for (let i = 0; i < this.#underWay.length; i++) this.#schedule()
  }

  #schedule(): void {
    const { latency, jitter } = this.#link
    const arrival = this.#world.now + latency + this.#random.next() * jitter
    this.#lastArrival = Math.max(this.#lastArrival, arrival)
    this.#world.at(this.#lastArrival, this.#arrive)
  }

  readonly #arrive = (): void => {
    // `flush` schedules the packet again when the link is unblocked.
    if (!this.#isFlowing) return
    if (this.#link.isBlocked) {
      this.#isFlowing = false
      this.#link.waiting.add(this)
      return
    }
    const packet = this.#underWay.shift()
    // Calls that `send` scheduled before a block may still come after `flush`, which schedules
    // calls for the same packets. So there may be more calls than packets.
    if (packet === undefined) return
    this.bytes -= packet.bytes
    packet.arrive()
  }
}
