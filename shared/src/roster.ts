/**
 * What a session holds or waits for, by number: locks by fence, requests by id; at the broker and
 * at the client. A hash table whose slots are the members themselves.
 *
 * A `Map` keeps the place of what was deleted until it is made anew, and each one that is made anew
 * hangs on the one before: with locks that come and go by the thousand a second, that is garbage
 * which outlives its time. Here a place is free once its member has left, and an empty roster has
 * no places at all. Numbers only rise, so in order of number is in order of arrival.
 */

interface Member {
  /** What its session knows it by; rises from one member to the next. */
  readonly number: number
}

/** Fewest places of a roster that was ever used. The number of places is a power of two. */
const leastPlaces = 4

/** So many stay once they were needed: locks that come and go would have them made all the time. */
const placesKept = 32

const noPlaces: never[] = []

/**
 * Spreads numbers over the places. Numbers that follow each other must not fill neighbouring
 * places: to remove one of ten thousand in a row would visit all that are behind it. Numbers beyond
 * 32 bits are spread by their upper half too, because a client chooses the ids of its requests.
 */
function spread(number: number): number {
  const mixed = Math.imul(number, 0x9e37_79b1) ^ Math.imul(number / 2 ** 32, 0x85eb_ca6b)
  return mixed ^ (mixed >>> 15)
}

export class Roster<T extends Member> {
  #places: (T | undefined)[] = noPlaces
  #size = 0

  get size(): number {
    return this.#size
  }

  get(number: number): T | undefined {
    return this.#size === 0 ? undefined : this.#places[this.#placeOf(number)]
  }

  add(member: T): void {
    const { length } = this.#places
    if (this.#size >= length * 0.75) this.#resize(Math.max(leastPlaces, length * 2))
    this.#places[this.#placeOf(member.number)] = member
    this.#size++
  }

  remove(member: T): void {
    const places = this.#places
    let gap = this.#size === 0 ? 0 : this.#placeOf(member.number)
    if (places[gap] !== member) return
    // Whoever was turned away at the gap moves up, so that a search may end at the first gap.
    const last = places.length - 1
    for (let at = (gap + 1) & last; places[at] !== undefined; at = (at + 1) & last) {
      const home = spread(places[at]!.number) & last
      if (((at - home) & last) < ((at - gap) & last)) continue
      places[gap] = places[at]
      gap = at
    }
    places[gap] = undefined
    this.#size--
    if (this.#size * 8 < places.length && places.length > placesKept) {
      this.#resize(places.length / 2)
    }
  }

  /** All there are now, in order of number. */
  values(): T[] {
    const members = this.#places.filter((member) => member !== undefined)
    return members.sort((a, b) => a.number - b.number)
  }

  /** Where this number is, or would be. */
  #placeOf(number: number): number {
    const places = this.#places
    const last = places.length - 1
    let at = spread(number) & last
    for (
      let member = places[at];
      member !== undefined && member.number !== number;
      member = places[at]
    ) {
      at = (at + 1) & last
    }
    return at
  }

  #resize(length: number): void {
    const members = this.#places
    this.#places = new Array<T | undefined>(length).fill(undefined)
    for (const member of members) {
      if (member !== undefined) this.#places[this.#placeOf(member.number)] = member
    }
  }
}
