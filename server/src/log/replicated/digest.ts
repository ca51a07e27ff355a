/**
 * A digest (checksum) of the lock table: the sum of one hash for each record of the table. The
 * records are the sessions, locks, waiting requests, calls at barriers, and kept results of `once`
 * (a function that runs once for all callers of a key). The hash of a session includes its attach
 * epoch (the number of its connection). Every effect (change of the table) adds the hashes of new
 * records and subtracts the hashes of former records. So an update of the digest is cheap even if
 * the table has a million locks. The digest does not depend on the order of the records.
 *
 * Brokers that have applied the same entries (batches of commands) of the log have equal digests,
 * unless the table of a broker is wrong.
 */
import {
  type BarrierCall,
  type Effect,
  type ExtraTerms,
  type KeptResult,
  type Lock,
  LockTable,
  type Request,
  type Session,
  type SnapshotItem,
} from '../../core/index.js'

/** Whether a record is added to the table or removed from the table. */
type Sign = 1 | -1

/** A sum of hashes of texts. The first letter of each text is the kind of the record. */
class HashSum {
  #low = 0
  #high = 0

  get value(): string {
    return `${this.#high.toString(16)}.${this.#low.toString(16)}`
  }

  protected copyFrom(other: HashSum): void {
    this.#low = other.#low
    this.#high = other.#high
  }

  /**
   * Adds or subtracts a text, by two 32-bit hashes with different start values and different
   * factors (those of FNV-1a and of MurmurHash3). `mixBits` makes every character of the text
   * affect every bit of the hash.
   */
  protected addHash(text: string, sign: Sign): void {
    let low = 0x811c9dc5
    let high = 0x9e3779b9
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x85ebca6b)
    }
    this.#low = (this.#low + sign * mixBits(low)) >>> 0
    this.#high = (this.#high + sign * mixBits(high ^ text.length)) >>> 0
  }
}

/** The digest of a lock table. Call `update` for each effect of the table. */
export class Digest extends HashSum {
  constructor(table: Pick<LockTable, 'sessions' | 'keys' | 'barriers' | 'keptResults'>) {
    super()
    for (const session of table.sessions.values()) this.#session(session, session.attachEpoch, 1)
    for (const { holders, queue, extras } of table.keys.values()) {
      for (const lock of holders) this.#lock(lock, 1)
      for (const request of queue) this.#request(request, 1)
      // A waiting upgrade is not in the queue.
      if (extras?.upgrade !== undefined) this.#request(extras.upgrade, 1)
    }
    for (const { calls } of table.barriers.values())
      for (const call of calls) this.#barrierCall(call, 1)
    for (const kept of table.keptResults.values()) this.#keptResult(kept, 1)
  }

  /** The digest of a table that was restored from the snapshot whose digest is `itemDigest`. */
  static ofItems(itemDigest: ItemDigest): Digest {
    const digest = new Digest(new LockTable())
    digest.copyFrom(itemDigest)
    return digest
  }

  update(effect: Effect): void {
    switch (effect.kind) {
      case 'opened':
        // A new session has its first connection, so its attach epoch is 1.
        this.#session(effect.session, /* attachEpoch */ 1, 1)
        break
      case 'resumed':
        // Each resume raises the attach epoch by 1.
        this.#session(effect.session, effect.session.attachEpoch - 1, -1)
        this.#session(effect.session, effect.session.attachEpoch, 1)
        break
      case 'ended':
        this.#session(effect.session, effect.session.attachEpoch, -1)
        break
      case 'queued':
        this.#request(effect.request, 1)
        break
      case 'withdrawn':
        this.#request(effect.request, -1)
        break
      case 'arrived':
        this.#barrierCall(effect.call, 1)
        break
      case 'departed':
        this.#barrierCall(effect.call, -1)
        break
      case 'kept':
        this.#keptResult(effect.kept, 1)
        break
      case 'forgotten':
        this.#keptResult(effect.kept, -1)
        break
      case 'granted':
        if (effect.request !== undefined) this.#request(effect.request, -1)
        this.#lock(effect.lock, 1)
        break
      case 'upgraded': {
        const { lock, request, formerFence } = effect
        if (request !== undefined) this.#request(request, -1)
        this.#lock(lock, -1, 'shared', formerFence)
        this.#lock(lock, 1)
        break
      }
      case 'downgraded':
        this.#lock(effect.lock, -1, 'exclusive')
        this.#lock(effect.lock, 1)
        break
      case 'released':
        this.#lock(effect.lock, -1)
        break
      case 'proclaimed':
        this.#value(effect.lock, effect.formerValue, -1)
        this.#value(effect.lock, effect.lock.extras?.election?.value, 1)
        break
    }
  }

