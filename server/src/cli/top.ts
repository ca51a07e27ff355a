/**
 * `holdfast top`: shows the rates of the broker (events per second) and the keys with the longest
 * queues, and refreshes the output until Ctrl-C. The table of keys also has barriers: keys at which
 * sessions wait until enough sessions have arrived.
 */
import type { LockMode, LockStats, QueryResult } from '@holdfast/client'
import { maxDurationMs } from '@holdfast/shared'
import type { Command } from 'commander'
import {
  type AnySession,
  type BrokerFlags,
  brokerCommand,
  untilStopped,
  withAnswerLimit,
  withSession,
} from './connecting.js'
import { deadlockCountText } from './deadlocks.js'
import { pageSize, pagesOf, reportIncomplete } from './listing.js'
import {
  ago,
  escapeText,
  formatTable,
  maxValueInTable,
  modeText,
  print,
  printJson,
  sessionLabel,
  valueNote,
  writeOut,
} from './output.js'
import { durationParser, integerParser } from './parse.js'
import {
  barriersOf,
  type ListedBarrier,
  partiesText,
  queryRecords,
  waitersText,
} from './records.js'

/** Moves the cursor to the upper left corner, and clears the terminal. */
const clearTerminal = '\u001b[H\u001b[2J'
/** The shortest time between two refreshes, in ms. */
const minIntervalMs = 100
/** Lines besides the rows of the table: two above the table, its heading, and the cursor's line. */
const otherLineCount = 4
/** A table may have this many rows even if the terminal has fewer lines. */
const minTableRows = 5
/** The height of the output if it does not go to a terminal, in lines. */
const defaultRows = 40

interface TopFlags extends BrokerFlags {
  readonly all?: boolean | undefined
  readonly interval: number
  readonly count?: number | undefined
}

/** The counters and locks of the broker at one point in time. */
interface Sample {
  /** When the answers had arrived, in ms of the monotonic clock. */
  readonly at: number
  readonly stats: LockStats
  readonly locksAndRequests: QueryResult
  readonly barriers: readonly ListedBarrier[]
}

export function topCommand(): Command {
  return brokerCommand(
    'top',
    'show the busiest keys and the rates of the broker, live',
    `holdfast top
holdfast top orders: --interval 5s
holdfast top --json --count 1`,
  )
    .argument('[prefix]', 'only keys that begin with this prefix', '')
    .option(
      '-i, --interval <time>',
      'time between two refreshes',
      durationParser(minIntervalMs, maxDurationMs),
      1_000,
    )
    .option(
      '-n, --count <n>',
      'stop after so many refreshes (default: run until Ctrl-C)',
      integerParser(1, 1_000_000),
    )
    .option('--all', `read all locks and requests, not only the first ${pageSize} of each`)
    .action((prefix: string, flags: TopFlags) =>
      withSession(
        flags,
        (session) =>
          // Without --count, answers have no time limit: only Ctrl-C ends the command.
          top(flags.count === undefined ? session : withAnswerLimit(session), prefix, flags),
        // By default, commands set `reconnect` to false. With undefined, the client uses its own
        // default and reconnects.
        { reconnect: undefined },
      ),
    )
}

/** Reads and prints samples until Ctrl-C, or until --count samples are printed. */
async function top(session: AnySession, prefix: string, flags: TopFlags): Promise<void> {
  let isOver = false
  const stopping = untilStopped(session).finally(() => {
    isOver = true
  })
  // The code below awaits `stopping` and so reports its rejection. This handler only prevents an
  // unhandled rejection.
  stopping.catch(() => {})
  let previous: Sample | undefined
  for (let refresh = 0; refresh < (flags.count ?? Number.POSITIVE_INFINITY) && !isOver; refresh++) {
    const query = flags.all ? queryAll(session, prefix) : session.query({ prefix })
    const records = queryRecords(session, { prefix })
    const answers = Promise.all([session.stats(), query, records])
    // Ctrl-C must end the command even while the broker cannot be reached and sends no answer.
    const results = await Promise.race([answers, stopping])
    if (results === undefined) return
    const [stats, locksAndRequests, { arrived }] = results
    const barriers = barriersOf(arrived)
    const sample = { at: performance.now(), stats, locksAndRequests, barriers }
    await show(sample, previous, flags)
    previous = sample
    if (refresh + 1 === flags.count) {
      if (unreadCount(locksAndRequests) > 0) {
        // No flags are passed, because `top` has no `--limit`.
        reportIncomplete('Not all locks and waiting requests were read: use --all', {})
      }
      return
    }
    await Promise.race([stopping, pause(flags.interval)])
  }
  await stopping
}

/**
 * Reads all pages and joins the pages into one result. The counts of this result are the lengths of
 * its lists.
 */
async function queryAll(session: AnySession, prefix: string): Promise<QueryResult> {
  const held: QueryResult['held'][number][] = []
  const waiting: QueryResult['waiting'][number][] = []
  for await (const page of pagesOf(session, prefix)) {
    for (const lock of page.held) held.push(lock)
    for (const request of page.waiting) waiting.push(request)
  }
  return { held, waiting, heldCount: held.length, waitingCount: waiting.length }
}

/** How many of the locks and waiting requests at the broker are missing in this result. */
function unreadCount({ held, waiting, heldCount, waitingCount }: QueryResult): number {
  return heldCount - held.length + waitingCount - waiting.length
}

