/**
 * Sessions, as far as they can be seen: those that hold something or wait for something. The broker
 * tells nobody of sessions that do neither.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/client'
import type { KeyRow } from './lockModel.js'

export interface Party {
  readonly id: string
  readonly name: string | undefined
  readonly holds: readonly HeldInfo[]
  readonly awaits: readonly WaitingInfo[]
}

interface Gathering {
  readonly id: string
  name: string | undefined
  readonly holds: HeldInfo[]
  readonly awaits: WaitingInfo[]
}

export function partiesOf(entries: Iterable<KeyRow>): Map<string, Party> {
  const parties = new Map<string, Gathering>()
  const of = ({ session, name }: HeldInfo | WaitingInfo): Gathering => {
    const known = parties.get(session)
    if (known !== undefined) return known
    const party = { id: session, name, holds: [], awaits: [] }
    parties.set(session, party)
    return party
  }
  for (const { held, waiting } of entries) {
    for (const lock of held) of(lock).holds.push(lock)
    for (const request of waiting) of(request).awaits.push(request)
  }
  return parties
}
