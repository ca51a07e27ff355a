/**
 * A snapshot that a command log reads in many turns of the event loop, while the table executes
 * commands. The snapshot has the state of the table at one moment: when the snapshot began.
 *
 * The snapshot reads the records one after the other. Before the table changes a record, the table
 * calls one of the methods `before…Change`. If the snapshot has not read the record yet, this
 * method copies the record. Later the snapshot yields the copy in place of the changed record. So
 * the snapshot has the same items as a `dump` (see `snapshot.ts`) made when the snapshot began.
 *
 * A record is copied as a whole. So even a key with 100,000 holders is copied in one long turn.
 */
import type { Barrier } from './barrierCalls.js'
import type { ChangeListener } from './changeListener.js'
import type { KeyWalk } from './keyTable.js'
import type { KeyState, Session } from './records.js'
import type { KeptResult } from './sharedResults.js'
import {
  itemsOfBarrier,
  itemsOfKept,
  itemsOfKey,
  itemsOfSession,
  type SnapshotItem,
  tableItem,
  withoutRepeatedResults,
} from './snapshotItems.js'
import type { LockTable } from './table.js'

export class GradualSnapshot implements ChangeListener {
  readonly #table: LockTable
  readonly #tableItem: SnapshotItem
  readonly #sessions: ListedRecords<Session>
  readonly #keys: KeysInOrder
  readonly #keptResults: ListedRecords<KeptResult>
  readonly #barriers: ListedRecords<Barrier<Session>>

  /**
   * Begins a snapshot. The caller must call {@link end} after it has read the last item that it
   * needs.
   *
   * @throws {Error} if another gradual snapshot of this table has not ended.
   */
  constructor(table: LockTable) {
    this.#table = table
    this.#tableItem = tableItem(table)
    this.#sessions = new ListedRecords(table.sessions.values(), itemsOfSession)
    this.#keys = new KeysInOrder(table.keys.walk())
    this.#keptResults = new ListedRecords(table.keptResults.values(), itemsOfKept)
    this.#barriers = new ListedRecords(table.barriers.values(), itemsOfBarrier)
    table.addChangeListener(this)
  }

  /**
   * Yields all items. The table may apply commands between two items. The caller may call this
   * method only once.
   */
  *items(): Generator<SnapshotItem> {
    yield this.#tableItem
    // Several records can share a result of `once`. The fence of the result identifies the result.
    const yieldedResultFences = new Set<number>()
    for (const records of [this.#sessions, this.#keys, this.#keptResults, this.#barriers]) {
      for (let items = records.next(); items !== undefined; items = records.next()) {
        yield* withoutRepeatedResults(items, yieldedResultFences)
      }
    }
  }

  /** Ends the snapshot, so that the table copies no more records. */
  end(): void {
    this.#keys.end()
    this.#table.removeChangeListener(this)
  }

  beforeSessionChange(session: Session): void {
    this.#sessions.copy(session)
  }

  beforeKeyChange(keyState: KeyState): void {
    this.#keys.copy(keyState)
  }

  beforeBarrierChange(barrier: Barrier<Session>): void {
    this.#barriers.copy(barrier)
  }

  beforeKeptResultChange(kept: KeptResult): void {
    this.#keptResults.copy(kept)
  }
}

/**
 * The records of one kind, such as the sessions, in a list that is made when the snapshot begins.
 * {@link KeysInOrder} is for the keys, of which there are too many for such a list.
 */
class ListedRecords<T> {
  readonly #records: readonly T[]
  readonly #itemsOf: (record: T) => SnapshotItem[]
  #nextIndex = 0
  /** Items of changed records; only of records whose items {@link next} has not returned yet. */
  readonly #copies = new Map<T, SnapshotItem[]>()
  /** The records whose items {@link next} has returned. */
  readonly #read = new Set<T>()

  constructor(records: Iterable<T>, itemsOf: (record: T) => SnapshotItem[]) {
    this.#records = [...records]
    this.#itemsOf = itemsOf
  }

