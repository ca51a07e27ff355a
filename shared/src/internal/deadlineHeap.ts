/**
 * A heap of deadlines: when each of many subjects (locks, sessions, requests) is due. The owner
 * sets one timer, for the earliest deadline. So a million deadlines need one timer, and a deadline
 * costs nothing until it is due.
 *
 * It is a binary heap. A subject stores its own deadline, and a deadline stores its index in the
 * heap. So any deadline is moved or removed in O(log n), and the heap never holds outdated entries.
 * Subjects with equal deadlines fall due in the order in which the deadlines were set.
 */

interface Deadline<S> {
  at: number
  /**
   * Rises with each `set`. Orders equal deadlines, so that a replay of a log gives the same order.
   */
  order: number
  /** Index in the heap; -1 while the deadline is not set. */
  index: number
  readonly subject: S
}

interface Subject<S> {
  [property: symbol]: Deadline<S> | undefined
}

export class DeadlineHeap<S extends object> {
  readonly #heap: Deadline<S>[] = []
  /**
   * The property in which a subject keeps its deadline. The subject keeps the object after the
   * deadline is over and reuses it. A `Map` would leave long-lived garbage instead, because
   * subjects come and go by the thousand a second.
   */
  readonly #property = Symbol('deadline')
  #order = 0

  /** How many deadlines are set. */
  get size(): number {
    return this.#heap.length
  }

  /** Time of the earliest deadline; `Infinity` if no deadline is set. */
  get next(): number {
    return this.#heap[0]?.at ?? Infinity
  }

  /** Time of the deadline of this subject; undefined if it has none. */
  dueAt(subject: S): number | undefined {
    const deadline = this.#of(subject)
    return isSet(deadline) ? deadline.at : undefined
  }

  /** Sets the deadline of a subject. Reindexs the one that the subject may have. */
  set(subject: S, at: number): void {
    const order = this.#order++
    const deadline = this.#of(subject) ?? this.#create(subject)
    const later = at >= deadline.at
    deadline.at = at
    deadline.order = order
    if (!isSet(deadline)) {
      this.#putAt(deadline, this.#heap.length)
      this.#siftUp(deadline)
    } else if (later) this.#siftDown(deadline)
    else this.#siftUp(deadline)
  }

  /** Removes the deadline of a subject. Returns false if the subject had none. */
  delete(subject: S): boolean {
    const deadline = this.#of(subject)
    if (!isSet(deadline)) return false
    this.#remove(deadline)
    return true
  }

  /** Removes the earliest deadline that is due at `now` and returns its subject; else undefined. */
  popDue(now: number): S | undefined {
    const first = this.#heap[0]
    if (first === undefined || first.at > now) return undefined
    this.#remove(first)
    return first.subject
  }

  #of(subject: S): Deadline<S> | undefined {
    return (subject as Subject<S>)[this.#property]
  }

  #create(subject: S): Deadline<S> {
    const deadline = { at: 0, order: 0, index: -1, subject }
    ;(subject as Subject<S>)[this.#property] = deadline
    return deadline
  }

  #remove(deadline: Deadline<S>): void {
    const { index } = deadline
    deadline.index = -1
    const last = this.#heap.pop()!
    if (last === deadline) return
    this.#putAt(last, index)
    this.#siftUp(last)
    this.#siftDown(last)
  }

  #putAt(deadline: Deadline<S>, index: number): void {
    this.#heap[index] = deadline
    deadline.index = index
  }

  #siftUp(deadline: Deadline<S>): void {
    while (deadline.index > 0) {
      const index = deadline.index
      const parent = this.#heap[(index - 1) >> 1]!
      if (!isBefore(deadline, parent)) return
      this.#putAt(parent, index)
      this.#putAt(deadline, (index - 1) >> 1)
    }
  }

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
