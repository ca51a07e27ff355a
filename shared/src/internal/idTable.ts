/**
 * A hash table of objects. Each object (a member of the table) has an id, which is an integer.
 * Client and broker use this table to find the requests of a session by their ids, and the locks of
 * a session by their fences. A fence is the number of a grant.
 *
 * A `Map` would leave long-lived garbage when thousands of locks a second are added and removed. A
 * `Map` keeps tombstones for deleted keys until V8 replaces the inner table of the `Map`. Each
 * former inner table refers to its successor, so the former tables form a chain. A former table
 * that has reached V8's old generation stays until a full garbage collection. Until then the
 * former table keeps all later tables of the chain in memory. In this class a slot is free as soon
 * as its member is removed. A table has no slots before its first member, and at most 32 slots
 * after its last member was removed.
 *
 * Collisions are resolved by linear probing. The hash of a member's id gives the member's home
 * slot. If that slot is taken, the table puts the member into the first free slot after the home
 * slot. No empty slot may lie between a member and its home slot, so `remove` moves members towards
 * their home slots.
 */

interface TableMember {
  /** The id of the member in this table. No two members of a table have the same id. */
  readonly tableId: number
}

/** The fewest slots of a table that has members. The number of slots is always a power of two. */
const minSlots = 4

/**
 * A table with this many slots or fewer does not shrink. A session that adds and removes locks all
 * the time would otherwise allocate new slots all the time.
 */
const slotsKept = 32

const noSlots: never[] = []

/**
 * The hash of an id. Consecutive ids must not get neighbouring slots, because `remove` visits every
 * member between the removed member and the next empty slot. The bits above the lowest 32 count
 * too, because a client chooses the ids of its requests and could choose ids with equal low bits.
 * The factors are two odd numbers with mixed bits. `>>> 15` brings high bits down to the low bits,
 * which alone determine the home slot.
 */
function hash(id: number): number {
  const mixedLowBits = Math.imul(id, 0x9e37_79b1)
  // Nearly all ids of requests are below 2 ** 32, and their hash needs no division.
  const mixed = id < 2 ** 32 ? mixedLowBits : mixedLowBits ^ Math.imul(id / 2 ** 32, 0x85eb_ca6b)
  return mixed ^ (mixed >>> 15)
}

export class IdTable<T extends TableMember> {
  #slots: (T | undefined)[] = noSlots
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The member with this id; undefined if the table has no such member. */
  get(id: number): T | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#slotOf(id)]
  }

  /** Adds a member. The table must not have a member with this id. */
  add(member: T): void {
    const { length } = this.#slots
    // At least a quarter of the slots stays empty, because searches get long in a full table.
    if (this.#size >= length * 0.75) this.#resize(Math.max(minSlots, length * 2))
    this.#slots[this.#slotOf(member.tableId)] = member
    this.#size++
  }

  /** Removes a member. Does nothing if the table does not contain this object. */
  remove(member: T): void {
    const slots = this.#slots
    // An empty table may have no slots to search. Its slot 0 is empty or does not exist, so the
    // method returns in the next line.
    let hole = this.#size === 0 ? 0 : this.#slotOf(member.tableId)
    if (slots[hole] !== member) return
    // The hole is the slot to empty. A search ends at the first empty slot, so the hole must not
    // lie between a member and the home slot of that member. The loop visits each member between
    // the hole and the next empty slot. It counts the steps from the member back to its home slot,
    // and back to the hole. `mask` makes the steps cyclic: before slot 0 comes the last slot.
    // - If the home slot is nearer than the hole, the member stays, because the hole lies before
    //   the home slot.
    // - Otherwise the member moves into the hole. The former slot of the member is then the hole.
    const mask = slots.length - 1
    for (let slot = (hole + 1) & mask; slots[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = hash(slots[slot]!.tableId) & mask
      const stepsToHome = (slot - home) & mask
      const stepsToHole = (slot - hole) & mask
      if (stepsToHome < stepsToHole) continue
      slots[hole] = slots[slot]
      hole = slot
    }
    slots[hole] = undefined
    this.#size--
    // If fewer than an eighth of the slots have members, half of the slots is enough by far. So the
    // next `add` does not resize the table again.
    if (this.#size * 8 < slots.length && slots.length > slotsKept) {
      this.#resize(slots.length / 2)
    }
  }

  /**
   * All members in a new array, in ascending order of their ids. The ids of requests and the fences
   * of locks rise, so for requests and locks this is the order in which they were added.
   */
  values(): T[] {
    const members = this.#slots.filter((member) => member !== undefined)
    return members.sort((a, b) => a.tableId - b.tableId)
  }

  /** The slot that holds the member with this id, or the slot where it would be added. */
  #slotOf(id: number): number {
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = hash(id) & mask
    for (
      let member = slots[slot];
      member !== undefined && member.tableId !== id;
      member = slots[slot]
    ) {
      slot = (slot + 1) & mask
    }
    return slot
  }

  #resize(length: number): void {
    const formerSlots = this.#slots
    this.#slots = new Array<T | undefined>(length).fill(undefined)
    for (const member of formerSlots) {
      if (member !== undefined) this.#slots[this.#slotOf(member.tableId)] = member
    }
  }
}
