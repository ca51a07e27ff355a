/**
 * A hash table of objects by a number that rises from one object to the next: the locks of a
 * session by fence, and its requests by id. The core of the broker and the client both use it.
 *
 * Why not a `Map`: a `Map` keeps tombstones for deleted keys until it is rebuilt, and V8 links each
 * rebuilt table to the one before. When locks come and go by the thousand a second, these tables
 * are garbage that lives long. In this table a slot is free as soon as its member has left, and a
 * table without members has no slots at all.
 *
 * Collisions are resolved by linear probing: a member is in its home slot or in the first free slot
 * after it. No empty slot may lie between the two, so `remove` moves members up.
 */

interface TableMember {
  /** The number by which the session knows the member. Later members have higher numbers. */
  readonly tableId: number
}

/** Slots of the smallest table that is in use. The number of slots is always a power of two. */
const minSlots = 4

/**
 * A table keeps at least this many slots once it had them, because a session whose locks come and
 * go would otherwise allocate all the time.
 */
const slotsKept = 32

const noSlots: never[] = []

/**
 * The hash of a number. Consecutive numbers must not get neighbouring slots, because to remove one
 * of ten thousand in a row would then visit all that follow it. The upper half of a number beyond
 * 32 bits counts too, because a client chooses the ids of its requests.
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

  /** The member with this number; undefined if there is none. */
  get(number: number): T | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#slotOf(number)]
  }

  /** Adds a member. The caller makes sure that the table has no member with the same number. */
  add(member: T): void {
    const { length } = this.#slots
    if (this.#size >= length * 0.75) this.#resize(Math.max(minSlots, length * 2))
    this.#slots[this.#slotOf(member.tableId)] = member
    this.#size++
  }

  /** Removes a member. Does nothing if the table does not have this very object. */
  remove(member: T): void {
    const slots = this.#slots
    let gap = this.#size === 0 ? 0 : this.#slotOf(member.tableId)
    if (slots[gap] !== member) return
    // Members behind the gap whose home slot is not behind it move up, because a search ends at the
    // first empty slot.
    const last = slots.length - 1
    for (let at = (gap + 1) & last; slots[at] !== undefined; at = (at + 1) & last) {
      const home = spread(slots[at]!.tableId) & last
      if (((at - home) & last) < ((at - gap) & last)) continue
      slots[gap] = slots[at]
      gap = at
    }
    slots[gap] = undefined
    this.#size--
    if (this.#size * 8 < slots.length && slots.length > slotsKept) {
      this.#resize(slots.length / 2)
    }
  }

  /**
   * All members in a new array, in order of number, which is the order in which they were added.
   */
  values(): T[] {
    const members = this.#slots.filter((member) => member !== undefined)
    return members.sort((a, b) => a.tableId - b.tableId)
  }

  /** The slot that holds the member with this number, or the slot where it would be added. */
  #slotOf(number: number): number {
    const slots = this.#slots
    const last = slots.length - 1
    let at = spread(number) & last
    for (
      let member = slots[at];
      member !== undefined && member.tableId !== number;
      member = slots[at]
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
