/**
 * Going away in good order: whoever holds locks gets time to finish, and the others leave spread
 * over that time, so that their new broker is not run over. Who takes its locks along to another
 * broker that shares the log has nothing to finish, and the sooner everybody is there the better.
 */
import type { Clock } from '@holdfast/shared'
import type { Broker } from '../broker/broker.js'
import { canFailOver } from '../broker/inbound.js'
import type { Membership } from '../log/log.js'

/** How often the broker looks who is done, in ms. */
const stepMs = 50
/** How long closed connections may take to be gone, in ms. */
const lastMs = 2_000
/** How far apart those leave who are expected elsewhere, in ms. */
const dismissalGapMs = 5

/**
 * Resolves when every connection is closed, at most `drainMs` plus a closing handshake from now.
 *
 * @param sharing If the broker's log is shared.
 */
export async function drain(
  broker: Broker,
  clock: Clock,
  drainMs: number,
  sharing?: Membership | undefined,
): Promise<void> {
  broker.startDraining(drainMs)
  const begun = clock.monotonic()
  const endsAt = begun + drainMs
  const total = broker.connections.size
  const spreadMs = sharing === undefined ? drainMs : Math.min(drainMs, total * dismissalGapMs)
  while (broker.connections.size > 0 && clock.monotonic() < endsAt) {
    const share = Math.max(0, 1 - (clock.monotonic() - begun) / spreadMs)
    dismiss(broker, Math.floor(total * share), sharing)
    await pause(clock, Math.min(stepMs, Math.max(1, endsAt - clock.monotonic())))
  }
  for (const connection of broker.connections) broker.dismiss(connection)
  const giveUpAt = clock.monotonic() + lastMs
  while (broker.connections.size > 0 && clock.monotonic() < giveUpAt) await pause(clock, 5)
  for (const connection of broker.connections) connection.terminate()
}

/** Closes connections of which nothing is waited for, until only `leave` are open. */
function dismiss(broker: Broker, leave: number, sharing: Membership | undefined): void {
  const open = [...broker.connections].filter(({ state }) => state !== 'closing')
  let tooMany = open.length - leave
  for (const connection of open) {
    if (tooMany <= 0) return
    const session = connection.session
    const isBusy = session !== undefined && session.held.size + session.waiting.size > 0
    if (isBusy && !canFailOver(session, sharing)) continue
    broker.dismiss(connection)
    tooMany--
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, ms))
}
