/**
 * `holdfast bench`: measures how long a call of `lock` or `unlock` takes. Each session locks and
 * unlocks one key in a loop, with one request at a time. There is no warm-up: every request counts.
 */
import { randomUUID } from 'node:crypto'
import type { Session } from '@holdfast/client'
import { maxDurationMs, redactUrl } from '@holdfast/shared'
import type { Command } from 'commander'
import { type CellList, cellsFrom, urlsOfKey } from './cellList.js'
import { answerInTime, type BrokerFlags, brokerCommand, connectTo, urlsFrom } from './connecting.js'
import { formatTable, print, printJson, rounded, writeError } from './output.js'
import { appendUrls, durationParser, integerParser } from './parse.js'

interface BenchFlags extends BrokerFlags {
  readonly sessions: number
  readonly time: number
  readonly contended?: boolean | undefined
}

/** Time between two refreshes of the progress bar, in ms. */
const refreshMs = 200
/** The width of the progress bar, in characters. */
const barWidth = 30

export function benchCommand(): Command {
  return brokerCommand(
    'bench',
    'measure lock and unlock against a broker',
    `holdfast bench ws://127.0.0.1:7420
holdfast bench --sessions 50 --time 10s
holdfast bench --contended --json`,
  )
    .argument('[url]', 'URL of the broker; use your own broker, because bench loads it fully')
    .option('--sessions <n>', 'number of sessions at the same time', integerParser(1, 10_000), 16)
    .option('--time <time>', 'how long to measure', durationParser(1, maxDurationMs), 5_000)
    .option('--contended', 'all sessions lock one key, instead of one key for each session')
    .addHelpText(
      'after',
      `
If the broker runs on this machine too, bench and the broker share the processors, so the figures
are worse.`,
    )
    .action((url: string | undefined, flags: BenchFlags) =>
      // `appendUrls` splits the argument, which may be a list with commas, as `--url` may be.
      bench({ ...flags, ...(url === undefined ? {} : { url: appendUrls(url) }) }),
    )
}

/** How long each request took, in ms. */
interface Samples {
  readonly lockMs: number[]
  readonly unlockMs: number[]
}

async function bench(flags: BenchFlags): Promise<void> {
  const prefix = `holdfast-bench:${randomUUID()}`
  const keys = Array.from({ length: flags.sessions }, (_, i) =>
    flags.contended ? prefix : `${prefix}:${i}`,
  )
  const sessions = await openAll(keys, flags)
  const samples: Samples = { lockMs: [], unlockMs: [] }
  const startedAt = performance.now()
  const endsAt = startedAt + flags.time
  const bar = progressBar(startedAt, endsAt)
  try {
    const loops = sessions.map((session, i) => lockRepeatedly(session, keys[i]!, endsAt, samples))
    // After `flags.time` no loop sends another request for a lock, and `answerInTime` limits the
    // wait for the last answers.
    await answerInTime(Promise.all(loops), flags.time)
  } finally {
    bar.end()
    await Promise.all(sessions.map((session) => session.close()))
  }
  await report(flags, keys, samples, performance.now() - startedAt)
}

/**
 * Opens one session for each item of `keys`. If one session cannot be opened, closes the other
 * sessions, because an open session would keep this process from ending.
 */
async function openAll(keys: readonly string[], flags: BenchFlags): Promise<Session[]> {
  const results = await Promise.allSettled(keys.map((key) => connectTo(flags, { key })))
  const sessions = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const failure = results.find((result) => result.status === 'rejected')
  if (failure === undefined) return sessions
  await Promise.all(sessions.map((session) => session.close()))
  throw failure.reason
}

/**
 * Locks and unlocks a key at least once, and again until `endsAt` (monotonic, ms). Adds each
 * duration to `samples`.
 */
async function lockRepeatedly(session: Session, key: string, endsAt: number, samples: Samples) {
  let startedAt = performance.now()
  do {
    const lock = await session.lock(key)
    const grantedAt = performance.now()
    samples.lockMs.push(grantedAt - startedAt)
    await lock.unlock()
    const unlockedAt = performance.now()
    samples.unlockMs.push(unlockedAt - grantedAt)
    startedAt = unlockedAt
  } while (startedAt < endsAt)
}

/** Prints the percentiles of both kinds of requests, as a table or as JSON. */
async function report(
  flags: BenchFlags,
  keys: readonly string[],
  { lockMs, unlockMs }: Samples,
  elapsedMs: number,
): Promise<void> {
  const sessionCount = keys.length
  const allCells = cellsFrom(flags)
  const usedCells = allCells === undefined ? undefined : cellsOf(keys, allCells)
  const cellCount = usedCells?.length
  const perSecond = Math.round((lockMs.length / elapsedMs) * 1_000)
  const [lock, unlock] = [percentiles(lockMs), percentiles(unlockMs)]
  if (flags.json) {
    const contended = flags.contended === true
    const urlLists = usedCells ?? [urlsFrom(flags)]
    printJson({
      // In the form of `--cells`: a comma between two URLs, and a semicolon between two cells.
      url: urlLists.map((urls) => urls.map(redactUrl).join(',')).join(';'),
      ...(cellCount === undefined ? {} : { cells: cellCount }),
      sessions: sessionCount,
      contended,
      ms: rounded(elapsedMs),
      cycles: lockMs.length,
      perSecond,
      lock,
      unlock,
    })
    return
  }
  const keysText = flags.contended ? 'one key' : 'one key for each session'
  const cellWord = cellCount === 1 ? 'cell' : 'cells'
  const cellsText = cellCount === undefined ? '' : ` in ${cellCount} ${cellWord}`
  print(
    `${lockMs.length} locks by ${sessionCount} sessions on ${keysText}${cellsText}: ${perSecond} a second`,
  )
  const percentileNames = Object.keys(lock)
  const rows = [
    ['lock', ...Object.values(lock).map(String)],
    ['unlock', ...Object.values(unlock).map(String)],
  ]
  for (const line of await formatTable(['ms', ...percentileNames], rows)) print(line)
}

/** The items of `cells` that serve at least one of these keys. */
function cellsOf(keys: readonly string[], cells: CellList): CellList {
  const used = new Set(keys.map((key) => urlsOfKey(cells, key)))
  return cells.filter((urls) => used.has(urls))
}

/** The percentiles of the samples, in ms, rounded to a hundredth. */
function percentiles(samples: number[]): Record<string, number> {
  // A typed array sorts numbers by their value, and a plain array by their text.
  const sorted = Float64Array.from(samples).sort()
  const percentile = (fraction: number) => {
    const index = Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))
    return rounded(sorted[index] ?? 0)
  }
  return {
    p50: percentile(0.5),
    p95: percentile(0.95),
    p99: percentile(0.99),
    'p99.9': percentile(0.999),
    max: percentile(1),
  }
}

/** Draws a progress bar on standard error, but only if standard error is a terminal. */
function progressBar(startedAt: number, endsAt: number): { end(): void } {
  if (!process.stderr.isTTY) return { end: () => {} }
  const draw = (): void => {
    const share = Math.min(1, (performance.now() - startedAt) / (endsAt - startedAt))
    const filled = Math.round(share * barWidth)
    const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled)
    writeError(`\r${bar} ${Math.round(share * 100)} %`)
  }
  const timer = setInterval(draw, refreshMs)
  draw()
  return {
    end: () => {
      clearInterval(timer)
      // Erases the line of the bar.
      writeError('\r\u001b[K')
    },
  }
}
