/**
 * Measures brokers that share a command log, which orders the commands of all these brokers. The
 * "bare log" is the same log without a broker. Slices of time with brokers and with the bare log
 * alternate. The figures are how long a grant takes, how long a hand-off between clients of two
 * brokers takes, and the number of commands a second. A fence is the number of a grant.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import type { Pace } from '../job.js'
import type { Server } from '../processes/servers.js'
import type { BareDriver } from '../processes/sharedServers.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'
import { RawPairs } from './rawPairs.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { median } from './statistics.js'

export type Figures = Record<string, number>

/** Makes a bare entry about as long as an entry of a broker with one command. */
const entryPadding = 'x'.repeat(160)

/** Repeats a measurement for `ms` milliseconds, and records its results. */
async function repeat(
  ms: number,
  latencies: Latencies,
  measure: () => Promise<number>,
): Promise<void> {
  const end = performance.now() + ms
  while (performance.now() < end) latencies.record(await measure())
}

/**
 * Measures, without a broker, the time from the append of an entry until the watch of etcd delivers
 * the entry.
 */
export class BareRoundTrip {
  readonly #engine: EtcdEngine
  #entryCount = 0
  #onEntry: (entry: string) => void = () => {}

  private constructor(engine: EtcdEngine) {
    this.#engine = engine
  }

  /** @param prefix The prefix of the log in etcd. Equal prefixes name the same log. */
  static async open(endpoints: readonly string[], prefix: string): Promise<BareRoundTrip> {
    const engine = new EtcdEngine({ endpoints, prefix }, nodeEnvironment)
    // The settings that all brokers of a log must share. Without brokers, any values are valid.
    await engine.open({ format: 3, deadMs: 6_000, cluster: '' })
    const roundTrip = new BareRoundTrip(engine)
    engine.follow(0, {
      entry: (_, entry) => roundTrip.#onEntry(entry),
      compacted: () => {},
      failed: () => {},
    })
    return roundTrip
  }

