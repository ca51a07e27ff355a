/**
 * Hostile clients, in a process of their own: prepares what their kind needs and says so, begins
 * when it is told to, and goes on until it is told to stop. A session that is cut comes back.
 */
import { setPriority } from 'node:os'
import type { Profile } from '@holdfast/server'
import { pause } from '../hostile/hostileSession.js'
import { kindNamed } from '../hostile/index.js'
import { Gang, type Kind } from '../hostile/kind.js'

export type HostileOrder =
  | {
      readonly type: 'prepare'
      readonly url: string
      readonly kind: string
      readonly profile: Profile
    }
  | { readonly type: 'begin' }
  | { readonly type: 'stop' }

/** What it answers: to `prepare` and to `stop`. */
export interface HostileReport {
  /** Messages said. */
  readonly said: number
  /** How often a session was cut, or not let in. */
  readonly cuts: number
}

/** Before a session that was cut comes back, in ms: twenty a second of each address are allowed. */
const backAfterMs = 500

let gang: Gang | undefined
let kind: Kind | undefined
let cuts = 0

async function keepOn(place: number, { hello, reading, act }: Kind, its: Gang): Promise<void> {
  while (!its.isOver) {
    const session = await its.session(place, hello).catch(() => undefined)
    if (session !== undefined) {
      session.read(reading)
      await act(session, its).catch(() => {})
      its.forget(session)
    }
    if (its.isOver) return
    cuts++
    await pause(backAfterMs)
  }
}

function begin(its: Gang, what: Kind): void {
  const count = Math.min(what.sessions ?? its.placesLeft, its.placesLeft)
  const places = Array.from({ length: count }, () => its.takePlace())
  for (const place of places) void keepOn(place, what, its)
}

process.on('disconnect', () => process.exit())
process.on('message', async (order: HostileOrder) => {
  switch (order.type) {
    case 'prepare':
      gang = new Gang(order.url, order.profile)
      kind = kindNamed(order.kind)
      await kind.prepare?.(gang)
      break
    case 'begin':
      begin(gang!, kind!)
      return
    case 'stop':
      gang!.stop()
      break
  }
  process.send?.({ said: gang?.said ?? 0, cuts } satisfies HostileReport)
})
// What it takes of the processor is not what is measured.
setPriority(19)
