/**
 * The watches of one connection for one kind of events: for changes of locks, or for changes of
 * queues. A watch gets the events of one key, or of all keys with one prefix. Watches of the same
 * key or prefix are one group. The group of a prefix covers every other group whose key or prefix
 * begins with this prefix. The index of the broker holds only the groups that no other group of the
 * connection covers. So the broker finds a connection at most once for each event, even if many
 * watches match. When the broker writes the event, `SessionWatches` finds the watches that match,
 * and charges the connection for this work.
 */
import type { DeferredMessage } from '../connection/sendQueue.js'
import { PrefixTree } from './prefixTree.js'
import type { KeySelection, TableSearch } from './queries.js'

/** A connection that watches. */
export interface Subscriber {
  /** Queues a message that is encoded when it is written. */
  defer(message: DeferredMessage): void
  /** Charges this connection for work of the broker, in units of work (see `workCosts.ts`). */
  charge(units: number): void
}

/** An event of a lock or a queue. All connections that watch its key share this object. */
export interface PublishedEvent {
  readonly key: string
  /** Number of the event; a later event has a higher number. */
  readonly sequence: number
  /** The event as JSON. */
  readonly text: string
  /** Counts one more place that keeps the event, such as a send queue. */
  retain(): void
  /** Counts one place fewer that keeps the event. */
  release(): void
}

/**
 * The index of the broker, which finds the connections that watch a key or prefix. `text` is a key
 * if `isKey` is true, and a prefix otherwise.
 */
export interface GroupIndex {
  add(text: string, isKey: boolean, watches: SessionWatches): void
  remove(text: string, isKey: boolean, watches: SessionWatches): void
}

/** The size of an event in a send queue is the length of its text plus this many characters. */
const extraEventChars = 64
/** When an event is encoded, one unit of work covers this many visited groups. */
const groupsPerUnit = 4
/** This many watches in a group cost as much as one more group. */
const watchesPerExtraGroup = 16

/** All watches of exactly the same key or prefix. */
class WatchGroup {
  /** The key or prefix. */
  readonly text: string
  readonly isKey: boolean
  /** For each watch id, the sequence number of the newest event that is older than the watch. */
  readonly #sinceById = new Map<number, number>()
  /** The sequence number that `add` got last. No watch has a higher number. */
  #newestSince = 0
  /** All ids of the group, joined by commas; undefined until an event needs them. */
  #ids: string | undefined
  isIndexed = false

  constructor(text: string, isKey: boolean) {
    this.text = text
    this.isKey = isKey
  }

  get size(): number {
    return this.#sinceById.size
  }

  add(id: number, since: number): void {
    this.#sinceById.set(id, since)
    this.#newestSince = since
    this.#ids = undefined
  }

  remove(id: number): void {
    this.#sinceById.delete(id)
    this.#ids = undefined
  }

  /**
   * The ids of the watches that are older than this event, joined by commas; '' for none.
   *
   * @param excludedId A watch that must not get the event.
   */
  idsFor(sequence: number, excludedId: number | undefined): string {
    const isExcluding = excludedId !== undefined && this.#sinceById.has(excludedId)
    if (sequence > this.#newestSince && !isExcluding) {
      this.#ids ??= [...this.#sinceById.keys()].join()
      return this.#ids
    }
    const ids: number[] = []
    for (const [id, since] of this.#sinceById) {
      if (sequence > since && id !== excludedId) ids.push(id)
    }
    return ids.join()
  }
}

/**
 * The search for the locks and the waiting requests that a client gets before the events.
 * `willFind` returns whether the search has yet to reach a lock, and `willVisit` does so for a key.
 */
export type InitialSearch = Pick<TableSearch, 'willFind' | 'willVisit' | 'isOver'>

/** The two groups of one text: watches with the text as their prefix, and as their key. */
interface TextGroups {
  prefixGroup: WatchGroup | undefined
  keyGroup: WatchGroup | undefined
}

