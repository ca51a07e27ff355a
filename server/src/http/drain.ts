/**
 * Draining: the broker stops in good order. Clients that hold locks get time to finish. The
 * connections of other clients are closed one by one over that time, so that they do not all reach
 * their next broker at once. A session that another broker can take over keeps its locks, so its
 * connection is closed without waiting.
 */
import type { Clock } from '@holdfast/shared'
import type { Broker } from '../broker/broker.js'
import { canFailOver } from '../broker/inbound.js'
import type { Membership } from '../log/log.js'

/** How often the broker closes connections while it drains, in ms. */
const stepMs = 50
/** How long sockets may take to close at the end, in ms. */
const lastMs = 2_000
/** Time between two closings where another broker takes the sessions over, in ms. */
const dismissalGapMs = 5

/**
 * Resolves when every connection is closed, at most `drainMs` plus a closing handshake from now.
 *
 * @param membership Undefined unless several brokers share the log.
 */
export async function drain(
  broker: Broker,
  clock: Clock,
  drainMs: number,
  membership?: Membership | undefined,
): Promise<void> {
  broker.startDraining(drainMs)
  const begun = clock.monotonic()
  const endsAt = begun + drainMs
  const total = broker.connections.size
  const spreadMs = membership === undefined ? drainMs : Math.min(drainMs, total * dismissalGapMs)
  while (broker.connections.size > 0 && clock.monotonic() < endsAt) {
    const share = Math.max(0, 1 - (clock.monotonic() - begun) / spreadMs)
    dismiss(broker, Math.floor(total * share), membership)
    await pause(clock, Math.min(stepMs, Math.max(1, endsAt - clock.monotonic())))
  }
  for (const connection of broker.connections) broker.dismiss(connection)
  const giveUpAt = clock.monotonic() + lastMs
  while (broker.connections.size > 0 && clock.monotonic() < giveUpAt) await pause(clock, 5)
  for (const connection of broker.connections) connection.terminate()
}

/** Closes connections without locks and requests, until only `leave` are open. */
function dismiss(broker: Broker, leave: number, membership: Membership | undefined): void {
  const open = [...broker.connections].filter(({ state }) => state !== 'closing')
  let tooMany = open.length - leave
  for (const connection of open) {
    if (tooMany <= 0) return
    const session = connection.session
    const isBusy = session !== undefined && session.held.size + session.waiting.size > 0
    if (isBusy && !canFailOver(session, membership)) continue
    broker.dismiss(connection)
    tooMany--
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, ms))
}
