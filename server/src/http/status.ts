/**
 * How a broker is doing, in one object: whether it takes clients, its log, and its vitals. It holds
 * numbers, and names that brokers gave themselves; nothing that a client chose.
 */

import type { Broker } from '../broker/broker.js'
import { off } from '../config/limits.js'
import type { Log } from '../log/log.js'
import type { JournalStatus, LogStatus } from '../observability/logStatus.js'
import type { BrokerGauges } from '../observability/observer.js'
import type { ByteCounters } from './byteCounters.js'

/** How the log of a broker is doing, whichever it has. */
export type LogReport =
  /** There is nothing to say of a log that keeps nothing. */
  | { readonly kind: 'memory' }
  | ({ readonly kind: 'journal' } & JournalStatus)
  /** `stands`: whether this broker counts among those that share the log. */
  | ({ readonly kind: 'shared'; readonly stands: boolean } & LogStatus)

/** What `/status` tells as JSON; what is undefined is left out there. */
export interface BrokerStatus extends Omit<BrokerGauges, 'log'> {
  /** Whether new clients are taken on: not while draining, nor without standing. */
  readonly ready: boolean
  readonly log: LogReport
}

/** How much there is of what now. */
export function gaugesOf(broker: Broker, { bytes }: ByteCounters): BrokerGauges {
  const { connections, table, memory, logStatus } = broker
  return {
    connections: connections.size,
    sessions: table.sessions.size,
    held: table.heldCount,
    waiting: table.waitingCount,
    keys: table.keys.size,
    bytesReceived: bytes.received,
    bytesSent: bytes.sent,
    memoryUsed: memory.usedBytes,
    memoryLimit: memory.limitBytes === off ? undefined : memory.limitBytes,
    stats: broker.stats(),
    log: logStatus,
  }
}

export function statusOf(ready: boolean, log: Log, vitals: BrokerGauges): BrokerStatus {
  return { ready, ...vitals, log: reportOf(log) }
}

function reportOf({ membership, journal }: Log): LogReport {
  if (membership !== undefined) {
    // First: if it does not stand, it has resigned by the time that this is answered.
    const stands = membership.isLive()
    return { kind: 'shared', stands, ...membership.status }
  }
  return journal === undefined ? { kind: 'memory' } : { kind: 'journal', ...journal }
}
