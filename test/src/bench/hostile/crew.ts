/**
 * Who takes part in a job beside hostile clients, and from where: principals and addresses, so that
 * each session is within the limits of its profile.
 */

import type { BrokerLimits, Profile } from '@holdfast/server'
import { defaultsOf } from '@holdfast/server/internal'
import { tokenOf } from '../job.js'

/** Sessions of one principal and of one address; both are well within what `public` allows. */
const sessionsEach = { principal: 20, address: 10 }

export type Role = 'good' | 'filler' | 'hostile'

/** The network of each role; a machine has all of `127.0.0.0/8`. */
const networks: Readonly<Record<Role, number>> = { good: 1, filler: 2, hostile: 3 }

/** A place for a session. */
export interface Place {
  /** Further fields of its hello. */
  readonly hello: string
  /** The address that it comes from; undefined where that does not matter. */
  readonly address: string | undefined
}

export function limitsOf(profile: Profile): BrokerLimits {
  return defaultsOf(profile)
}

function principalOf(role: Role, number: number): string {
  // Good clients have nothing in common with each other.
  const each = role === 'good' ? 1 : sessionsEach.principal
  return `${role}-${Math.floor(number / each)}`
}

/** Where the session of this number and role is. */
export function placeOf(profile: Profile, role: Role, number: number): Place {
  if (profile !== 'public') return { hello: '', address: undefined }
  const group = Math.floor(number / sessionsEach.address)
  const address = `127.0.${networks[role]}.${1 + (group % 250)}`
  return { hello: `,"token":"${tokenOf(principalOf(role, number))}"`, address }
}

/** All principals of so many sessions of each role. */
export function principalsOf(counts: Readonly<Record<Role, number>>): string[] {
  const names = new Set<string>()
  for (const [role, count] of Object.entries(counts) as [Role, number][]) {
    for (let i = 0; i < count; i++) names.add(principalOf(role, i))
  }
  return [...names]
}
