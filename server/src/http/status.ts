/**
 * The status of a broker in one object: whether it accepts clients, the state of its command log
 * (the record of all changes of locks), and its gauges. A status has numbers and the names of
 * brokers, but no text that a client chose, because `/status` needs no token.
 */
import type { Broker } from '../broker/broker.js'
import { off } from '../config/limits.js'
import type { Log } from '../log/log.js'
import type { JournalStatus, LogStatus } from '../observability/logStatus.js'
import type { BrokerGauges } from '../observability/observer.js'
import type { ByteCounters } from './byteCounters.js'

/** The kind and the state of the broker's command log, as `/status` shows them. */
export type LogReport =
  | { readonly kind: 'memory' }
  | ({ readonly kind: 'journal' } & JournalStatus)
  /** `live`: whether this broker is a member of the cluster (the brokers that share the log). */
  | ({ readonly kind: 'replicated'; readonly live: boolean } & LogStatus)

/** The JSON of `/status`, where undefined fields are left out. */
export interface BrokerStatus extends Omit<BrokerGauges, 'log'> {
  /**
   * Whether the broker accepts new clients. False while the broker drains (closes its connections
   * one by one before it stops). With a shared log, also false while the broker is not a member of
   * the cluster.
   */
  readonly ready: boolean
  /**
   * The cell (the part of the keys that the broker serves), such as `1/4`. Undefined if the broker
   * serves all keys.
   */
  readonly cell?: string | undefined
  readonly log: LogReport
}

/** The current values of all gauges. */
export function gaugesOf(broker: Broker, { totals }: ByteCounters): BrokerGauges {
  const { connections, table, memory, logStatus } = broker
  return {
    connections: connections.size,
    sessions: table.sessions.size,
    held: table.heldCount,
    waiting: table.waitingCount,
    keys: table.keys.size,
    barriers: table.barriers.size,
    barrierCalls: table.barriers.callCount,
    keptResults: table.keptResults.size,
    bytesReceived: totals.received,
    bytesSent: totals.sent,
    memoryUsed: memory.usedBytes,
    memoryLimit: memory.limitBytes === off ? undefined : memory.limitBytes,
    stats: broker.counters(),
    log: logStatus,
  }
}

/** The JSON of `/status`. */
export function statusOf(
  ready: boolean,
  cell: string | undefined,
  log: Log,
  gauges: BrokerGauges,
): BrokerStatus {
  return { ready, cell, ...gauges, log: reportOf(log) }
}

function reportOf({ membership, journal }: Log): LogReport {
  if (membership !== undefined) {
    // Call isLive() before `status` is read, because isLive() may make the broker resign, and
    // resigning changes `status`.
    const isLive = membership.isLive()
    return { kind: 'replicated', live: isLive, ...membership.status }
  }
  return journal === undefined ? { kind: 'memory' } : { kind: 'journal', ...journal }
}
