/**
 * How many sessions there are, in all and of each address and principal.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, type LimitName, off } from '../config/limits.js'
import type { Effect, Session } from '../core/index.js'

interface SessionCount {
  readonly principal: string
  readonly group: string | undefined
}

/** Sessions, from the moment they are asked for until they end. */
export class SessionQuota {
  readonly #limits: BrokerLimits
  readonly #principals = new Counts()
  readonly #addresses = new Counts()
  readonly #entries = new Map<string, SessionCount>()

  /**
   * @param isAnonymous The broker does not authenticate, so that all clients have one principal.
   *   Then sessions are counted by address only, or one client could use up the room of all.
   */
  constructor(limits: BrokerLimits, isAnonymous: boolean) {
    this.#limits = isAnonymous ? { ...limits, sessionsPerPrincipal: off } : limits
  }

  /** A session is about to be opened: which limit that is beyond, if any. */
  enter(session: string, principal: string, address: string | undefined): LimitName | undefined {
    const { sessionsPerPrincipal, sessionsPerAddress } = this.#limits
    if (this.#isOff) return undefined
    const group = address === undefined ? undefined : addressGroup(address)
    if (this.#principals.of(principal) >= sessionsPerPrincipal) return 'sessionsPerPrincipal'
    if (group !== undefined && this.#addresses.of(group) >= sessionsPerAddress) {
      return 'sessionsPerAddress'
    }
    this.#add(session, { principal, group })
    return undefined
  }

  /**
   * What the table did. A session that nobody here asked for, as after a restart, counts as well.
   */
  reserve(effect: Effect): void {
    const { kind } = effect
    if (kind !== 'opened' && kind !== 'resumed' && kind !== 'ended') return
    if (this.#isOff) return
    const { id, principal } = effect.session
    if (kind === 'ended') this.#remove(id)
    else if (!this.#entries.has(id)) this.#add(id, { principal, group: undefined })
  }

  /** Begins anew with the sessions that there are, wherever they are from. */
  begin(sessions: Iterable<Session>): void {
    if (this.#isOff) return
    for (const session of [...this.#entries.keys()]) this.#remove(session)
    for (const { id, principal } of sessions) this.#add(id, { principal, group: undefined })
  }

  get #isOff(): boolean {
    const { sessionsPerPrincipal, sessionsPerAddress } = this.#limits
    return sessionsPerPrincipal === off && sessionsPerAddress === off
  }

  #add(session: string, entry: SessionCount): void {
    this.#entries.set(session, entry)
    this.#principals.add(entry.principal)
    if (entry.group !== undefined) this.#addresses.add(entry.group)
  }

  #remove(session: string): void {
    const entry = this.#entries.get(session)
    if (entry === undefined) return
    this.#entries.delete(session)
    this.#principals.remove(entry.principal)
    if (entry.group !== undefined) this.#addresses.remove(entry.group)
  }
}

/** How many there are of each name. */
class Counts {
  readonly #byName = new Map<string, number>()

  of(name: string): number {
    return this.#byName.get(name) ?? 0
  }

  add(name: string): void {
    this.#byName.set(name, this.of(name) + 1)
  }

  remove(name: string): void {
    const left = this.of(name) - 1
    if (left > 0) this.#byName.set(name, left)
    else this.#byName.delete(name)
  }
}
