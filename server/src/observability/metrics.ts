/**
 * The broker's metrics for Prometheus, through prom-client. No label holds a key, a session or a
 * principal (the name of a client), because each value from a client would become a series. Label
 * values are in snake_case.
 *
 * Events are counted in plain numbers here, and prom-client gets the numbers when Prometheus
 * scrapes, because some events happen thousands of times a second. Most events are effects, which
 * are the changes of the lock table.
 *
 * The wall clock measures how long requests wait and locks are held, because the lock table stores
 * the wall times of requests and grants. The monotonic clock measures the hand-off (from a grant to
 * its write), because the wall clock counts only whole ms.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { type Effect, type Lock, type Session, waitingCountOf } from '../core/index.js'
import { type EventLoopLag, nodeEnvironment, watchEventLoopLag } from '../platform/environment.js'
import type { LogStatus } from './logStatus.js'
import { type BrokerGauges, type Metrics, type Observer, refusalIn } from './observer.js'

/** The bounds of the buckets for waiting and holding, in seconds. */
const longBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200]
/** The bounds of the buckets for the hand-off, in seconds. */
const shortBuckets = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1]
/** The bounds of the buckets for the length of a queue, in requests. */
const depthBuckets = [1, 2, 5, 10, 50, 100, 500, 1_000, 10_000, 100_000]

