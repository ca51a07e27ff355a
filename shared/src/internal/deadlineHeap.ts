/**
 * What is due when: one ordered structure for every deadline of a kind, so that a million deadlines
 * cost one timer and none of them costs anything until it comes.
 *
 * A binary heap; each subject knows its own deadline, and that its place in the heap, so that it is
 * moved or removed in O(log n) and nothing stale is left behind. Deadlines that are equal fall due
 * in the order they were set.
 */

interface Deadline<S> {
  at: number
  /** Breaks ties by age, which keeps a replay in step with its original. */
  order: number
  /** In the heap; -1 while it is not set. */
  place: number
  readonly subject: S
}

interface Subject<S> {
  [slot: symbol]: Deadline<S> | undefined
}

export class DeadlineHeap<S extends object> {
  readonly #heap: Deadline<S>[] = []
  /**
   * Where a subject has its deadline, which it keeps when that is over, for the next time. A `Map`
   * of subjects that come and go by the thousand a second would leave garbage that gets old.
   */
  readonly #slot = Symbol('deadline')
  #order = 0

  /** How many deadlines are set. */
  get size(): number {
    return this.#heap.length
  }

  /** When the earliest deadline is due; Infinity if there is none. */
  get next(): number {
    return this.#heap[0]?.at ?? Infinity
  }

  /** When this subject is due; undefined if it has no deadline. */
  dueAt(subject: S): number | undefined {
    const deadline = this.#of(subject)
    return isSet(deadline) ? deadline.at : undefined
  }

  /** Sets the subject's deadline, in place of the one it may have. */
  set(subject: S, at: number): void {
    const order = this.#order++
    const deadline = this.#of(subject) ?? this.#give(subject)
    const later = at >= deadline.at
    deadline.at = at
    deadline.order = order
    if (!isSet(deadline)) {
      this.#put(deadline, this.#heap.length)
      this.#rise(deadline)
    } else if (later) this.#sink(deadline)
    else this.#rise(deadline)
  }

  /** Forgets the subject's deadline; false if it had none. */
  delete(subject: S): boolean {
    const deadline = this.#of(subject)
    if (!isSet(deadline)) return false
    this.#pull(deadline)
    return true
  }

  /** Takes out the earliest subject that is due at `now`; undefined if none is. */
  popDue(now: number): S | undefined {
    const first = this.#heap[0]
    if (first === undefined || first.at > now) return undefined
    this.#pull(first)
    return first.subject
  }

  #of(subject: S): Deadline<S> | undefined {
    return (subject as Subject<S>)[this.#slot]
  }

  #give(subject: S): Deadline<S> {
    const deadline = { at: 0, order: 0, place: -1, subject }
    ;(subject as Subject<S>)[this.#slot] = deadline
    return deadline
  }

  #pull(deadline: Deadline<S>): void {
    const { place } = deadline
    deadline.place = -1
    const last = this.#heap.pop()!
    if (last === deadline) return
    this.#put(last, place)
    this.#rise(last)
    this.#sink(last)
  }

  #put(deadline: Deadline<S>, place: number): void {
    this.#heap[place] = deadline
    deadline.place = place
  }

  #rise(deadline: Deadline<S>): void {
    while (deadline.place > 0) {
      const place = deadline.place
      const parent = this.#heap[(place - 1) >> 1]!
      if (!isBefore(deadline, parent)) return
      this.#put(parent, place)
      this.#put(deadline, (place - 1) >> 1)
    }
  }

  #sink(deadline: Deadline<S>): void {
    for (;;) {
      const place = deadline.place
      const left = this.#heap[2 * place + 1]
      if (left === undefined) return
      const right = this.#heap[2 * place + 2]
      const child = right !== undefined && isBefore(right, left) ? right : left
      if (!isBefore(child, deadline)) return
      const childPlace = child.place
      this.#put(child, place)
      this.#put(deadline, childPlace)
    }
  }
}

function isSet<S>(deadline: Deadline<S> | undefined): deadline is Deadline<S> {
  return deadline !== undefined && deadline.place >= 0
}

function isBefore<S>(a: Deadline<S>, b: Deadline<S>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
