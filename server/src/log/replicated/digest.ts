/**
 * A digest (checksum) of the lock table. The digest is a sum of hashes. There is one hash for each
 * session with its attach epoch (the number of its connection), and for each lock, waiting request,
 * call at a barrier (which lets its callers wait for each other) and kept result (which later
 * callers of a `once` get). Every effect (change of the table) adds hashes to the sum or subtracts
 * hashes. A sum does not depend on the order, so the digest is cheap even for a million locks.
 *
 * Brokers that have applied the same entries of the log have equal digests, unless the table of a
 * broker is wrong.
 */
import type {
  BarrierCall,
  Effect,
  KeptResult,
  Lock,
  LockTable,
  Request,
  Session,
} from '../../core/index.js'

/** Whether a record is added to the table or removed from the table. */
type Sign = 1 | -1

/** The digest of one table. The first letter of each hashed text is the kind of the record. */
export class Digest {
  #low = 0
  #high = 0

  constructor(table: Pick<LockTable, 'sessions' | 'keys' | 'barriers' | 'keptResults'>) {
    for (const session of table.sessions.values()) this.#session(session, session.attachEpoch, 1)
    for (const { holders, queue, extras } of table.keys.values()) {
      for (const lock of holders) this.#lock(lock, 1)
      for (const request of queue) this.#request(request, 1)
      if (extras?.upgrade !== undefined) this.#request(extras.upgrade, 1)
    }
    for (const { calls } of table.barriers.values())
      for (const call of calls) this.#barrierCall(call, 1)
    for (const kept of table.keptResults.values()) this.#keptResult(kept, 1)
  }

  get value(): string {
    return `${this.#high.toString(16)}.${this.#low.toString(16)}`
  }

  update(effect: Effect): void {
    switch (effect.kind) {
      case 'opened':
        this.#session(effect.session, 1, 1)
        break
      case 'resumed':
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
    this.#add(`s ${attachEpoch} ${id}`, sign)
  }

  /**
   * Adds or subtracts a lock as it is now, unless the former mode or fence is given. After an
   * upgrade a lock keeps its first fence as its identity, and has a newer `presentFence`.
   */
  #lock(lock: Lock, sign: Sign, mode = lock.mode, presentFence = lock.presentFence): void {
    const { fence, session, key, extras } = lock
    const newestFence = presentFence === fence ? '' : ` ${presentFence}`
    this.#add(`l ${fence}${newestFence} ${mode} ${session.id} ${key}${extrasText(extras)}`, sign)
    if (extras?.election !== undefined) this.#value(lock, extras.election.value, sign)
  }

  /** The value of a leader, which changes while the lock stays. */
  #value({ fence }: Lock, value: string | undefined, sign: Sign): void {
    this.#add(`v ${fence} ${value}`, sign)
  }

  #request({ id, mode, session, key, extras }: Request, sign: Sign): void {
    const kind = extras?.upgradeOf === undefined ? 'r' : `u ${extras.upgradeOf.fence}`
    this.#add(`${kind} ${id} ${mode} ${session.id} ${key}${extrasText(extras)}`, sign)
  }

  #barrierCall({ id, session, barrier }: BarrierCall<Session>, sign: Sign): void {
    this.#add(`b ${id} ${barrier.parties} ${session.id} ${barrier.key}`, sign)
  }

  #keptResult({ key, result }: KeptResult, sign: Sign): void {
    this.#add(`k ${result.fence} ${key}`, sign)
  }

  /**
   * Adds or subtracts two 32-bit hashes of a text, with different start values and different
   * factors (those of FNV-1a and of MurmurHash3). `mixBits` makes every character of the text
   * affect every bit of the hash.
   */
  #add(text: string, sign: Sign): void {
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

/**
 * The extras (the options that few locks have) of a lock or request, as text. The extras of a set
 * (a lock of several keys) are not necessary, because all locks of a set have the same fence, and
 * all requests of a set have the same session and id.
 */
function extrasText(extras: Lock['extras']): string {
  if (extras === undefined) return ''
  const { permits, capacity, maxHold, once } = extras
  const onceText = once ? ' once' : ''
  const permitsText = permits === undefined ? onceText : ` ${permits}/${capacity}`
  return maxHold === undefined ? permitsText : `${permitsText} ${maxHold} ms`
}

/** Spreads the bits of a hash, by the two rounds of the function lowbias32. */
function mixBits(hash: number): number {
  const firstMix = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  const secondMix = Math.imul(firstMix ^ (firstMix >>> 15), 0x846ca68b)
  return (secondMix ^ (secondMix >>> 16)) >>> 0
}