  /** Copies a record that is about to change, if the record is neither copied nor read yet. */
  copy(record: T): void {
    // After the last listed record was read, no record needs a copy.
    if (this.#nextIndex === this.#records.length) return
    if (this.#copies.has(record) || this.#read.has(record)) return
    // Also copies a record made after the snapshot began, although this copy is never yielded. To
    // recognize such a record would need a set of all listed records.
    this.#copies.set(record, this.#itemsOf(record))
  }

  /** The items of the next record; undefined after the last record. */
  next(): SnapshotItem[] | undefined {
    if (this.#nextIndex === this.#records.length) return undefined
    const record = this.#records[this.#nextIndex++]!
    this.#read.add(record)
    const copy = this.#copies.get(record)
    this.#copies.delete(record)
    return copy ?? this.#itemsOf(record)
  }
}

/** A copy of the items of a key, which the snapshot yields later. */
interface KeyCopy {
  /** Lower for a key that came into use earlier. */
  readonly order: number
  readonly items: SnapshotItem[]
}

/**
 * The keys in use (locked or waited for), in the order in which they came into use. There can be a
 * million keys, so the snapshot makes no list of them, but walks over the table's own list. A key
 * that went out of use has left that list, so the walk does not reach this key. Therefore
 * `next` does not rely on the walk to find the copies, but takes them from a heap by `order`.
 */
class KeysInOrder {
  readonly #walk: KeyWalk
  /** The order of the key that the walk has visited last. */
  #visitedOrder = 0
  /** A binary heap: the copy with the lowest `order` is at the top. */
  readonly #copies: KeyCopy[] = []
  /** The orders of the keys in {@link #copies}. */
  readonly #copiedOrders = new Set<number>()

  constructor(walk: KeyWalk) {
    this.#walk = walk
  }

  /** Copies a key that is about to change, if the key is neither copied nor read yet. */
  copy(keyState: KeyState): void {
    if (!this.#walk.isYetToVisit(keyState) || this.#copiedOrders.has(keyState.order)) return
    this.#addCopy(keyState)
  }

  /** The items of the next key; undefined after the last key. */
  next(): SnapshotItem[] | undefined {
    for (;;) {
      const [earliest] = this.#copies
      if (earliest !== undefined && (this.#walk.isOver || earliest.order <= this.#visitedOrder)) {
        return this.#removeFirstCopy().items
      }
      const keyState = this.#walk.next()
      if (keyState === undefined) {
        if (this.#copies.length === 0) return undefined
        continue
      }
      this.#visitedOrder = keyState.order
      // The loop then returns a copy: of this key, or of an earlier key.
      if (this.#copiedOrders.has(keyState.order)) continue
      // The key of the earliest copy went out of use, so the walk did not visit that key. Its copy
      // comes before this key. So copy this key for later; the loop then returns the earliest copy.
      if (earliest !== undefined && earliest.order < keyState.order) this.#addCopy(keyState)
      else return itemsOfKey(keyState)
    }
  }

  end(): void {
    this.#walk.end()
  }

  /** Copies a key into the heap. */
  #addCopy(keyState: KeyState): void {
    const { order } = keyState
    const copies = this.#copies
    const copy: KeyCopy = { order, items: itemsOfKey(keyState) }
    this.#copiedOrders.add(order)
    // In the array of a binary heap, the parent of index `i` is at `(i - 1) >> 1`.
    let index = copies.push(copy) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (copies[parent]!.order < order) break
      copies[index] = copies[parent]!
      index = parent
    }
    copies[index] = copy
  }

  /** Removes and returns the copy of the earliest key, which is at the top of the heap. */
  #removeFirstCopy(): KeyCopy {
    const copies = this.#copies
    const first = copies[0]!
    const last = copies.pop()!
    this.#copiedOrders.delete(first.order)
    if (copies.length === 0) return first
    // Moves `last` down from the top until `last` is earlier than its children.
    let index = 0
    for (;;) {
      // The children of index `i` are at `2 * i + 1` and `2 * i + 2`.
      let child = 2 * index + 1
      if (child >= copies.length) break
      if (child + 1 < copies.length && copies[child + 1]!.order < copies[child]!.order) child++
      if (copies[child]!.order > last.order) break
      copies[index] = copies[child]!
      index = child
    }
    copies[index] = last
    return first
  }
}
