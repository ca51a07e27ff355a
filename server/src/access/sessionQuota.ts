/**
 * Limits the number of sessions of each principal (the authenticated name of a client) and of each
 * address.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, type LimitName, off } from '../config/limits.js'
import type { Effect, Session } from '../core/index.js'

/** The principal and the address that a session counts for. */
interface CountedSession {
  readonly principal: string
  /**
   * What counts as the client's address: an IPv4 address, or the first 64 bits of an IPv6 address.
   * Undefined if the client has no address (a Unix socket), or if the address is not known, for
   * example because another broker opened the session.
   */
  readonly countedAddress: string | undefined
}

/**
 * Counts sessions. A session counts from the request that opens the session until the session ends.
 * So the session counts already while the command that opens it waits in the command log.
 */
export class SessionQuota {
  readonly #limits: BrokerLimits
  readonly #countsByPrincipal = new CountsByName()
  readonly #countsByAddress = new CountsByName()
  /** The counted sessions, by their ids. */
  readonly #countedSessions = new Map<string, CountedSession>()

  /**
   * @param isAnonymous Whether the broker does not authenticate clients. All clients then have the
   *   same principal, so only the limit of each address holds. With a limit of the principal, one
   *   client could use up the quota of all clients.
   */
  constructor(limits: BrokerLimits, isAnonymous: boolean) {
    // `off` is Infinity, so no count reaches a limit that is off.
    this.#limits = isAnonymous ? { ...limits, sessionsPerPrincipal: off } : limits
  }

  /**
   * Counts a session that is about to be opened, unless the session exceeds a limit.
   *
   * @returns The limit that the session exceeds; undefined if the session may be opened.
   */
  reserve(
    sessionId: string,
    principal: string,
    address: string | undefined,
  ): LimitName | undefined {
    const { sessionsPerPrincipal, sessionsPerAddress } = this.#limits
    if (this.#isOff) return undefined
    const countedAddress = address === undefined ? undefined : addressGroup(address)
    if (this.#countsByPrincipal.countOf(principal) >= sessionsPerPrincipal) {
      return 'sessionsPerPrincipal'
    }
    if (
      countedAddress !== undefined &&
      this.#countsByAddress.countOf(countedAddress) >= sessionsPerAddress
    ) {
      return 'sessionsPerAddress'
    }
    this.#add(sessionId, { principal, countedAddress })
    return undefined
  }

  /**
   * Updates the counts after an effect, which is one change of the lock table. Counts sessions that
   * were not reserved here, for example after a restart. Stops counting sessions that ended.
   */
  onEffect(effect: Effect): void {
    const { kind } = effect
    if (kind !== 'opened' && kind !== 'resumed' && kind !== 'ended') return
    if (this.#isOff) return
    const { id, principal } = effect.session
    if (kind === 'ended') this.#remove(id)
    else if (!this.#countedSessions.has(id)) this.#add(id, { principal, countedAddress: undefined })
  }

  /** Replaces all counts by the counts of the given sessions, whose addresses are unknown. */
  reset(sessions: Iterable<Session>): void {
    if (this.#isOff) return
    for (const sessionId of [...this.#countedSessions.keys()]) this.#remove(sessionId)
    for (const { id, principal } of sessions)
      this.#add(id, { principal, countedAddress: undefined })
  }

  /** Whether both limits are off, so that sessions need not be counted. */
  get #isOff(): boolean {
    const { sessionsPerPrincipal, sessionsPerAddress } = this.#limits
    return sessionsPerPrincipal === off && sessionsPerAddress === off
  }

  #add(sessionId: string, counted: CountedSession): void {
    this.#countedSessions.set(sessionId, counted)
    this.#countsByPrincipal.add(counted.principal)
    if (counted.countedAddress !== undefined) this.#countsByAddress.add(counted.countedAddress)
  }

  #remove(sessionId: string): void {
    const counted = this.#countedSessions.get(sessionId)
    if (counted === undefined) return
    this.#countedSessions.delete(sessionId)
    this.#countsByPrincipal.remove(counted.principal)
    const { countedAddress } = counted
    if (countedAddress !== undefined) this.#countsByAddress.remove(countedAddress)
  }
}

/** A counter for each name. */
class CountsByName {
  readonly #byName = new Map<string, number>()

  countOf(name: string): number {
    return this.#byName.get(name) ?? 0
  }

  add(name: string): void {
    this.#byName.set(name, this.countOf(name) + 1)
  }

  remove(name: string): void {
    const remaining = this.countOf(name) - 1
    if (remaining > 0) this.#byName.set(name, remaining)
    else this.#byName.delete(name)
  }
}