  #session({ id }: Session, attachEpoch: number, sign: Sign): void {
    this.addHash(sessionText(id, attachEpoch), sign)
  }

  /**
   * Adds or subtracts a lock as it is now, unless its former `mode` or `presentFence` is given.
   * After an upgrade a lock keeps its first `fence` as its identity; its `presentFence` is newer.
   */
  #lock(lock: Lock, sign: Sign, mode = lock.mode, presentFence = lock.presentFence): void {
    const { fence, session, key, extras } = lock
    this.addHash(lockText({ fence, key, mode }, session.id, presentFence, extras), sign)
    if (extras?.election !== undefined) this.#value(lock, extras.election.value, sign)
  }

  /** Adds or subtracts the value of a leader, which can change while the leader keeps its lock. */
  #value({ fence }: Lock, value: string | undefined, sign: Sign): void {
    this.addHash(valueText(fence, value), sign)
  }

  #request(request: Request, sign: Sign): void {
    const { session, extras } = request
    this.addHash(requestText(request, session.id, extras?.upgradeOf?.fence, extras), sign)
  }

  #barrierCall({ id, session, barrier }: BarrierCall<Session>, sign: Sign): void {
    const { key, parties } = barrier
    this.addHash(barrierCallText({ id, key, parties, session: session.id }), sign)
  }

  #keptResult({ key, result }: KeptResult, sign: Sign): void {
    this.addHash(keptText(result.fence, key), sign)
  }
}

/**
 * The digest of a table, made from the items of its snapshot. A table that is restored from these
 * items has an equal {@link Digest}.
 */
export class ItemDigest extends HashSum {
  /** The keys of the `result` items so far, by fence. */
  readonly #resultKeys = new Map<number, string>()

  add(item: SnapshotItem): void {
    switch (item.item) {
      case 'session':
        this.addHash(sessionText(item.open.session, item.attachEpoch), 1)
        break
      case 'lock': {
        const { fence, session, extras } = item
        const { terms } = extras ?? {}
        this.addHash(lockText(item, session, extras?.presentFence ?? fence, terms), 1)
        if (terms?.election !== undefined) this.addHash(valueText(fence, terms.election.value), 1)
        break
      }
      case 'request': {
        const { session, extras } = item
        this.addHash(requestText(item, session, extras?.upgradeOf, extras?.terms), 1)
        break
      }
      case 'barrierCall':
        this.addHash(barrierCallText(item), 1)
        break
      case 'result':
        // Not hashed here: if the result is kept, a later item `kept` adds its hash with this key.
        this.#resultKeys.set(item.fence, item.key)
        break
      case 'kept':
        this.addHash(keptText(item.fence, this.#resultKeys.get(item.fence)), 1)
        break
    }
  }

  /** Yields the items, and adds each item before it yields the item. */
  *addAll(items: Iterable<SnapshotItem>): Generator<SnapshotItem, void, undefined> {
    for (const item of items) {
      this.add(item)
      yield item
    }
  }
}

function sessionText(id: string, attachEpoch: number): string {
  return `s ${attachEpoch} ${id}`
}

function lockText(
  { fence, mode, key }: Pick<Lock, 'fence' | 'mode' | 'key'>,
  session: string,
  presentFence: number,
  terms: HashedTerms | undefined,
): string {
  const presentFenceText = presentFence === fence ? '' : ` ${presentFence}`
  return `l ${fence}${presentFenceText} ${mode} ${session} ${key}${termsText(terms)}`
}

function valueText(fence: number, value: string | undefined): string {
  return `v ${fence} ${value}`
}

/** @param upgradeOf The fence of the lock to upgrade; undefined for a request for a new lock. */
function requestText(
  { id, mode, key }: Pick<Request, 'id' | 'mode' | 'key'>,
  session: string,
  upgradeOf: number | undefined,
  terms: HashedTerms | undefined,
): string {
  const kind = upgradeOf === undefined ? 'r' : `u ${upgradeOf}`
  return `${kind} ${id} ${mode} ${session} ${key}${termsText(terms)}`
}

function barrierCallText(call: {
  readonly id: number
  readonly parties: number
  readonly session: string
  readonly key: string
}): string {
  const { id, parties, session, key } = call
  return `b ${id} ${parties} ${session} ${key}`
}

function keptText(fence: number, key: string | undefined): string {
  return `k ${fence} ${key}`
}

/** The terms that the digest covers; few locks and requests have them. */
type HashedTerms = Pick<ExtraTerms, 'permits' | 'capacity' | 'maxHold' | 'once'>

/**
 * The terms of a lock or request, as text; empty if the terms are undefined. The text does not say
 * which locks form a set (one call that locks several keys), because the locks of a set have the
 * same fence. The waiting requests of a set have the same session and id.
 */
function termsText(terms: HashedTerms | undefined): string {
  if (terms === undefined) return ''
  const { permits, capacity, maxHold, once } = terms
  // A lock or request of `once` never has permits.
  const onceText = once ? ' once' : ''
  const permitsOrOnce = permits === undefined ? onceText : ` ${permits}/${capacity}`
  return maxHold === undefined ? permitsOrOnce : `${permitsOrOnce} ${maxHold} ms`
}

/** Spreads the bits of a hash, by the two rounds of the function lowbias32. */
function mixBits(hash: number): number {
  const firstMix = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  const secondMix = Math.imul(firstMix ^ (firstMix >>> 15), 0x846ca68b)
  return (secondMix ^ (secondMix >>> 16)) >>> 0
}