/** Prints one sample, with the rates since the previous sample. */
async function show(sample: Sample, previous: Sample | undefined, flags: TopFlags): Promise<void> {
  const { stats, locksAndRequests, barriers } = sample
  const { heldCount, waitingCount } = locksAndRequests
  const rates = ratesOf(sample, previous)
  const keys = busiestKeys(locksAndRequests)
  const unread = unreadCount(locksAndRequests)
  if (flags.json) {
    printJson({ stats, rates, heldCount, waitingCount, isWhole: unread === 0, keys, barriers })
    return
  }
  const terminalRows = process.stdout.rows ?? defaultRows
  // Clear only a terminal. A file keeps all refreshes, one after the other.
  if (process.stdout.isTTY) writeOut(clearTerminal)
  print(`${heldCount} held, ${waitingCount} waiting; per second: ${rateText(rates)}`)
  const unreadTexts = unread > 0 ? [`${unread} locks and requests were not read: use --all`] : []
  print([...unreadTexts, ...counterTexts(stats)].join('; '))
  const lines = await formatTable(
    ['WAITING', 'KEY', 'MODE', 'HOLDER', 'HELD FOR'],
    [
      ...barriers.map((barrier) => [
        String(barrier.waiting),
        barrier.key,
        `barrier ${partiesText(barrier)}`,
        waitersText(barrier),
        '-',
      ]),
      ...keys.map(({ key, waiting, mode, holder, since, ...details }) => [
        String(waiting),
        escapeText(key),
        mode === undefined ? '-' : modeText({ mode, ...details }),
        `${holder ?? '-'}${valueNote(details, ' with ', maxValueInTable)}`,
        since === undefined ? '-' : ago(since),
      ]),
    ]
      // The first column is the number of waiters.
      .sort((a, b) => Number(b[0]) - Number(a[0]))
      .slice(0, Math.max(minTableRows, terminalRows - otherLineCount)),
  )
  for (const line of lines) print(line)
}

/** Texts for calls at barriers, kept results of `once` and refused deadlocks, if there are any. */
function counterTexts({
  barriers: barrierCount = 0,
  barrierCalls = 0,
  keptResults = 0,
  refusedDeadlocks = 0,
  newestDeadlock,
}: LockStats): string[] {
  return [
    ...(barrierCount > 0 ? [`calls at barriers: ${barrierCalls}`] : []),
    ...(keptResults > 0 ? [`kept results: ${keptResults}`] : []),
    ...(refusedDeadlocks > 0 ? [deadlockCountText(refusedDeadlocks, newestDeadlock)] : []),
  ]
}

type Rates = Record<'granted' | 'failed' | 'unlocked' | 'refreshed' | 'expired', number>

/** Events per second since the previous sample, to one decimal; undefined for the first sample. */
function ratesOf({ stats, at }: Sample, previous: Sample | undefined): Rates | undefined {
  if (previous === undefined) return undefined
  const seconds = (at - previous.at) / 1_000
  const rate = (now: number, then: number) => Math.round(((now - then) / seconds) * 10) / 10
  const before = previous.stats
  return {
    granted: rate(grantsIn(stats), grantsIn(before)),
    failed: rate(stats.failedLocks, before.failedLocks),
    unlocked: rate(stats.unlockCount, before.unlockCount),
    refreshed: rate(stats.refreshCount, before.refreshCount),
    expired: rate(stats.expiredLocks, before.expiredLocks),
  }
}

/** The number of grants: `totalLocks` also counts the requests that failed. */
function grantsIn({ totalLocks, failedLocks }: LockStats): number {
  return totalLocks - failedLocks
}

function rateText(rates: Rates | undefined): string {
  if (rates === undefined) return '...'
  return Object.entries(rates)
    .map(([name, rate]) => `${rate} ${name}`)
    .join(', ')
}

interface BusyKey {
  readonly key: string
  /** How many requests wait. */
  waiting: number
  mode?: LockMode
  /** How many permits of the key are used; only with the mode `permits`. */
  permits?: number | undefined
  /** How many permits the key has; only with the mode `permits`. */
  capacity?: number | undefined
  /** How many keys the first holder has locked together; undefined for a lock of one key. */
  keyCount?: number | undefined
  /** The scope (one logical task of a session) of the first holder; undefined outside a scope. */
  scope?: number | undefined
  /** Whether the first holder runs a `once` (one run for all callers, who share its result). */
  once?: true | undefined
  /** How long the first holder may hold the lock, in ms; undefined without a limit. */
  maxHold?: number | undefined
  /** Whether the first holder is the leader of an election. */
  election?: boolean | undefined
  /** The value that the leader publishes. */
  value?: unknown
  /** The sessions that hold the key, separated by commas. */
  holder?: string
  /** When the lock of the first holder was granted, in ms since 1970. */
  since?: number
}

/**
 * All keys, sorted by the length of their queues, the longest first. Among keys with equally long
 * queues, keys without a holder come first, and then the keys that are held longest.
 */
function busiestKeys({ held, waiting }: QueryResult): BusyKey[] {
  const keys = new Map<string, BusyKey>()
  for (const lock of held) {
    const busyKey = keys.get(lock.key)
    if (busyKey !== undefined) {
      busyKey.holder = `${busyKey.holder}, ${sessionLabel(lock)}`
      if (lock.permits !== undefined) busyKey.permits = (busyKey.permits ?? 0) + lock.permits
    } else {
      const { key, mode, since, permits, capacity, keyCount, maxHold, scope } = lock
      const { once, election, value } = lock
      const details = { mode, permits, capacity, keyCount, maxHold, scope, once, election, value }
      keys.set(key, { key, waiting: 0, ...details, holder: sessionLabel(lock), since })
    }
  }
  for (const { key } of waiting) {
    const busyKey = keys.get(key) ?? { key, waiting: 0 }
    busyKey.waiting++
    keys.set(key, busyKey)
  }
  return [...keys.values()].sort((a, b) => b.waiting - a.waiting || (a.since ?? 0) - (b.since ?? 0))
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
