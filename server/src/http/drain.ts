/**
 * Drains a broker that stops. Clients that hold locks get time to release them. Meanwhile the
 * broker closes the connections of other clients gradually, so that these clients do not all reach
 * another broker at once. A session that another broker can take over keeps its locks. So the
 * broker closes the connection of such a session without waiting for the locks.
 *
 * A rebalance also closes connections gradually, but the broker keeps running. Each client
 * reconnects to the first broker of its list, or to the broker that a load balancer chooses.
 */
import type { Clock } from '@holdfast/shared'
import type { Broker } from '../broker/broker.js'
import { canFailOver } from '../broker/inbound.js'
import type { Membership } from '../log/log.js'

/** The time between two steps, in ms. Each step of a drain or a rebalance closes connections. */
const stepMs = 50
/** How long the last closing handshakes may take before the sockets are terminated, in ms. */
const lastHandshakesMs = 2_000
/** The time between two checks whether the last handshakes are over, in ms. */
const handshakeCheckMs = 5
/**
 * The average time between the closing of two connections, in ms, if brokers share a command log.
 * The time is short, because the clients keep their locks.
 */
const dismissalGapMs = 5

/**
 * Drains the broker. Resolves when every connection is closed, after at most `drainMs` plus the
 * time for the last closing handshakes.
 *
 * @param membership Undefined unless several brokers share the command log (the record of all
 *   changes of locks).
 */
export async function drain(
  broker: Broker,
  clock: Clock,
  drainMs: number,
  membership?: Membership | undefined,
): Promise<void> {
  broker.startDraining(drainMs)
  const startedAt = clock.monotonic()
  const endsAt = startedAt + drainMs
  const countAtStart = broker.connections.size
  // The time over which the broker spreads the closing of the connections.
  const spreadMs =
    membership === undefined ? drainMs : Math.min(drainMs, countAtStart * dismissalGapMs)
  while (broker.connections.size > 0 && clock.monotonic() < endsAt) {
    const shareToKeepOpen = Math.max(0, 1 - (clock.monotonic() - startedAt) / spreadMs)
    dismissDownTo(broker, Math.floor(countAtStart * shareToKeepOpen), membership)
    await sleep(clock, Math.min(stepMs, Math.max(1, endsAt - clock.monotonic())))
  }
  // If connections are left, the time is over: close those of sessions with locks too.
  for (const connection of broker.connections) broker.dismiss(connection)
  const giveUpAt = clock.monotonic() + lastHandshakesMs
  while (broker.connections.size > 0 && clock.monotonic() < giveUpAt) {
    await sleep(clock, handshakeCheckMs)
  }
  for (const connection of broker.connections) connection.terminate()
}

/**
 * Closes, gradually, the current connections of sessions that another broker can take over.
 * Resolves with the number of these connections. The broker accepts new connections meanwhile.
 *
 * @param spreadMs The time over which the broker spreads the closing of the connections, in ms.
 * @param membership Undefined unless several brokers share the command log.
 */
export async function rebalance(
  broker: Broker,
  clock: Clock,
  spreadMs: number,
  membership: Membership | undefined,
): Promise<number> {
  const movable = [...broker.connections].filter(
    ({ state, session }) =>
      state !== 'closing' && session !== undefined && canFailOver(session, membership),
  )
  const startedAt = clock.monotonic()
  let closedCount = 0
  while (closedCount < movable.length) {
    // `stepMs` is added, so that the first step already closes some connections.
    const share = Math.min(1, (clock.monotonic() - startedAt + stepMs) / Math.max(spreadMs, stepMs))
    const targetCount = Math.ceil(movable.length * share)
    for (; closedCount < targetCount; closedCount++) {
      const connection = movable[closedCount]!
      if (connection.state !== 'closing') broker.dismiss(connection)
    }
    if (closedCount < movable.length) await sleep(clock, stepMs)
  }
  return movable.length
}

/**
 * Closes connections until at most `openTarget` are open. Keeps the connection of a session that
 * has locks or requests, unless another broker can take the session over. So more may stay open.
 */
function dismissDownTo(
  broker: Broker,
  openTarget: number,
  membership: Membership | undefined,
): void {
  const openConnections = [...broker.connections].filter(({ state }) => state !== 'closing')
  let excess = openConnections.length - openTarget
  for (const connection of openConnections) {
    if (excess <= 0) return
    const session = connection.session
    // `lockCount` also counts waiting requests and calls at barriers.
    const isBusy = session !== undefined && session.lockCount > 0
    if (isBusy && !canFailOver(session, membership)) continue
    broker.dismiss(connection)
    excess--
  }
}

function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, ms))
}
