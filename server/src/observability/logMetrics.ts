/**
 * How a log is doing that is shared with other brokers, as gauges: whether entries come back, how
 * long they take, who is there, and how old the snapshot is that a newcomer would load.
 */
import type { LogStatus } from '../log/log.js'

/** Makes a gauge that is read when somebody scrapes. */
type MakeGauge = (name: string, help: string, value: () => number) => void

export function logGauges(gauge: MakeGauge, status: () => LogStatus): void {
  const seconds = (ms: number | undefined): number => (ms ?? 0) / 1_000
  gauge('log_position', 'The newest entry of the log that was taken.', () => status().position)
  gauge('log_brokers', 'Brokers that share the log.', () => status().members.length)
  gauge('log_serving', 'Whether this broker is one of those that serve: 1 or 0.', () =>
    status().name === undefined ? 0 : 1,
  )
  gauge('log_lag_seconds', 'How long the newest own entry took to come back.', () =>
    seconds(status().lagMs),
  )
  gauge('log_standing_seconds', 'How long this broker serves if nothing comes back any more.', () =>
    seconds(status().selfLeaseMs),
  )
  gauge('log_waiting', 'Commands that wait to be appended.', () => status().waiting)
  gauge('log_snapshot_age_seconds', 'How old the newest snapshot is.', () =>
    seconds(status().snapshot?.ageMs),
  )
}