/** Counts events by label value, without calling prom-client for each event. */
class Tally {
  readonly #counts = new Map<string, number>()

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** Copies all counts to a counter of prom-client. */
  copyTo(counter: Counter, label: string): void {
    // prom-client can only add to a counter. So reset the counter, and then add the whole count.
    counter.reset()
    for (const [name, count] of this.#counts) counter.inc({ [label]: name }, count)
  }
}

/** Makes the metrics of one broker; pass them to `createBroker` as `metrics`. */
export function brokerMetrics(): Metrics {
  return new BrokerMetrics()
}

class BrokerMetrics implements Metrics {
  readonly #registry = new Registry()
  readonly #received = new Tally()
  readonly #refused = new Tally()
  readonly #grants = new Tally()
  readonly #grantsByKind = new Tally()
  readonly #failures = new Tally()
  readonly #releases = new Tally()
  readonly #losses = new Tally()
  readonly #endedSessions = new Tally()
  readonly #openedAndResumed = new Tally()
  readonly #waitSeconds = this.#histogram(
    'wait_seconds',
    'Time from a request that waited to its grant.',
    longBuckets,
  )
  readonly #holdSeconds = this.#histogram(
    'hold_seconds',
    'Time from the grant of a lock to its end.',
    longBuckets,
  )
  readonly #queueDepth = this.#histogram(
    'queue_depth',
    'Length of a queue when a request joined it, including that request.',
    depthBuckets,
  )
  readonly #handoffSeconds = this.#histogram(
    'handoff_seconds',
    'Time from a grant after waiting to its write to the connection.',
    shortBuckets,
  )
  /** How often a leader of an election has changed the value that it publishes. */
  #proclamations = 0
  /** The ids of the suspended sessions, which have no connection. */
  readonly #suspended = new Set<string>()
  /**
   * How many locks of the session that is ending were released. These losses are counted at the
   * effect `ended`, which comes last and has the reason.
   */
  #releasedWithSession = 0
  /**
   * The times of those grants to waiters that are not written to a connection yet, in ms of the
   * monotonic clock.
   */
  readonly #unwrittenGrants: number[] = []
  #eventLoopLag: EventLoopLag | undefined

  constructor() {
    this.#registerTallies()
    this.#registerProcessMetrics()
  }

  attach(gauges: () => BrokerGauges): void {
    this.#eventLoopLag = watchEventLoopLag()
    this.#registerGauges(gauges)
    const { log } = gauges()
    if (log === undefined) return
    this.#registerBrokerInfo(() => gauges().log?.givenName ?? '')
    // By its type, `gauges().log` may be undefined. `log` is the fallback.
    registerLogMetrics(this.#gauge.bind(this), this.#total.bind(this), () => gauges().log ?? log)
  }

  close(): void {
    this.#eventLoopLag?.stop()
    this.#eventLoopLag = undefined
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
      case 'upgraded':
        this.#grants.add(effect.request === undefined ? 'immediate' : 'after_waiting')
        break
      case 'released':
        this.#onReleased(effect.lock, effect.reason)
        break
      case 'queued':
        this.#queueDepth.observe(waitingCountOf(effect.request.keyState))
        break
      case 'withdrawn':
        // `answered`: the request was a `once` that waited while another caller ran the function.
        // The request got the value of that run, so the request has not failed. A set has a request
        // for each key, but counts once.
        if (effect.request.isPrimary && effect.reason !== 'answered')
          this.#failures.add(effect.reason)
        break
      case 'answer':
        if (effect.answer.kind === 'failed') this.#onFailed(effect)
        break
      case 'proclaimed':
        this.#proclamations++
        break
      case 'suspended':
        this.#suspended.add(effect.session.id)
        break
      case 'opened':
        this.#openedAndResumed.add('opened')
        break
      case 'resumed':
        this.#openedAndResumed.add('resumed')
        this.#suspended.delete(effect.session.id)
        break
      case 'ended':
        this.#suspended.delete(effect.session.id)
        this.#onEnded(effect.reason)
        break
    }
  }

  /** The session now belongs to another broker, so this broker does not count it any more. */
  onSessionMoved({ id }: Session): void {
    this.#suspended.delete(id)
  }

  onFlushed(): void {
    if (this.#unwrittenGrants.length === 0) return
    const now = nodeEnvironment.clock.monotonic()
    for (const grantedAt of this.#unwrittenGrants)
      this.#handoffSeconds.observe((now - grantedAt) / 1_000)
    this.#unwrittenGrants.length = 0
  }

  #onGranted({ lock, request }: Extract<Effect, { kind: 'granted' }>): void {
    // A set (several keys locked together) has a lock for each key. Only the first lock is primary,
    // so that a set counts once.
    if (!lock.isPrimary) return
    this.#grantsByKind.add(kindOf(lock))
    this.#grants.add(request === undefined ? 'immediate' : 'after_waiting')
    if (request === undefined) return
    this.#waitSeconds.observe(Math.max(0, lock.since - request.since) / 1_000)
    // A suspended session has no connection, so its grant is written only when the session resumes.
    if (!lock.session.suspended) this.#unwrittenGrants.push(nodeEnvironment.clock.monotonic())
  }

  #onReleased(lock: Lock, reason: string): void {
    if (!lock.isPrimary) return
    const label = reason === 'maxHold' ? 'max_hold' : reason
    this.#releases.add(label)
    this.#holdSeconds.observe(Math.max(0, nodeEnvironment.clock.wall() - lock.since) / 1_000)
    if (reason === 'ended') this.#releasedWithSession++
    else if (reason !== 'unlocked') this.#losses.add(label)
  }

  #onFailed(effect: Extract<Effect, { kind: 'answer' }>): void {
    const refusal = refusalIn(effect)
    if (refusal !== undefined) this.#refused.add(refusal.cause)
    const { answer, repeat: isRepeat } = effect
    // Only requests that did not wait are counted here. The effect `withdrawn` counts requests that
    // waited. A repeated answer was counted when it was first given.
    if (!isRepeat && answer.kind === 'failed' && answer.code === 'LOCK_HELD') {
      this.#failures.add('held')
    }
  }

  #onEnded(reason: string): void {
    this.#endedSessions.add(reason)
    // `goodbye`: the client ended the session with `bye`, and so gave up its locks itself.
    if (reason !== 'goodbye') {
      for (let lost = 0; lost < this.#releasedWithSession; lost++) {
        this.#losses.add(`session_${reason}`)
      }
    }
    this.#releasedWithSession = 0
  }

  // ------------------------------------------------------------------------------ registering

  #registerTallies(): void {
    // Each line has a tally, the name of its metric, the name of the label, and the help text.
    const tallies: [Tally, string, string, string][] = [
      [this.#received, 'messages_received_total', 'type', 'Messages of open sessions.'],
      [this.#grants, 'grants_total', 'when', 'Granted locks.'],
      [this.#grantsByKind, 'grants_by_kind_total', 'kind', 'Granted locks, by their kind.'],
      [this.#failures, 'failures_total', 'reason', 'Lock requests that ended without a grant.'],
      [this.#releases, 'releases_total', 'reason', 'Locks that ended, by any reason.'],
      [this.#losses, 'losses_total', 'reason', 'Locks that ended without an unlock by the holder.'],
      [this.#refused, 'refused_total', 'cause', 'Refused clients and requests, by limit or rule.'],
      [this.#openedAndResumed, 'sessions_total', 'event', 'Opened and resumed sessions.'],
      [this.#endedSessions, 'sessions_ended_total', 'reason', 'Sessions that ended.'],
    ]
    for (const [tally, name, label, help] of tallies) {
      new Counter({
        name: `holdfast_${name}`,
        help,
        labelNames: [label],
        registers: [this.#registry],
        collect() {
          tally.copyTo(this, label)
        },
      })
    }
    this.#total('proclaimed_total', 'Changes of the values of leaders.', () => this.#proclamations)
  }

  #registerGauges(gauges: () => BrokerGauges): void {
    this.#gauge('connections', 'Open connections.', () => gauges().connections)
    this.#gauge('sessions', 'Open sessions, including suspended ones.', () => gauges().sessions)
    this.#gauge(
      'sessions_suspended',
      'Suspended sessions, which have no connection.',
      () => this.#suspended.size,
    )
    this.#gauge('locks_held', 'Held locks.', () => gauges().held)
    this.#gauge('requests_waiting', 'Requests that wait for a lock.', () => gauges().waiting)
    this.#gauge('keys', 'Keys with a holder or a waiter.', () => gauges().keys)
    this.#gauge('barriers', 'Barriers at which calls wait.', () => gauges().barriers)
    this.#gauge('barrier_calls', 'Calls that wait at barriers.', () => gauges().barrierCalls)
    this.#gauge(
      'kept_results',
      'Results of `once` that the broker keeps for later calls.',
      () => gauges().keptResults,
    )
    const memoryLimit = () => gauges().memoryLimit ?? Number.POSITIVE_INFINITY
    this.#gauge(
      'memory_used_bytes',
      'Estimated memory that the broker keeps for clients.',
      () => gauges().memoryUsed,
    )
    this.#gauge('memory_limit_bytes', 'The limit memoryBytes; +Inf if it is off.', memoryLimit)
    this.#total(
      'refreshes_total',
      'Refreshes of the ttl of a lock.',
      () => gauges().stats.refreshCount,
    )
    this.#total(
      'received_bytes_total',
      'Bytes received from clients.',
      () => gauges().bytesReceived,
    )
    this.#total('sent_bytes_total', 'Bytes sent to clients.', () => gauges().bytesSent)
  }

  /** The name that the operator gave to the broker, as a label of a constant metric. */
  #registerBrokerInfo(name: () => string): void {
    new Gauge({
      name: 'holdfast_log_broker_info',
      help: 'Constant 1, with the name of this broker (empty without a name).',
      labelNames: ['name'],
      registers: [this.#registry],
      collect() {
        this.set({ name: name() }, 1)
      },
    })
  }

  #registerProcessMetrics(): void {
    const readLag = () => this.#eventLoopLag?.read()
    new Gauge({
      name: 'holdfast_event_loop_lag_seconds',
      help: 'Delay of the event loop since the last scrape.',
      labelNames: ['quantile'],
      registers: [this.#registry],
      collect() {
        const lag = readLag()
        if (lag === undefined) return
        this.set({ quantile: '0.5' }, lag.p50)
        this.set({ quantile: '0.99' }, lag.p99)
        this.set({ quantile: '1' }, lag.max)
      },
    })
    this.#gauge('resident_memory_bytes', 'Resident memory of the process.', () =>
      process.memoryUsage.rss(),
    )
    this.#total('cpu_seconds_total', 'Processor time of the process.', () => {
      const { user, system } = process.cpuUsage()
      // Node counts this time in microseconds.
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

  /**
   * Registers a counter that gets its value at each scrape, after a reset like in {@link Tally}.
   */
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

/** The kind of a lock, as a label. */
function kindOf({ mode, extras }: Lock): string {
  if (extras?.once) return 'once'
  if (extras?.election !== undefined) return 'election'
  return extras?.set === undefined ? mode : 'set'
}

/** A function that registers a gauge or a counter. `value` is called at each scrape. */
type Register = (name: string, help: string, value: () => number) => void

/**
 * Registers gauges and counters for the log that brokers share. An own entry *returns* when the
 * broker that appended the entry reads it from the log.
 */
function registerLogMetrics(gauge: Register, total: Register, status: () => LogStatus): void {
  const seconds = (ms: number | undefined): number => (ms ?? 0) / 1_000
  gauge(
    'log_position',
    'Position of the newest log entry that this broker applied.',
    () => status().position,
  )
  gauge('log_brokers', 'Members: brokers that share the log now.', () => status().members.length)
  gauge('log_serving', '1 if this broker is a member and serves clients, else 0.', () =>
    status().name === undefined ? 0 : 1,
  )
  // The longer of two times; see `LogStatus.lagMs`.
  gauge(
    'log_lag_seconds',
    'Age of the oldest own entry that has not returned, or how long the newest returned entry ' +
      'took, if that was longer.',
    () => seconds(status().lagMs),
  )
  gauge('log_problem', '1 if the log has a problem, which the status names, else 0.', () =>
    status().problem === undefined ? 0 : 1,
  )
  total(
    'log_takeovers_total',
    'Brokers whose sessions this broker has taken over.',
    () => status().takeovers,
  )
  total(
    'log_resignations_total',
    'How often this broker stopped serving, mostly because its entries did not return.',
    () => status().resignations,
  )
  total(
    'log_snapshot_failures_total',
    'Snapshots that failed at this broker.',
    () => status().failedSnapshots,
  )
  gauge(
    'log_self_lease_seconds',
    'How long this broker still serves if its entries do not return.',
    () => seconds(status().selfLeaseMs),
  )
  gauge('log_waiting', 'Commands that wait to be appended.', () => status().waiting)
  gauge('log_snapshot_age_seconds', 'Age of the newest snapshot.', () =>
    seconds(status().snapshot?.ageMs),
  )
}
