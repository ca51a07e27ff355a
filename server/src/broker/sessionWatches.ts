/**
 * The watches of one connection. Equal watches are one group, and of all groups only those that no
 * wider one covers stand in the broker's index: so a connection is found at most once for each
 * event, however many of its watches match. Which of them do is worked out when the event is
 * written, at the cost of this connection alone.
 */
import type { Deferred } from '../connection/sendQueue.js'
import type { Lock } from '../core/index.js'
import { PrefixTree } from './prefixTree.js'
import type { Scope, Search } from './queries.js'

/** A connection that watches. */
export interface Subscriber {
  /** Queues a message that is made when it is written. */
  defer(message: Deferred): void
  /** Counts work of the broker, in units of about 1 µs, as caused by this connection. */
  charge(units: number): void
}

/** Something that happened to a lock, as text that all who watch share. */
export interface PublishedEvent {
  readonly key: string
  /** Rises from one event of the broker to the next. */
  readonly sequence: number
  readonly text: string
  /** One more connection keeps it until it is written. */
  keep(): void
  /** One connection less does. */
  release(): void
}

/** The broker's index of who watches what; told only of what is not covered. */
export interface ScopeIndex {
  add(text: string, isKey: boolean, watches: SessionWatches): void
  remove(text: string, isKey: boolean, watches: SessionWatches): void
}

/** Bytes that an event takes while it waits to be written, beside its text. */
const eventChars = 64

/** All watches of exactly the same key or prefix. */
class Group {
  readonly text: string
  readonly isKey: boolean
  /** By id: the sequence number of the newest event that is older than the watch. */
  readonly #since = new Map<number, number>()
  #newest = 0
  /** The ids, as JSON elements, if all of them are told. */
  #ids: string | undefined
  isIndexed = false

  constructor(text: string, isKey: boolean) {
    this.text = text
    this.isKey = isKey
  }

  get size(): number {
    return this.#since.size
  }

  add(id: number, since: number): void {
    this.#since.set(id, since)
    this.#newest = since
    this.#ids = undefined
  }

  remove(id: number): void {
    this.#since.delete(id)
    this.#ids = undefined
  }

  /**
   * The ids of the watches that are older than this event, as JSON elements; '' for none.
   *
   * @param hidden A watch that is not told.
   */
  idsFor(sequence: number, hidden: number | undefined): string {
    const isWithout = hidden !== undefined && this.#since.has(hidden)
    if (sequence > this.#newest && !isWithout) {
      this.#ids ??= [...this.#since.keys()].join()
      return this.#ids
    }
    const ids: number[] = []
    for (const [id, since] of this.#since) {
      if (sequence > since && id !== hidden) ids.push(id)
    }
    return ids.join()
  }
}

/** Gathers the state that a watch begins with. */
type StateSearch = Pick<Search, 'isToCome'>

/** What is watched under one text. */
interface Place {
  prefix: Group | undefined
  key: Group | undefined
}

export class SessionWatches {
  readonly subscriber: Subscriber
  readonly #index: ScopeIndex
  readonly #byId = new Map<number, Group>()
  readonly #places = new PrefixTree<Place>()
  /** Which keys may be seen; undefined for all. The same for all watches of a connection. */
  #sees: ((key: string) => boolean) | undefined
  /** The newest watch. The client's next message waits until the state of this one is gathered. */
  #newest: { readonly id: number; readonly search: StateSearch } | undefined

  constructor(subscriber: Subscriber, index: ScopeIndex) {
    this.subscriber = subscriber
    this.#index = index
  }

  get size(): number {
    return this.#byId.size
  }

  has(id: number): boolean {
    return this.#byId.has(id)
  }

  ids(): Iterable<number> {
    return this.#byId.keys()
  }

  /** Length of the key or prefix that this watch names. */
  lengthOf(id: number): number {
    return this.#byId.get(id)?.text.length ?? 0
  }

  /**
   * @param since The sequence number of the newest event: the watch is told of later ones.
   * @param search What gathers the state that the watch begins with.
   */
  add(id: number, { key, prefix = '', sees }: Scope, since: number, search?: StateSearch): void {
    this.#sees = sees
    this.#newest = search && { id, search }
    const isKey = key !== undefined
    const text = key ?? prefix
    const place = this.#placeAt(text)
    let group = isKey ? place.key : place.prefix
    if (group === undefined) {
      group = new Group(text, isKey)
      if (isKey) place.key = group
      else place.prefix = group
      this.#cover(group, place)
    }
    group.add(id, since)
    this.#byId.set(id, group)
  }

