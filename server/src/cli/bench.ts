/**
 * `holdfast bench`: a quick, honest load. Each session takes and gives back a lock, over and over,
 * one at a time; what is measured is what a caller waits, and every one of them is counted.
 */

import { randomUUID } from 'node:crypto'
import type { Session } from '@holdfast/client'
import { maxMs, redactUrl } from '@holdfast/shared'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, connectTo, urlsFrom } from './connecting.js'
import { writeError } from './output.js'
import { durationIn, integerIn } from './parse.js'
import { print, printJson, rounded, table } from './print.js'

interface BenchFlags extends BrokerFlags {
  readonly sessions: number
  readonly time: number
  readonly contended?: boolean | undefined
}

/** How often the progress bar moves, in ms. */
const stepMs = 200
const barWidth = 30

export function benchCommand(): Command {
  return brokerCommand(
    'bench',
    'measure lock and unlock against a broker',
    `holdfast bench ws://127.0.0.1:7420
holdfast bench --sessions 50 --time 10s
holdfast bench --contended --json`,
  )
    .argument('[url]', 'the broker to load; yours, since this takes what it can get')
    .option('--sessions <n>', 'how many sessions at once', integerIn(1, 10_000), 16)
    .option('--time <time>', 'for how long', durationIn(1, maxMs), 5_000)
    .option('--contended', 'all for one key, which is handed on, instead of a key each')
    .addHelpText(
      'after',
      `
If the broker is on this machine too, the figures are of both together.`,
    )
    .action((url: string | undefined, flags: BenchFlags) =>
      bench({ ...flags, ...(url === undefined ? {} : { url: [url] }) }),
    )
}

interface Samples {
  /** In ms. */
  readonly locks: number[]
  readonly unlocks: number[]
}

async function bench(flags: BenchFlags): Promise<void> {
  const count = flags.sessions
  const sessions = await openAll(count, flags)
  const samples: Samples = { locks: [], unlocks: [] }
  const began = performance.now()
  const endsAt = began + flags.time
  const bar = progress(began, endsAt)
  const prefix = `holdfast-bench:${randomUUID()}`
  const keyOf = (i: number) => (flags.contended ? prefix : `${prefix}:${i}`)
  try {
    await Promise.all(sessions.map((session, i) => load(session, keyOf(i), endsAt, samples)))
  } finally {
    bar.end()
    await Promise.all(sessions.map((session) => session.close()))
  }
  await report(flags, count, samples, performance.now() - began)
}

/** All of them or none: one that stays open would keep this process from its end. */
async function openAll(count: number, flags: BenchFlags): Promise<Session[]> {
  const tries = await Promise.allSettled(Array.from({ length: count }, () => connectTo(flags)))
  const sessions = tries.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
  const failed = tries.find((one) => one.status === 'rejected')
  if (failed === undefined) return sessions
  await Promise.all(sessions.map((session) => session.close()))
  throw failed.reason
}

async function load(session: Session, key: string, endsAt: number, samples: Samples) {
  for (let now = performance.now(); now < endsAt; ) {
    const lock = await session.lock(key)
    const granted = performance.now()
    samples.locks.push(granted - now)
    await lock.unlock()
    now = performance.now()
    samples.unlocks.push(now - granted)
  }
}

async function report(
  flags: BenchFlags,
  sessions: number,
  { locks, unlocks }: Samples,
  ms: number,
): Promise<void> {
  const perSecond = Math.round((locks.length / ms) * 1_000)
  const [lock, unlock] = [percentiles(locks), percentiles(unlocks)]
  if (flags.json) {
    const contended = flags.contended === true
    printJson({
      url: redactUrl(urlsFrom(flags)[0]!),
      sessions,
      contended,
      ms: rounded(ms),
      cycles: locks.length,
      perSecond,
      lock,
      unlock,
    })
    return
  }
  const keys = flags.contended ? 'one key' : 'a key each'
  print(`${locks.length} locks by ${sessions} sessions on ${keys}: ${perSecond} a second`)
  const names = Object.keys(lock)
  const rows = [
    ['lock', ...Object.values(lock).map(String)],
    ['unlock', ...Object.values(unlock).map(String)],
  ]
  for (const line of await table(['ms', ...names], rows)) print(line)
}

/** In ms, to a hundredth. */
function percentiles(samples: number[]): Record<string, number> {
  const sorted = Float64Array.from(samples).sort()
  const at = (share: number) => {
    const place = Math.min(sorted.length - 1, Math.floor(share * sorted.length))
    return rounded(sorted[place] ?? 0)
  }
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), 'p99.9': at(0.999), max: at(1) }
}

/** A bar on a terminal; nothing elsewhere. */
function progress(began: number, endsAt: number): { end(): void } {
  if (!process.stderr.isTTY) return { end: () => {} }
  const draw = (): void => {
    const share = Math.min(1, (performance.now() - began) / (endsAt - began))
    const full = Math.round(share * barWidth)
    const bar = '█'.repeat(full) + '░'.repeat(barWidth - full)
    writeError(`\r${bar} ${Math.round(share * 100)} %`)
  }
  const timer = setInterval(draw, stepMs)
  draw()
  return {
    end: () => {
      clearInterval(timer)
      writeError('\r\u001b[K')
    },
  }
}
