/**
 * A linked list in the order in which its members were added. A `Walk` visits the members, and may
 * pause while members come and go. For example, a query pauses its walk while its client does not
 * read.
 *
 * A paused iterator of a `Map` or `Set` would keep the memory of all members that were deleted
 * meanwhile. A paused walk keeps only a bookmark, a list member whose `order` is 0.
 */
import { LinkedList } from './linkedList.js'

/** A member of an {@link OrderedList}. */
export interface Ordered<T> {
  /** Position among all members ever added, from 1; 0 before `append`, and for a bookmark. */
  order: number
  previous: T | undefined
  next: T | undefined
}

export class OrderedList<T extends Ordered<T>> {
  readonly #members = new LinkedList<T>()
  readonly #newBookmark: () => T
  #lastOrder = 0

  /** @param newBookmark Makes the bookmark of a walk: a member with the order 0. */
  constructor(newBookmark: () => T) {
    this.#newBookmark = newBookmark
  }

  append(member: T): void {
    member.order = ++this.#lastOrder
    this.#members.append(member)
  }

  remove(member: T): void {
    this.#members.remove(member)
  }

  /** Starts a walk over the present members. The list may change during the walk. */
  walk(): Walk<T> {
    return new Walk(this.#members, this.#lastOrder, this.#newBookmark())
  }
}

/**
 * Visits the members that the list had when the walk began, in their order. Skips a member that is
 * removed before its visit.
 */
export class Walk<T extends Ordered<T>> {
  readonly #members: LinkedList<T>
  /** The walk ends before the first member with a higher order, which was added later. */
  readonly #lastOrder: number
  /** Stands behind the member that was visited last. */
  readonly #bookmark: T
  readonly #onEnd: () => void
  /** The order of the member that was visited last. */
  #visitedOrder = 0
  #isOver = false

  constructor(
    members: LinkedList<T>,
    lastOrder: number,
    bookmark: T,
    onEnd: () => void = () => {},
  ) {
    this.#members = members
    this.#lastOrder = lastOrder
    this.#bookmark = bookmark
    this.#onEnd = onEnd
    // The bookmark begins at the front of the list.
    members.insertAfter(bookmark, undefined)
  }

  /** Whether `next` has found no further member, or `end` was called. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The next member. After the last member, ends the walk and returns undefined. */
  next(): T | undefined {
    if (this.#isOver) return undefined
    let member = this.#bookmark.next
    // Members with the order 0 are the bookmarks of other walks.
    while (member?.order === 0) member = member.next
    if (member === undefined || member.order > this.#lastOrder) {
      this.end()
      return undefined
    }
    this.#members.remove(this.#bookmark)
    this.#members.insertAfter(this.#bookmark, member)
    this.#visitedOrder = member.order
    return member
  }

  /** Whether the walk will still visit this member. */
  isYetToVisit({ order }: T): boolean {
    return !this.#isOver && order > this.#visitedOrder && order <= this.#lastOrder
  }

  /**
   * Ends the walk, and removes its bookmark from the list. Call if the walk stops before `next` has
   * returned undefined; otherwise the bookmark stays in the list for ever.
   */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#members.remove(this.#bookmark)
    this.#onEnd()
  }
}
