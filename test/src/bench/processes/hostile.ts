/**
 * The program of the hostile clients, which run in a process of their own. The command "prepare"
 * names a kind of hostile client, and the process makes the preparation that this kind defines. The
 * hostile sessions act from the command "begin" to the command "stop". A session whose connection
 * closes connects again.
 */
import { setPriority } from 'node:os'
import type { Profile } from '@holdfast/server'
import { pause } from '../hostile/hostileSession.js'
import { kindNamed } from '../hostile/index.js'
import { HostileGroup, type Kind } from '../hostile/kind.js'

export type HostileCommand =
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
  /** How often the broker closed or refused the connection of a session. */
  readonly cuts: number
}

/**
 * The time until a session connects again, in ms. Ten sessions share an IP address. With this time
 * they stay within the limit of the broker: twenty connections a second from one address.
 */
const reconnectMs = 500

/** The hostile clients of the newest `prepare`, and their kind. */
let preparedGroup: HostileGroup | undefined
let preparedKind: Kind | undefined
/** The number of connections that the broker has closed or refused. */
let cuts = 0

/** Opens a hostile session and lets it act; reconnects until the group has stopped. */
async function runSession(
  index: number,
  { hello, reading, act }: Kind,
  group: HostileGroup,
): Promise<void> {
  while (!group.isOver) {
    const session = await group.openSession(index, hello).catch(() => undefined)
    if (session !== undefined) {
      session.read(reading)
      await act(session, group, index).catch(() => {})
      group.drop(session)
    }
    if (group.isOver) return
    // The group has not stopped, so it was the broker that refused or closed the connection.
    cuts++
    await pause(reconnectMs)
  }
}

/** Starts all sessions of this kind, or fewer if the group may not open so many. */
function begin(group: HostileGroup, kind: Kind): void {
  const count = Math.min(kind.sessions ?? group.sessionsLeft, group.sessionsLeft)
  const indexes = Array.from({ length: count }, () => group.nextIndex())
  for (const index of indexes) void runSession(index, kind, group)
}

process.on('disconnect', () => process.exit())
process.on('message', async (command: HostileCommand) => {
  switch (command.type) {
    case 'prepare':
      preparedGroup = new HostileGroup(command.url, command.profile)
      preparedKind = kindNamed(command.kind)
      await preparedKind.prepare?.(preparedGroup)
      break
    case 'begin':
      begin(preparedGroup!, preparedKind!)
      return
    case 'stop':
      preparedGroup!.stop()
      break
  }
  process.send?.({ sent: preparedGroup?.sent ?? 0, cuts } satisfies HostileReport)
})
// Hostile clients get the lowest priority, so that they do not take the processor from good
// clients.
setPriority(19)