  remove(id: number): void {
    const group = this.#byId.get(id)
    if (group === undefined) return
    this.#byId.delete(id)
    group.remove(id)
    if (group.size === 0) this.#drop(group)
  }

  /** The connection is gone. What it has not been told yet comes to nothing. */
  clear(): void {
    for (const group of this.#byId.values()) {
      if (group.isIndexed) this.#setIndexed(group, false)
    }
    this.#byId.clear()
  }

  /**
   * Queues the event, if this connection may see its key.
   *
   * @param ended The lock whose end it is, if it is one.
   */
  publish(event: PublishedEvent, ended: Lock | undefined): void {
    if (this.#sees?.(event.key) === false) return
    // The state will not have this lock, so its watch should not hear of the end of it.
    const isUnknown = ended !== undefined && this.#newest?.search.isToCome(ended)
    const hidden = isUnknown ? this.#newest?.id : undefined
    this.subscriber.defer(new UnwrittenEvent(this, event, hidden))
  }

  /** One message for all watches that match and are older than the event; undefined if none is. */
  encode({ key, sequence, text }: PublishedEvent, hidden: number | undefined): string | undefined {
    if (this.#byId.size === 0) return undefined
    let ids = ''
    let work = 0
    this.#places.visitPrefixesOf(key, ({ prefix, key: exact }, length) => {
      for (const group of [prefix, length === key.length ? exact : undefined]) {
        if (group === undefined) continue
        const more = group.idsFor(sequence, hidden)
        if (more !== '') ids += ids === '' ? more : `,${more}`
        work += 1 + (group.size >> 4)
      }
    })
    this.subscriber.charge(work >> 2)
    if (ids === '') return undefined
    const watch = ids.includes(',') ? `[${ids}]` : ids
    return `{"type":"event","watch":${watch},"event":${text}}`
  }

  #placeAt(text: string): Place {
    let place = this.#places.get(text)
    if (place === undefined) {
      place = { prefix: undefined, key: undefined }
      this.#places.set(text, place)
    }
    return place
  }

  /** A group is new: it is indexed if nothing covers it, and what it covers is not, any more. */
  #cover(group: Group, place: Place): void {
    if (this.#isCovered(group)) return
    if (!group.isKey) this.#setBelow(group, place, false)
    this.#setIndexed(group, true)
  }

  /** A group has no watches left: what only it covered is indexed again. */
  #drop(group: Group): void {
    const place = this.#places.get(group.text)!
    if (group.isKey) place.key = undefined
    else place.prefix = undefined
    if (group.isIndexed) {
      this.#setIndexed(group, false)
      if (!group.isKey) this.#setBelow(group, place, true)
    }
    if (place.key === undefined && place.prefix === undefined) this.#places.delete(group.text)
  }

  #isCovered({ text, isKey }: Group): boolean {
    let isCovered = false
    this.#places.visitPrefixesOf(text, ({ prefix }, length) => {
      if (prefix !== undefined && (isKey || length < text.length)) isCovered = true
    })
    return isCovered
  }

  /** Of what this prefix covers, the outermost groups are indexed or not. */
  #setBelow({ text }: Group, { key }: Place, isIndexed: boolean): void {
    let visited = 1
    if (key !== undefined) this.#setIndexed(key, isIndexed)
    this.#places.visitExtensionsOf(text, (place) => {
      visited++
      const outermost = place.prefix ?? place.key
      if (outermost !== undefined) this.#setIndexed(outermost, isIndexed)
      return place.prefix === undefined
    })
    this.subscriber.charge(visited)
  }

  #setIndexed(group: Group, isIndexed: boolean): void {
    group.isIndexed = isIndexed
    if (isIndexed) this.#index.add(group.text, group.isKey, this)
    else this.#index.remove(group.text, group.isKey, this)
  }
}

/** An event on its way to one connection. */
class UnwrittenEvent implements Deferred {
  readonly #watches: SessionWatches
  readonly #event: PublishedEvent
  readonly #hidden: number | undefined
  #isKept = true

  constructor(watches: SessionWatches, event: PublishedEvent, hidden: number | undefined) {
    this.#watches = watches
    this.#event = event
    this.#hidden = hidden
    event.keep()
  }

  get chars(): number {
    return this.sharedChars + eventChars
  }

  get sharedChars(): number {
    return this.#event.text.length
  }

  encode(): string | undefined {
    this.discard()
    return this.#watches.encode(this.#event, this.#hidden)
  }

  discard(): void {
    if (this.#isKept) this.#event.release()
    this.#isKept = false
  }
}
