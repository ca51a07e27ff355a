/**
 * Distributes the sessions of a job (one run of a load) over principals (authenticated users) and
 * addresses. Therefore the sessions stay within the limits of the broker's profile, which is a
 * named set of limits.
 */
import type { BrokerLimits, Profile } from '@holdfast/server'
import { defaultsOf } from '@holdfast/server/internal'
import { tokenOf } from '../job.js'

/**
 * How many sessions share one principal, and how many share one address. Both numbers are well
 * within the limits of the profile `public`. The measured clients share no principal.
 */
const sessionsEach = { principal: 20, address: 10 }

/** What a session is: a measured client, a filler of the lock table, or a hostile client. */
export type Role = 'good' | 'filler' | 'hostile'

/**
 * The third byte of the addresses of each role. A machine may use all addresses in `127.0.0.0/8` as
 * its own.
 */
const thirdBytes: Readonly<Record<Role, number>> = { good: 1, filler: 2, hostile: 3 }

/** The principal and the address of one session. */
export interface ClientSource {
  /** Further fields of the session's `hello`: empty, or JSON text that begins with a comma. */
  readonly hello: string
  /** The address from which the session connects; undefined if the operating system chooses. */
  readonly address: string | undefined
}

/** The limits of a broker with this profile. */
export function limitsOf(profile: Profile): BrokerLimits {
  return defaultsOf(profile)
}

/** The principal of the session with this index and role. */
function principalOf(role: Role, index: number): string {
  // Each good client has a principal of its own.
  const sessionsPerPrincipal = role === 'good' ? 1 : sessionsEach.principal
  return `${role}-${Math.floor(index / sessionsPerPrincipal)}`
}

/** The principal and the address of the session with this index and role. */
export function sourceOf(profile: Profile, role: Role, index: number): ClientSource {
  // Only the profile `public` limits the sessions of one principal and of one address.
  if (profile !== 'public') return { hello: '', address: undefined }
  const addressIndex = Math.floor(index / sessionsEach.address)
  // The last byte is never 0 or 255, because hosts have no such addresses.
  const address = `127.0.${thirdBytes[role]}.${1 + (addressIndex % 250)}`
  return { hello: `,"token":"${tokenOf(principalOf(role, index))}"`, address }
}

/** The principals of all sessions. `counts` has the number of sessions of each role. */
export function principalsOf(counts: Readonly<Record<Role, number>>): string[] {
  const names = new Set<string>()
  for (const [role, count] of Object.entries(counts) as [Role, number][]) {
    for (let i = 0; i < count; i++) names.add(principalOf(role, i))
  }
  return [...names]
}
