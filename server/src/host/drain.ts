/**
 * Going away in good order: whoever holds locks gets time to finish, and the others leave spread
 * over that time, so that their new broker is not run over.
 */
import type { Clock } from '@holdfast/shared'
import type { Broker } from '../broker/broker.js'

/** How often the broker looks who is done, in ms. */
const stepMs = 50
/** How long closed connections may take to be gone, in ms. */
const lastMs = 2_000

/**
 * Resolves when every connection is closed, at most `drainMs` plus a closing handshake from now.
 */
export async function drain(broker: Broker, clock: Clock, drainMs: number): Promise<void> {
  broker.startDraining(drainMs)
  const endsAt = clock.monotonic() + drainMs
  const total = broker.connections.size
  while (broker.connections.size > 0 && clock.monotonic() < endsAt) {
    const share = Math.max(0, endsAt - clock.monotonic()) / drainMs
    dismissIdle(broker, Math.floor(total * share))
    await pause(clock, Math.min(stepMs, Math.max(1, endsAt - clock.monotonic())))
  }
  for (const connection of broker.connections) broker.dismiss(connection)
  const giveUpAt = clock.monotonic() + lastMs
  while (broker.connections.size > 0 && clock.monotonic() < giveUpAt) await pause(clock, 5)
  for (const connection of broker.connections) connection.terminate()
}

/** Closes connections that hold and await nothing, until only `leave` are open. */
function dismissIdle(broker: Broker, leave: number): void {
  const open = [...broker.connections].filter(({ state }) => state !== 'closing')
  let tooMany = open.length - leave
  for (const connection of open) {
    if (tooMany <= 0) return
    const session = connection.session
    if (session !== undefined && session.held.size + session.waiting.size > 0) continue
    broker.dismiss(connection)
    tooMany--
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, ms))
}
