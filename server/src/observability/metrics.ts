/**
 * The broker in numbers, for Prometheus, through prom-client. No label holds a key, a session or a
 * user: what strangers choose would become as many series as they like.
 *
 * What happens thousands of times a second is counted in plain numbers here and handed to
 * prom-client when somebody scrapes. Durations are by the clock on the wall, as the table knows
 * when a request came and a lock was granted by that; the hand-off, which is short, by the
 * monotonic one.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Effect, Lock, Session } from '../core/index.js'
import { type LoopLag, nodeEnvironment, watchLoop } from '../platform/environment.js'
import type { LogStatus } from './logStatus.js'
import { type BrokerGauges, type Metrics, type Observer, refusalIn } from './observer.js'

/** In seconds: from the fastest grant to the longest hold worth telling apart. */
const longBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200]
const shortBuckets = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1]
const depthBuckets = [1, 2, 5, 10, 50, 100, 500, 1_000, 10_000, 100_000]

/** Counts by name, cheaply. */
class Tally {
  readonly #counts = new Map<string, number>()

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** Makes a counter say what was counted. */
  show(counter: Counter, label: string): void {
    counter.reset()
    for (const [name, count] of this.#counts) counter.inc({ [label]: name }, count)
  }
}

/** Metrics for one broker, to be given to `createBroker` as `metrics`. */
export function brokerMetrics(): Metrics {
  return new BrokerMetrics()
}

class BrokerMetrics implements Metrics {
  readonly #registry = new Registry()
  readonly #received = new Tally()
  readonly #refused = new Tally()
  readonly #grants = new Tally()
  readonly #failures = new Tally()
  readonly #releases = new Tally()
  readonly #losses = new Tally()
  readonly #ended = new Tally()
  readonly #sessions = new Tally()
  readonly #wait = this.#histogram('wait_seconds', 'From the request to the grant.', longBuckets)
  readonly #hold = this.#histogram('hold_seconds', 'From the grant to its end.', longBuckets)
  readonly #depth = this.#histogram(
    'queue_depth',
    'Requests in the queue that a request has joined, itself included.',
    depthBuckets,
  )
  readonly #handoff = this.#histogram(
    'handoff_seconds',
    'From a grant after waiting, in the table, to its writing to the connection.',
    shortBuckets,
  )
  readonly #suspended = new Set<string>()
  /** Locks released with their session, whose end comes after them and says why. */
  #orphaned = 0
  /** When grants after waiting were made that are not written yet, by the monotonic clock. */
  readonly #handoffs: number[] = []
  #lag: LoopLag | undefined

  constructor() {
    this.#tallies()
    this.#processes()
  }

  attach(vitals: () => BrokerGauges): void {
    this.#lag = watchLoop()
    this.#gauges(vitals)
    const { log } = vitals()
    if (log === undefined) return
    logGauges(this.#gauge.bind(this), () => vitals().log ?? log)
  }

  close(): void {
    this.#lag?.stop()
    this.#lag = undefined
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  // -------------------------------------------------------------------------------- observing

  onMessage(type: string): void {
    this.#received.add(type)
  }

  onRefused({ cause }: Parameters<Observer['onRefused']>[0]): void {
    this.#refused.add(cause)
  }

  onEffect(effect: Effect): void {
    switch (effect.kind) {
      case 'granted':
        this.#onGranted(effect)
        break
      case 'released':
        this.#onReleased(effect.lock, effect.reason)
        break
      case 'queued':
        this.#depth.observe(effect.request.keyState.queue.length)
        break
      case 'withdrawn':
        this.#failures.add(effect.reason)
        break
      case 'answer':
        if (effect.answer.kind === 'failed') this.#onFailed(effect)
        break
      case 'suspended':
        this.#suspended.add(effect.session.id)
        break
      case 'opened':
        this.#sessions.add('opened')
        break
      case 'resumed':
        this.#sessions.add('resumed')
        this.#suspended.delete(effect.session.id)
        break
      case 'ended':
        this.#suspended.delete(effect.session.id)
        this.#onEnded(effect.reason)
        break
    }
  }

  onSessionMoved({ id }: Session): void {
    this.#suspended.delete(id)
  }

  onFlushed(): void {
    if (this.#handoffs.length === 0) return
    const now = nodeEnvironment.clock.monotonic()
    for (const madeAt of this.#handoffs) this.#handoff.observe((now - madeAt) / 1_000)
    this.#handoffs.length = 0
  }

  #onGranted({ lock, request }: Extract<Effect, { kind: 'granted' }>): void {
    this.#grants.add(request === undefined ? 'at once' : 'after waiting')
    if (request === undefined) return
    this.#wait.observe(Math.max(0, lock.since - request.since) / 1_000)
    // What is granted to a session that is away is written when it comes back, if it does.
    if (!lock.session.suspended) this.#handoffs.push(nodeEnvironment.clock.monotonic())
  }

  #onReleased(lock: Lock, reason: string): void {
    this.#releases.add(reason)
    this.#hold.observe(Math.max(0, nodeEnvironment.clock.wall() - lock.since) / 1_000)
    if (reason === 'ended') this.#orphaned++
    else if (reason !== 'unlocked') this.#losses.add(reason)
  }

  #onFailed(effect: Extract<Effect, { kind: 'answer' }>): void {
    const notice = refusalIn(effect)
    if (notice !== undefined) this.#refused.add(notice.cause)
    const { answer, repeat } = effect
    // A request that waited is counted when it leaves its queue.
    if (!repeat && answer.kind === 'failed' && answer.code === 'LOCK_HELD') {
      this.#failures.add('held')
    }
  }

  #onEnded(reason: string): void {
    this.#ended.add(reason)
    if (reason !== 'goodbye') {
      for (; this.#orphaned > 0; this.#orphaned--) this.#losses.add(`session ${reason}`)
    }
    this.#orphaned = 0
  }

  // ---------------------------------------------------------------------------------- showing

  #tallies(): void {
    const shown: [Tally, string, string, string][] = [
      [this.#received, 'messages_received_total', 'type', 'Messages of open sessions.'],
      [this.#grants, 'grants_total', 'when', 'Locks granted.'],
      [this.#failures, 'failures_total', 'reason', 'Requests for locks that came to nothing.'],
      [this.#releases, 'releases_total', 'reason', 'Locks that are no more.'],
      [this.#losses, 'losses_total', 'reason', 'Locks that ended against the will of the holder.'],
      [this.#refused, 'refused_total', 'cause', 'Refusals, by the limit or rule.'],
      [this.#sessions, 'sessions_total', 'event', 'Sessions opened and taken up again.'],
      [this.#ended, 'sessions_ended_total', 'reason', 'Sessions that are no more.'],
    ]
    for (const [tally, name, label, help] of shown) {
      new Counter({
        name: `holdfast_${name}`,
        help,
        labelNames: [label],
        registers: [this.#registry],
        collect() {
          tally.show(this, label)
        },
      })
    }
  }

  #gauges(vitals: () => BrokerGauges): void {
    this.#gauge('connections', 'Open connections.', () => vitals().connections)
    this.#gauge('sessions', 'Sessions, those that are away included.', () => vitals().sessions)
    this.#gauge(
      'sessions_suspended',
      'Sessions whose connection is gone and whose grace is not over.',
      () => this.#suspended.size,
    )
    this.#gauge('locks_held', 'Locks held.', () => vitals().held)
    this.#gauge('requests_waiting', 'Requests that wait for a lock.', () => vitals().waiting)
    this.#gauge('keys', 'Keys that are held or waited for.', () => vitals().keys)
    const memoryLimit = () => vitals().memoryLimit ?? Number.POSITIVE_INFINITY
    this.#gauge('memory_used_bytes', 'Memory kept for clients.', () => vitals().memoryUsed)
    this.#gauge('memory_limit_bytes', 'The bound of that, limits.memoryBytes.', memoryLimit)
    this.#total('refreshes_total', 'Refreshes of a ttl.', () => vitals().stats.refreshCount)
    this.#total('received_bytes_total', 'Bytes from clients.', () => vitals().bytesReceived)
    this.#total('sent_bytes_total', 'Bytes to clients.', () => vitals().bytesSent)
  }

  #processes(): void {
    const lag = () => this.#lag?.read()
    new Gauge({
      name: 'holdfast_event_loop_lag_seconds',
      help: 'How late the event loop was since the last scrape.',
      labelNames: ['quantile'],
      registers: [this.#registry],
      collect() {
        const taken = lag()
        if (taken === undefined) return
        this.set({ quantile: '0.5' }, taken.p50)
        this.set({ quantile: '0.99' }, taken.p99)
        this.set({ quantile: '1' }, taken.max)
      },
    })
    this.#gauge('resident_memory_bytes', 'Memory of the process.', () => process.memoryUsage.rss())
    this.#total('cpu_seconds_total', 'Processor time of the process.', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `holdfast_${name}`, help, buckets, registers: [this.#registry] })
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name: `holdfast_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(value())
      },
    })
  }

  #total(name: string, help: string, value: () => number): void {
    new Counter({
      name: `holdfast_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.reset()
        this.inc(value())
      },
    })
  }
}

/** Makes a gauge that is read when somebody scrapes. */
type MakeGauge = (name: string, help: string, value: () => number) => void

/**
 * The state of a log that several brokers share: whether entries come back, how long they take,
 * which brokers are members, and the age of the snapshot that a new member would load.
 */
function logGauges(gauge: MakeGauge, status: () => LogStatus): void {
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
