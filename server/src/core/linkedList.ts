/**
 * A doubly linked list whose members hold the links in their own fields `previous` and `next`. So a
 * member is removed in constant time, and the list needs no additional object for a member.
 */

export class LinkedList<T extends { previous: T | undefined; next: T | undefined }> {
  first: T | undefined = undefined
  last: T | undefined = undefined
  length = 0

  /** Adds a member at the end. The member must not be in a list yet. */
  append(member: T): void {
    member.previous = this.last
    member.next = undefined
    if (this.last === undefined) this.first = member
    else this.last.next = member
    this.last = member
    this.length++
  }

  /** Inserts `member` behind `predecessor`; at the front if `predecessor` is undefined. */
  insertAfter(member: T, predecessor: T | undefined): void {
    const next = predecessor === undefined ? this.first : predecessor.next
    member.previous = predecessor
    member.next = next
    if (predecessor === undefined) this.first = member
    else predecessor.next = member
    if (next === undefined) this.last = member
    else next.previous = member
    this.length++
  }

  /** Removes a member of this list, and clears its links. */
  remove(member: T): void {
    if (member.previous === undefined) this.first = member.next
    else member.previous.next = member.next
    if (member.next === undefined) this.last = member.previous
    else member.next.previous = member.previous
    member.previous = undefined
    member.next = undefined
    this.length--
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let member = this.first; member !== undefined; member = member.next) yield member
  }
}
