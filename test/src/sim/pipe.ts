/**
 * One direction of one connection, as TCP has it: packets arrive in order or not at all, none is
 * lost from the middle. A way that is blocked holds them back; a cut loses a suffix of them.
 */
import type { Random } from './random.js'
import type { World } from './world.js'

/** One direction between a client's machine and the broker's, shared by all their connections. */
export interface Way {
  /** Least time under way, in ms. */
  latency: number
  /** What chance may add to it, in ms. */
  jitter: number
  /** Nothing arrives until it is unblocked. */
  isBlocked: boolean
  /** The pipes that packets wait in. */
  readonly waiting: Set<Pipe>
}

export function makeWay(latency: number, jitter: number): Way {
  return { latency, jitter, isBlocked: false, waiting: new Set() }
}

export function block(way: Way): void {
  way.isBlocked = true
}

export function unblock(way: Way): void {
  way.isBlocked = false
  const pipes = [...way.waiting]
  way.waiting.clear()
  for (const pipe of pipes) pipe.flush()
}

interface Packet {
  readonly bytes: number
  arrive: () => void
}

const nothing = () => {}

export class Pipe {
  readonly #world: World
  readonly #random: Random
  readonly #way: Way
  #underWay: Packet[] = []
  #lastArrival = 0
  #isFlowing = true
  #isCut = false
  /** Bytes sent that have not arrived. */
  bytes = 0

  constructor(world: World, random: Random, way: Way) {
    this.#world = world
    this.#random = random
    this.#way = way
  }

  get packetsUnderWay(): number {
    return this.#underWay.length
  }

  send(bytes: number, arrive: () => void): void {
    if (this.#isCut) return
    this.bytes += bytes
    this.#underWay.push({ bytes, arrive })
    if (this.#isFlowing) this.#schedule()
  }

  /** Loses all but the first `kept` packets of those under way. */
  lose(kept: number): void {
    for (let i = kept; i < this.#underWay.length; i++) this.#underWay[i]!.arrive = nothing
  }

  /** The same, and all that are sent later are lost too. */
  cut(kept: number): void {
    this.lose(kept)
    this.#isCut = true
  }

  /** The way is open again: what waited follows. */
  flush(): void {
    if (this.#isFlowing) return
    this.#isFlowing = true
    for (let i = 0; i < this.#underWay.length; i++) this.#schedule()
  }

  #schedule(): void {
    const { latency, jitter } = this.#way
    const arrival = this.#world.now + latency + this.#random.next() * jitter
    this.#lastArrival = Math.max(this.#lastArrival, arrival)
    this.#world.at(this.#lastArrival, this.#arrive)
  }

  readonly #arrive = (): void => {
    if (!this.#isFlowing) return
    if (this.#way.isBlocked) {
      this.#isFlowing = false
      this.#way.waiting.add(this)
      return
    }
    const packet = this.#underWay.shift()
    if (packet === undefined) return
    this.bytes -= packet.bytes
    packet.arrive()
  }
}
