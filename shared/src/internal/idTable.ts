/**
 * What a session holds or waits for, by number: locks by fence, requests by id; at the broker and
 * at the client. A hash table whose slots are the members themselves.
 *
 * A `Map` keeps the place of what was deleted until it is made anew, and each one that is made anew
 * hangs on the one before: with locks that come and go by the thousand a second, that is garbage
 * which outlives its time. Here a place is free once its member has left, and an empty roster has
 * no places at all. Numbers only rise, so in order of number is in order of arrival.
 */

interface TableMember {
  /** What its session knows it by; rises from one member to the next. */
  readonly tableId: number
}

/** Fewest places of a roster that was ever used. The number of places is a power of two. */
const minSlots = 4

/** So many stay once they were needed: locks that come and go would have them made all the time. */
const slotsKept = 32

const noSlots: never[] = []

/**
 * Spreads numbers over the places. Numbers that follow each other must not fill neighbouring
 * places: to remove one of ten thousand in a row would visit all that are behind it. Numbers beyond
 * 32 bits are spread by their upper half too, because a client chooses the ids of its requests.
 */
function spread(number: number): number {
  const mixed = Math.imul(number, 0x9e37_79b1) ^ Math.imul(number / 2 ** 32, 0x85eb_ca6b)
  return mixed ^ (mixed >>> 15)
}

export class IdTable<T extends TableMember> {
  #slots: (T | undefined)[] = noSlots
  #size = 0

  get size(): number {
    return this.#size
  }

  get(number: number): T | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#slotOf(number)]
  }

  add(member: T): void {
    const { length } = this.#slots
    if (this.#size >= length * 0.75) this.#resize(Math.max(minSlots, length * 2))
    this.#slots[this.#slotOf(member.tableId)] = member
    this.#size++
  }

  remove(member: T): void {
    const places = this.#slots
    let gap = this.#size === 0 ? 0 : this.#slotOf(member.tableId)
    if (places[gap] !== member) return
    // Whoever was turned away at the gap moves up, so that a search may end at the first gap.
    const last = places.length - 1
    for (let at = (gap + 1) & last; places[at] !== undefined; at = (at + 1) & last) {
      const home = spread(places[at]!.tableId) & last
      if (((at - home) & last) < ((at - gap) & last)) continue
      places[gap] = places[at]
      gap = at
    }
    places[gap] = undefined
    this.#size--
    if (this.#size * 8 < places.length && places.length > slotsKept) {
      this.#resize(places.length / 2)
    }
  }

  /** All there are now, in order of number. */
  values(): T[] {
    const members = this.#slots.filter((member) => member !== undefined)
    return members.sort((a, b) => a.tableId - b.tableId)
  }

  /** Where this number is, or would be. */
  #slotOf(number: number): number {
    const places = this.#slots
    const last = places.length - 1
    let at = spread(number) & last
    for (
      let member = places[at];
      member !== undefined && member.tableId !== number;
      member = places[at]
    ) {
      at = (at + 1) & last
    }
    return at
  }

  #resize(length: number): void {
    const members = this.#slots
    this.#slots = new Array<T | undefined>(length).fill(undefined)
    for (const member of members) {
      if (member !== undefined) this.#slots[this.#slotOf(member.tableId)] = member
    }
  }
}