export class SessionWatches {
  readonly subscriber: Subscriber
  readonly #index: GroupIndex
  readonly #groupById = new Map<number, WatchGroup>()
  readonly #groupsByText = new PrefixTree<TextGroups>()
  /** Returns whether the client may see a key; undefined if the client may see all keys. */
  #isVisible: ((key: string) => boolean) | undefined
  /**
   * The newest watch and its search; undefined if the newest watch has no search. Only the newest
   * watch can have an unfinished search, because the next message of the client waits until the
   * search ends.
   */
  #newestWatch: { readonly id: number; readonly search: InitialSearch } | undefined

  constructor(subscriber: Subscriber, index: GroupIndex) {
    this.subscriber = subscriber
    this.#index = index
  }

  get size(): number {
    return this.#groupById.size
  }

  has(id: number): boolean {
    return this.#groupById.has(id)
  }

  ids(): Iterable<number> {
    return this.#groupById.keys()
  }

  /** Length of the key or prefix that this watch names, in UTF-16 units. */
  lengthOf(id: number): number {
    return this.#groupById.get(id)?.text.length ?? 0
  }

  /**
   * Adds a watch.
   *
   * @param since The sequence number of the newest event. The watch gets only later events.
   * @param search The search for what the client gets before the events.
   */
  add(
    id: number,
    { key, prefix = '', isVisible }: KeySelection,
    since: number,
    search?: InitialSearch,
  ): void {
    this.#isVisible = isVisible
    this.#newestWatch = search && { id, search }
    const isKey = key !== undefined
    const text = key ?? prefix
    const groups = this.#groupsAt(text)
    let group = isKey ? groups.keyGroup : groups.prefixGroup
    if (group === undefined) {
      group = new WatchGroup(text, isKey)
      if (isKey) groups.keyGroup = group
      else groups.prefixGroup = group
      this.#indexNewGroup(group, groups)
    }
    group.add(id, since)
    this.#groupById.set(id, group)
  }

  remove(id: number): void {
    const group = this.#groupById.get(id)
    if (group === undefined) return
    this.#groupById.delete(id)
    group.remove(id)
    if (group.size === 0) this.#removeGroup(group)
  }

  /**
   * Removes all watches. Events that still wait in the send queue are not sent. Keeps the old
   * groups, so no watch may be added afterwards.
   */
  clear(): void {
    for (const group of this.#groupById.values()) {
      if (group.isIndexed) this.#setIndexed(group, /* isIndexed */ false)
    }
    this.#groupById.clear()
  }

  /** Whether the search of the newest watch is not over yet. */
  get isSearching(): boolean {
    return this.#newestWatch !== undefined && !this.#newestWatch.search.isOver
  }

  /**
   * The id of the watch that must not get an event; undefined if all watches may get the event. The
   * newest watch must not get an event about a lock or request that its search has yet to reach.
   * If the lock or request still exists when the search gets there, the search lists its new state,
   * and the event would repeat this state. If the lock or request has ended by then, the client has
   * never seen it.
   *
   * @param isYetToReach Whether this search has yet to reach the lock or request of the event.
   */
  excludedIdFor(isYetToReach: (search: InitialSearch) => boolean): number | undefined {
    const newestWatch = this.#newestWatch
    return newestWatch !== undefined && isYetToReach(newestWatch.search)
      ? newestWatch.id
      : undefined
  }

  /**
   * Queues the event, if this connection may see its key.
   *
   * @param excludedId A watch that must not get the event.
   */
  publish(event: PublishedEvent, excludedId: number | undefined): void {
    if (this.#isVisible?.(event.key) === false) return
    this.subscriber.defer(new QueuedEvent(this, event, excludedId))
  }

  /**
   * Encodes the event as one message for all watches that match and are older than the event.
   * Returns undefined if no watch matches.
   */
  encode(
    { key, sequence, text }: PublishedEvent,
    excludedId: number | undefined,
  ): string | undefined {
    if (this.#groupById.size === 0) return undefined
    let ids = ''
    let groupCount = 0
    this.#groupsByText.visitPrefixesOf(key, ({ prefixGroup, keyGroup }, length) => {
      // A watch of a key matches only if its key equals the key of the event.
      for (const group of [prefixGroup, length === key.length ? keyGroup : undefined]) {
        if (group === undefined) continue
        const groupIds = group.idsFor(sequence, excludedId)
        if (groupIds !== '') ids += ids === '' ? groupIds : `,${groupIds}`
        // A large group costs more, because `idsFor` may visit all its watches.
        groupCount += 1 + Math.floor(group.size / watchesPerExtraGroup)
      }
    })
    this.subscriber.charge(Math.floor(groupCount / groupsPerUnit))
    if (ids === '') return undefined
    const watch = ids.includes(',') ? `[${ids}]` : ids
    return `{"type":"event","watch":${watch},"event":${text}}`
  }

