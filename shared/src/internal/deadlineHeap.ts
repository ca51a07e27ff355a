/**
 * A heap of deadlines. A deadline belongs to a subject, such as a lock, a session or a request. The
 * code that owns the heap sets one timer, for the earliest deadline, so a million deadlines need
 * one timer. All times are in ms by one clock, which the code that owns the heap chooses.
 *
 * The heap is a binary heap: the children of the deadline at index `i` are at the indexes `2i + 1`
 * and `2i + 2`. No child is earlier than its parent. A subject stores its deadline in a property,
 * and the deadline stores its own index in the heap. So the heap can move or remove any deadline in
 * O(log n), and a removed deadline leaves no entry in the heap. If deadlines have the same time,
 * they are due in the order in which they were set.
 */

interface Deadline<S> {
  /** The time at which the deadline passes. The subject is then due. */
  at: number
  /**
   * The number of the `set` call that set this deadline. Deadlines of the same time are ordered by
   * this number, so that brokers that make the same calls get the same order.
   */
  order: number
  /** Index in the heap; -1 while the deadline is not set. */
  index: number
  readonly subject: S
}

/**
 * The properties that heaps add to a subject. A subject may be in several heaps. For each heap, the
 * subject has one property, named by the symbol of the heap. This property stores the deadline of
 * the subject in that heap.
 */
interface DeadlineCarrier<S> {
  [property: symbol]: Deadline<S> | undefined
}

export class DeadlineHeap<S extends object> {
  readonly #heap: Deadline<S>[] = []
  /**
   * The property in which a subject stores its deadline. When a deadline is removed, the subject
   * keeps the `Deadline` object and reuses the object for its next deadline. A `Map` from subjects
   * to deadlines would be slower, because thousands of subjects a second are added and removed. V8
   * would copy such a `Map` to a new table again and again, and would free the former tables late.
   * See the table in `test/bench/README.md`.
   */
  readonly #property = Symbol('deadline')
  #setCount = 0

  /** How many deadlines are set. */
  get size(): number {
    return this.#heap.length
  }

  /** Time of the earliest deadline; `Infinity` if no deadline is set. */
  get next(): number {
    return this.#heap[0]?.at ?? Infinity
  }

  /** Time of the deadline of this subject; undefined if the subject has no deadline. */
  dueAt(subject: S): number | undefined {
    const deadline = this.#deadlineOf(subject)
    return isSet(deadline) ? deadline.at : undefined
  }

  /** Sets the deadline of a subject, in place of the deadline that the subject may have. */
  set(subject: S, dueAt: number): void {
    const order = this.#setCount++
    const deadline = this.#deadlineOf(subject) ?? this.#create(subject)
    // With an unchanged time the deadline moves down too, because its new `order` is higher.
    const movesDown = dueAt >= deadline.at
    deadline.at = dueAt
    deadline.order = order
    if (!isSet(deadline)) {
      this.#putAt(deadline, this.#heap.length)
      this.#siftUp(deadline)
    } else if (movesDown) this.#siftDown(deadline)
    else this.#siftUp(deadline)
  }

  /** Removes the deadline of a subject. Returns false if the subject had no deadline. */
  delete(subject: S): boolean {
    const deadline = this.#deadlineOf(subject)
    if (!isSet(deadline)) return false
    this.#remove(deadline)
    return true
  }

  /**
   * Removes the deadline of a subject, and frees the memory that the subject keeps for its next
   * deadline. For a subject that will probably have no further deadline.
   */
  forget(subject: S): void {
    if (this.#deadlineOf(subject) === undefined) return
    this.delete(subject)
    ;(subject as DeadlineCarrier<S>)[this.#property] = undefined
  }

  /**
   * Removes the earliest deadline and returns its subject. Returns undefined, and removes nothing,
   * if no deadline is due at `now`.
   */
  popDue(now: number): S | undefined {
    const earliest = this.#heap[0]
    if (earliest === undefined || earliest.at > now) return undefined
    this.#remove(earliest)
    return earliest.subject
  }

  #deadlineOf(subject: S): Deadline<S> | undefined {
    return (subject as DeadlineCarrier<S>)[this.#property]
  }

  /** Makes the deadline object of a subject, which `set` then fills in and adds to the heap. */
  #create(subject: S): Deadline<S> {
    const deadline = { at: 0, order: 0, index: -1, subject }
    ;(subject as DeadlineCarrier<S>)[this.#property] = deadline
    return deadline
  }

  #remove(deadline: Deadline<S>): void {
    const { index } = deadline
    deadline.index = -1
    const last = this.#heap.pop()!
    if (last === deadline) return
    this.#putAt(last, index)
    // At most one of the two calls moves `last`.
    this.#siftUp(last)
    this.#siftDown(last)
  }

  #putAt(deadline: Deadline<S>, index: number): void {
    this.#heap[index] = deadline
    deadline.index = index
  }

  /** Moves a deadline towards the root of the heap, until its parent is not later. */
  #siftUp(deadline: Deadline<S>): void {
    while (deadline.index > 0) {
      const index = deadline.index
      const parentIndex = (index - 1) >> 1
      const parent = this.#heap[parentIndex]!
      if (!isBefore(deadline, parent)) return
      this.#putAt(parent, index)
      this.#putAt(deadline, parentIndex)
    }
  }

  /** Moves a deadline away from the root of the heap, until its children are not earlier. */
  #siftDown(deadline: Deadline<S>): void {
    for (;;) {
      const index = deadline.index
      const left = this.#heap[2 * index + 1]
      if (left === undefined) return
      const right = this.#heap[2 * index + 2]
      const child = right !== undefined && isBefore(right, left) ? right : left
      if (!isBefore(child, deadline)) return
      const childIndex = child.index
      this.#putAt(child, index)
      this.#putAt(deadline, childIndex)
    }
  }
}

function isSet<S>(deadline: Deadline<S> | undefined): deadline is Deadline<S> {
  return deadline !== undefined && deadline.index >= 0
}

function isBefore<S>(a: Deadline<S>, b: Deadline<S>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
