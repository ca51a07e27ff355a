/**
 * Hostile clients in a process of their own. The process prepares what the kind needs, reports that
 * it is ready, and runs from the order to begin until the order to stop. A session whose connection
 * closes connects again.
 */
import { setPriority } from 'node:os'
import type { Profile } from '@holdfast/server'
import { pause } from '../hostile/hostileSession.js'
import { kindNamed } from '../hostile/index.js'
import { HostileGroup, type Kind } from '../hostile/kind.js'

export type HostileOrder =
  | {
      readonly type: 'prepare'
      readonly url: string
      readonly kind: string
      readonly profile: Profile
    }
  | { readonly type: 'begin' }
  | { readonly type: 'stop' }

/** The answer to `prepare` and to `stop`. */
export interface HostileReport {
  /** The number of messages sent. */
  readonly sent: number
  /** How often the broker closed a session's connection or refused it. */
  readonly cuts: number
}

/**
 * The time until a session connects again, in ms. The broker allows twenty connections a second
 * from each address.
 */
const reconnectMs = 500

let group: HostileGroup | undefined
let kind: Kind | undefined
let cuts = 0

async function runSession(
  index: number,
  { hello, reading, act }: Kind,
  group: HostileGroup,
): Promise<void> {
  while (!group.isOver) {
    const session = await group.session(index, hello).catch(() => undefined)
    if (session !== undefined) {
      session.read(reading)
      await act(session, group).catch(() => {})
      group.closed(session)
    }
    if (group.isOver) return
    cuts++
    await pause(reconnectMs)
  }
}

function begin(group: HostileGroup, kind: Kind): void {
  const count = Math.min(kind.sessions ?? group.sessionsLeft, group.sessionsLeft)
  const indexes = Array.from({ length: count }, () => group.takeIndex())
  for (const index of indexes) void runSession(index, kind, group)
}

process.on('disconnect', () => process.exit())
process.on('message', async (order: HostileOrder) => {
  switch (order.type) {
    case 'prepare':
      group = new HostileGroup(order.url, order.profile)
      kind = kindNamed(order.kind)
      await kind.prepare?.(group)
      break
    case 'begin':
      begin(group!, kind!)
      return
    case 'stop':
      group!.stop()
      break
  }
  process.send?.({ sent: group?.sent ?? 0, cuts } satisfies HostileReport)
})
// Lowest priority, because the hostile clients' use of the processor is not what is measured.
setPriority(19)