  #groupsAt(text: string): TextGroups {
    let groups = this.#groupsByText.get(text)
    if (groups === undefined) {
      groups = { prefixGroup: undefined, keyGroup: undefined }
      this.#groupsByText.set(text, groups)
    }
    return groups
  }

  /**
   * Adds a new group to the index, unless another group covers the new group. Removes from the
   * index the groups that the new group covers.
   */
  #indexNewGroup(group: WatchGroup, groups: TextGroups): void {
    if (this.#isCovered(group)) return
    if (!group.isKey) this.#setCoveredIndexed(group, groups, /* isIndexed */ false)
    this.#setIndexed(group, /* isIndexed */ true)
  }

  /** Removes an empty group. Adds to the index the groups that only this group covered. */
  #removeGroup(group: WatchGroup): void {
    const groups = this.#groupsByText.get(group.text)!
    if (group.isKey) groups.keyGroup = undefined
    else groups.prefixGroup = undefined
    if (group.isIndexed) {
      this.#setIndexed(group, /* isIndexed */ false)
      if (!group.isKey) this.#setCoveredIndexed(group, groups, /* isIndexed */ true)
    }
    if (groups.keyGroup === undefined && groups.prefixGroup === undefined)
      this.#groupsByText.delete(group.text)
  }

  /** Whether a prefix that this connection watches covers the group. */
  #isCovered({ text, isKey }: WatchGroup): boolean {
    let isCovered = false
    this.#groupsByText.visitPrefixesOf(text, ({ prefixGroup }, length) => {
      // A prefix does not cover itself, but covers the key with the same text.
      if (prefixGroup !== undefined && (isKey || length < text.length)) isCovered = true
    })
    return isCovered
  }

  /**
   * Sets whether the groups that this prefix covers are in the index. Skips each group that a
   * longer prefix covers as well, because such a group is never in the index.
   */
  #setCoveredIndexed({ text }: WatchGroup, { keyGroup }: TextGroups, isIndexed: boolean): void {
    // Each visited text costs one unit. The text of this group is the first.
    let visited = 1
    if (keyGroup !== undefined) this.#setIndexed(keyGroup, isIndexed)
    this.#groupsByText.visitExtensionsOf(text, (covered) => {
      visited++
      // At one text, the group of the prefix covers the group of the key.
      const outermost = covered.prefixGroup ?? covered.keyGroup
      if (outermost !== undefined) this.#setIndexed(outermost, isIndexed)
      // A prefix at this text covers all longer texts, so the visit leaves them out.
      return covered.prefixGroup === undefined
    })
    this.subscriber.charge(visited)
  }

  #setIndexed(group: WatchGroup, isIndexed: boolean): void {
    group.isIndexed = isIndexed
    if (isIndexed) this.#index.add(group.text, group.isKey, this)
    else this.#index.remove(group.text, group.isKey, this)
  }
}

/** An event in the send queue of one connection. */
class QueuedEvent implements DeferredMessage {
  readonly #watches: SessionWatches
  readonly #event: PublishedEvent
  readonly #excludedId: number | undefined
  #isRetained = true

  constructor(watches: SessionWatches, event: PublishedEvent, excludedId: number | undefined) {
    this.#watches = watches
    this.#event = event
    this.#excludedId = excludedId
    event.retain()
  }

  get chars(): number {
    return this.sharedChars + extraEventChars
  }

  get sharedChars(): number {
    return this.#event.text.length
  }

  encode(): string | undefined {
    // From now on the queue keeps the message, so the event need not be retained.
    this.discard()
    return this.#watches.encode(this.#event, this.#excludedId)
  }

  discard(): void {
    if (this.#isRetained) this.#event.release()
    this.#isRetained = false
  }
}
