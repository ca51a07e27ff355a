/**
 * What is due when: one ordered structure for every deadline of a kind, so that a million deadlines
 * cost one timer and none of them costs anything until it comes.
 *
 * A binary heap, with each subject's place in it beside, so that a deadline is moved or removed in
 * O(log n) and nothing stale is left behind. Deadlines that are equal fall due in the order they
 * were set.
 */

interface Deadline<S> {
  at: number
  /** Breaks ties by age, which keeps a replay in step with its original. */
  order: number
  place: number
  readonly subject: S
}

export class Deadlines<S> {
  readonly #heap: Deadline<S>[] = []
  readonly #bySubject = new Map<S, Deadline<S>>()
  #order = 0
  /**
   * What was taken last, kept with its place in the map in case it is set again: ten thousand pings
   * every few seconds would each leave a deadline and a place behind.
   */
  #taken: Deadline<S> | undefined

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
    const deadline = this.#bySubject.get(subject)
    return deadline === this.#taken ? undefined : deadline?.at
  }

  /** Sets the subject's deadline, in place of the one it may have. */
  set(subject: S, at: number): void {
    const order = this.#order++
    const deadline = this.#bySubject.get(subject)
    if (deadline === undefined) {
      const added = { at, order, place: this.#heap.length, subject }
      this.#bySubject.set(subject, added)
      this.#add(added)
      return
    }
    const later = at >= deadline.at
    deadline.at = at
    deadline.order = order
    if (deadline === this.#taken) {
      this.#taken = undefined
      this.#add(deadline)
    } else if (later) this.#sink(deadline)
    else this.#rise(deadline)
  }

  /** Forgets the subject's deadline; false if it had none. */
  delete(subject: S): boolean {
    const deadline = this.#bySubject.get(subject)
    if (deadline === undefined) return false
    this.#bySubject.delete(subject)
    if (deadline !== this.#taken) {
      this.#pull(deadline)
      return true
    }
    this.#taken = undefined
    return false
  }

  /** Takes out the earliest subject that is due at `now`; undefined if none is. */
  takeDue(now: number): S | undefined {
    if (this.#taken !== undefined) this.delete(this.#taken.subject)
    const first = this.#heap[0]
    if (first === undefined || first.at > now) return undefined
    this.#pull(first)
    this.#taken = first
    return first.subject
  }

  #add(deadline: Deadline<S>): void {
    this.#put(deadline, this.#heap.length)
    this.#rise(deadline)
  }

  #pull(deadline: Deadline<S>): void {
    const last = this.#heap.pop()!
    if (last === deadline) return
    this.#put(last, deadline.place)
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

function isBefore<S>(a: Deadline<S>, b: Deadline<S>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
