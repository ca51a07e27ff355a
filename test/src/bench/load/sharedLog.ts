/**
 * What is measured of brokers that share a log, each slice of it beside a slice of the bare log:
 * how long a grant takes, how long a hand-off from one broker's client to another's takes, and how
 * many commands a second there can be.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import type { Pace } from '../job.js'
import type { Server } from '../processes/servers.js'
import type { BareDriver } from '../processes/sharedServers.js'
import type { Exclusion } from './exclusion.js'
import { Latencies } from './latencies.js'
import { RawPairs } from './rawPairs.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { median } from './statistics.js'

export type Figures = Record<string, number>

/** Does one thing after the other for a while, and records how long each took. */
async function repeat(ms: number, into: Latencies, once: () => Promise<number>): Promise<void> {
  const until = performance.now() + ms
  while (performance.now() < until) into.record(await once())
}

/** A put and the sight of it in the watch, and nothing else. */
export class BareRound {
  readonly #engine: EtcdEngine
  #count = 0
  #onSeen: (entry: string) => void = () => {}

  private constructor(engine: EtcdEngine) {
    this.#engine = engine
  }

  /** @param prefix Where it puts; whoever follows that sees it too. */
  static async open(endpoints: readonly string[], prefix: string): Promise<BareRound> {
    const engine = new EtcdEngine({ endpoints, prefix }, nodeEnvironment)
    await engine.open({ format: 1, deadMs: 6_000, cluster: '' })
    const round = new BareRound(engine)
    engine.follow(0, {
      entry: (_, entry) => round.#onSeen(entry),
      compacted: () => {},
      failed: () => {},
    })
    return round
  }

  readonly once = async (): Promise<number> => {
    const entry = JSON.stringify({ broker: 'round', n: this.#count++, rest: 'x'.repeat(160) })
    const began = performance.now()
    const seen = new Promise<void>((resolve) => {
      this.#onSeen = (other) => {
        if (other === entry) resolve()
      }
    })
    const appended = this.#engine.append('bench', entry)
    await seen
    const took = performance.now() - began
    await appended
    return took
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

/** From asking to the grant, of one session on its own. */
export async function grantBy(broker: Server): Promise<() => Promise<number>> {
  const session = await RawSession.open(broker.url)
  return async () => {
    const began = performance.now()
    const { fence } = await lock(session, 'single')
    const took = performance.now() - began
    await unlock(session, fence)
    return took
  }
}

/** From the unlock of one broker's client to the grant of the other's. */
export async function handOffBetween(one: Server, other: Server): Promise<() => Promise<number>> {
  let [holder, next] = [await RawSession.open(one.url), await RawSession.open(other.url)]
  let { fence } = await lock(holder, 'handed')
  return async () => {
    const granted = lock(next, 'handed')
    // It waits in the table of every broker.
    while ((await holder.waitingCount({ key: 'handed' })) === 0);
    const began = performance.now()
    const released = unlock(holder, fence)
    fence = (await granted).fence
    const took = performance.now() - began
    await released
    ;[holder, next] = [next, holder]
    return took
  }
}

/** Slices of both in turn. */
export async function compareLatency(
  pace: Pace,
  bare: () => Promise<number>,
  own: () => Promise<number>,
): Promise<{ readonly bare: Figures; readonly own: Figures }> {
  const all = { bare: new Latencies(), own: new Latencies() }
  const ratios: number[] = []
  await repeat(pace.warmUpMs, new Latencies(), bare)
  await repeat(pace.warmUpMs, new Latencies(), own)
  for (let round = 0; round < pace.rounds; round++) {
    const slice = { bare: new Latencies(), own: new Latencies() }
    for (const [name, once] of [
      ['bare', bare],
      ['own', own],
    ] as const) {
      await repeat(pace.sliceMs, slice[name], async () => {
        const took = await once()
        all[name].record(took)
        return took
      })
    }
    ratios.push(slice.own.percentile(50) / slice.bare.percentile(50))
  }
  const figures = (latencies: Latencies): Figures => ({
    p50Us: latencies.percentile(50),
    p99Us: latencies.percentile(99),
  })
  return {
    bare: figures(all.bare),
    own: { ...figures(all.own), timeRatioToBareLog: median(ratios) },
  }
}

/** Commands a second of brokers under load, and of drivers without brokers. */
export async function compareRates(
  pace: Pace,
  drivers: readonly BareDriver[],
  brokers: readonly RawPairs[],
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
    const before = sum(brokers.map(({ pairs }) => pairs))
    const began = performance.now()
    for (const pairs of brokers) pairs.start()
    await sleep(ms)
    await Promise.all(brokers.map((pairs) => pairs.stop()))
    // A lock and an unlock.
    const commands = 2 * (sum(brokers.map(({ pairs }) => pairs)) - before)
    return (commands * 1_000) / (performance.now() - began)
  }
  await bareSlice(pace.warmUpMs)
  await ownSlice(pace.warmUpMs)
  for (let round = 0; round < pace.rounds; round++) {
    rates.bare.push(await bareSlice(2 * pace.sliceMs))
    rates.own.push(await ownSlice(2 * pace.sliceMs))
  }
  const ratios = rates.own.map((rate, i) => rate / rates.bare[i]!)
  return {
    bare: { commandsPerSecond: median(rates.bare) },
    own: {
      commandsPerSecond: median(rates.own),
      ratioToBareLog: median(ratios),
      p50Us: median(brokers.map(({ latencies }) => latencies.percentile(50))),
      p99Us: Math.max(...brokers.map(({ latencies }) => latencies.percentile(99))),
    },
  }
}

/** As W1 does it: sessions that share the brokers, with pairs under way in each. */
export function pairsOver(
  brokers: readonly Server[],
  sessions: number,
  inFlight: number,
  prefix: string,
  exclusion: Exclusion,
): Promise<RawPairs[]> {
  const each = Math.round(sessions / brokers.length)
  return Promise.all(
    brokers.map((broker, i) =>
      RawPairs.open(broker, { sessions: each, inFlight, prefix: `${prefix}${i}` }, exclusion),
    ),
  )
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