  readonly measure = async (): Promise<number> => {
    // The drivers may follow the same log. A driver ignores entries whose `broker` is another name.
    const entry = JSON.stringify({ broker: 'round', n: this.#entryCount++, rest: entryPadding })
    const began = performance.now()
    const delivered = new Promise<void>((resolve) => {
      this.#onEntry = (deliveredEntry) => {
        if (deliveredEntry === entry) resolve()
      }
    })
    const appended = this.#engine.append('bench', entry)
    await delivered
    const elapsed = performance.now() - began
    // The watch may deliver the entry before etcd confirms the append.
    await appended
    return elapsed
  }

  close(): Promise<void> {
    return this.#engine.close()
  }
}

function lock(session: RawSession, key: string): Promise<RawAnswer> {
  return new Promise((resolve) => session.lock(key, resolve))
}

function unlock(session: RawSession, fence: number): Promise<RawAnswer> {
  return new Promise((resolve) => session.unlock(fence, resolve))
}

/** Returns a function that measures the time from a request to its grant, in ms. */
export async function prepareGrantMeasure(broker: Server): Promise<() => Promise<number>> {
  const session = await RawSession.open(broker.url)
  return async () => {
    const began = performance.now()
    const { fence } = await lock(session, 'single')
    const elapsed = performance.now() - began
    await unlock(session, fence)
    return elapsed
  }
}

/**
 * Returns a function that measures a hand-off, in ms: the time from the unlock by a client of one
 * broker to the grant for a client of the other broker.
 */
export async function prepareHandOffMeasure(
  first: Server,
  second: Server,
): Promise<() => Promise<number>> {
  let [holder, waiter] = [await RawSession.open(first.url), await RawSession.open(second.url)]
  let { fence } = await lock(holder, 'handed')
  return async () => {
    const granted = lock(waiter, 'handed')
    // Waits until the holder's broker knows the request of the waiter.
    while ((await holder.waitingCount({ key: 'handed' })) === 0);
    const began = performance.now()
    const released = unlock(holder, fence)
    fence = (await granted).fence
    const elapsed = performance.now() - began
    // The confirmation of the unlock is no part of the hand-off.
    await released
    ;[holder, waiter] = [waiter, holder]
    return elapsed
  }
}

/**
 * Compares a latency of the bare log (`bare`) with a latency of our brokers (`own`). The slices of
 * time of the two measurements alternate.
 */
export async function compareLatency(
  pace: Pace,
  bare: () => Promise<number>,
  own: () => Promise<number>,
): Promise<{ readonly bare: Figures; readonly own: Figures }> {
  const allLatencies = { bare: new Latencies(), own: new Latencies() }
  const ratios: number[] = []
  await repeat(pace.warmUpMs, new Latencies(), bare)
  await repeat(pace.warmUpMs, new Latencies(), own)
  for (let round = 0; round < pace.rounds; round++) {
    const roundLatencies = { bare: new Latencies(), own: new Latencies() }
    for (const [name, measure] of [
      ['bare', bare],
      ['own', own],
    ] as const) {
      await repeat(pace.sliceMs, roundLatencies[name], async () => {
        const elapsed = await measure()
        allLatencies[name].record(elapsed)
        return elapsed
      })
    }
    ratios.push(roundLatencies.own.percentile(50) / roundLatencies.bare.percentile(50))
  }
  // `record` takes ms, and `percentile` returns µs.
  const figures = (latencies: Latencies): Figures => ({
    p50Us: latencies.percentile(50),
    p99Us: latencies.percentile(99),
  })
  return {
    bare: figures(allLatencies.bare),
    own: { ...figures(allLatencies.own), timeRatioToBareLog: median(ratios) },
  }
}

/**
 * Compares two rates, in commands a second: the rate of brokers under load, and the rate of the
 * bare log, to which the drivers append.
 *
 * @param loads One load for each broker.
 */
export async function compareRates(
  pace: Pace,
  drivers: readonly BareDriver[],
  loads: readonly RawPairs[],
): Promise<{ readonly bare: Figures; readonly own: Figures }> {
  const rates = { bare: [] as number[], own: [] as number[] }
  const bareSlice = async (ms: number): Promise<number> => {
    const began = performance.now()
    for (const driver of drivers) driver.go()
    await sleep(ms)
    const commands = await Promise.all(drivers.map((driver) => driver.stop()))
    return (sum(commands) * 1_000) / (performance.now() - began)
  }
  const ownSlice = async (ms: number): Promise<number> => {
    const before = sum(loads.map(({ pairs }) => pairs))
    const began = performance.now()
    for (const load of loads) load.start()
    await sleep(ms)
    await Promise.all(loads.map((load) => load.stop()))
    // A pair is two commands, a lock and an unlock.
    const commands = 2 * (sum(loads.map(({ pairs }) => pairs)) - before)
    return (commands * 1_000) / (performance.now() - began)
  }
  await bareSlice(pace.warmUpMs)
  await ownSlice(pace.warmUpMs)
  for (const { latencies } of loads) latencies.reset()
  for (let round = 0; round < pace.rounds; round++) {
    // In longer slices, the time to stop a load has less weight.
    rates.bare.push(await bareSlice(2 * pace.sliceMs))
    rates.own.push(await ownSlice(2 * pace.sliceMs))
  }
  const ratios = rates.own.map((rate, i) => rate / rates.bare[i]!)
  return {
    bare: { commandsPerSecond: median(rates.bare) },
    own: {
      commandsPerSecond: median(rates.own),
      ratioToBareLog: median(ratios),
      p50Us: median(loads.map(({ latencies }) => latencies.percentile(50))),
      p99Us: Math.max(...loads.map(({ latencies }) => latencies.percentile(99))),
    },
  }
}

/**
 * Opens the load of W1, the workload in which no lock is contended, with its sessions spread over
 * the brokers. A pair is a lock and an unlock.
 */
export function openPairs(
  brokers: readonly Server[],
  sessions: number,
  inFlight: number,
  prefix: string,
  exclusion: ExclusionCheck,
): Promise<RawPairs[]> {
  const sessionsEach = Math.round(sessions / brokers.length)
  return Promise.all(
    brokers.map((broker, i) =>
      RawPairs.open(
        broker,
        { sessions: sessionsEach, inFlight, prefix: `${prefix}${i}` },
        exclusion,
      ),
    ),
  )
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
