/**
 * `holdfast top`: the keys that most wait for, and the rates of the broker, again and again.
 */
import type { LockStats, QueryResult, Session } from '@holdfast/client'
import { maxMs } from '@holdfast/shared'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, stopOf, withSession } from './connecting.js'
import { pageSize, pagesOf, reportCut } from './listing.js'
import { writeOut } from './output.js'
import { durationIn, integerIn } from './parse.js'
import { ago, print, printJson, table, visible, whoIs } from './print.js'

interface TopFlags extends BrokerFlags {
  readonly all?: boolean | undefined
  readonly interval: number
  readonly count?: number | undefined
}

/** One look at the broker. */
interface Reading {
  readonly at: number
  readonly stats: LockStats
  readonly found: QueryResult
}

export function topCommand(): Command {
  return brokerCommand(
    'top',
    'show the busiest keys and the rates of the broker, live',
    `holdfast top
holdfast top orders: --interval 5s
holdfast top --json --count 1`,
  )
    .argument('[prefix]', 'only keys that begin so', '')
    .option('-i, --interval <time>', 'from one look to the next', durationIn(100, maxMs), 1_000)
    .option('-n, --count <n>', 'how many looks; default: until Ctrl-C', integerIn(1, 1_000_000))
    .option('--all', `look at all locks, not at the first ${pageSize} and as many that wait`)
    .action((prefix: string, flags: TopFlags) =>
      withSession(flags, (session) => top(session, prefix, flags), { reconnect: undefined }),
    )
}

async function top(session: Session, prefix: string, flags: TopFlags): Promise<void> {
  let isOver = false
  const stopped = stopOf(session).finally(() => {
    isOver = true
  })
  // Whoever waits for the end below is told; until then it is nobody's rejection.
  stopped.catch(() => {})
  let former: Reading | undefined
  let isCut = false
  for (let n = 0; n < (flags.count ?? Number.POSITIVE_INFINITY) && !isOver; n++) {
    const looked = flags.all ? everything(session, prefix) : session.query({ prefix })
    const asked = Promise.all([session.stats(), looked])
    // A broker that is away answers when it is back, and nobody has to wait for that.
    const answer = await Promise.race([asked, stopped])
    if (answer === undefined) return
    const [stats, found] = answer
    const look = { at: performance.now(), stats, found }
    await show(look, former, flags)
    former = look
    isCut = leftOut(found) > 0
    if (n + 1 === flags.count) {
      if (isCut) reportCut('not all locks and waiting requests were looked at: use --all', {})
      return
    }
    await Promise.race([stopped, pause(flags.interval)])
  }
  await stopped
}

/** All pages as one answer, in which a list and its count always agree. */
async function everything(session: Session, prefix: string): Promise<QueryResult> {
  const held: QueryResult['held'][number][] = []
  const waiting: QueryResult['waiting'][number][] = []
  for await (const page of pagesOf(session, prefix)) {
    for (const lock of page.held) held.push(lock)
    for (const request of page.waiting) waiting.push(request)
  }
  return { held, waiting, heldCount: held.length, waitingCount: waiting.length }
}

/** How many locks and waiting requests the broker has that it did not tell. */
function leftOut({ held, waiting, heldCount, waitingCount }: QueryResult): number {
  return heldCount - held.length + waitingCount - waiting.length
}

async function show(look: Reading, former: Reading | undefined, flags: TopFlags): Promise<void> {
  const rates = ratesOf(look, former)
  const keys = busiest(look.found)
  if (flags.json) {
    const { heldCount, waitingCount } = look.found
    const isWhole = leftOut(look.found) === 0
    printJson({ stats: look.stats, rates, heldCount, waitingCount, isWhole, keys })
    return
  }
  const rows = process.stdout.rows ?? 40
  // Only a terminal is cleared; a file gets one picture after the other.
  if (process.stdout.isTTY) writeOut('\u001b[H\u001b[2J')
  const { heldCount, waitingCount } = look.found
  print(`${heldCount} held, ${waitingCount} waiting; in a second: ${rateText(rates)}`)
  const left = leftOut(look.found)
  print(left > 0 ? `${left} of them are not looked at: --all does` : '')
  const lines = await table(
    ['WAITING', 'KEY', 'MODE', 'HOLDER', 'HELD FOR'],
    keys
      .slice(0, Math.max(5, rows - 4))
      .map((one) => [
        String(one.waiting),
        visible(one.key),
        one.mode ?? '-',
        one.holder ?? '-',
        one.since === undefined ? '-' : ago(one.since),
      ]),
  )
  for (const line of lines) print(line)
}

type Rates = Record<'granted' | 'failed' | 'unlocked' | 'refreshed' | 'expired', number>

function ratesOf({ stats, at }: Reading, former: Reading | undefined): Rates | undefined {
  if (former === undefined) return undefined
  const seconds = (at - former.at) / 1_000
  const per = (now: number, then: number) => Math.round(((now - then) / seconds) * 10) / 10
  const before = former.stats
  return {
    granted: per(grantsIn(stats), grantsIn(before)),
    failed: per(stats.failedLocks, before.failedLocks),
    unlocked: per(stats.unlockCount, before.unlockCount),
    refreshed: per(stats.refreshCount, before.refreshCount),
    expired: per(stats.expiredLocks, before.expiredLocks),
  }
}

function grantsIn({ totalLocks, failedLocks }: LockStats): number {
  return totalLocks - failedLocks
}

function rateText(rates: Rates | undefined): string {
  if (rates === undefined) return '...'
  return Object.entries(rates)
    .map(([name, rate]) => `${rate} ${name}`)
    .join(', ')
}

interface Busy {
  readonly key: string
  waiting: number
  mode?: string
  holder?: string
  since?: number
}

/** Those with the longest queues first, then those held for longest. */
function busiest({ held, waiting }: QueryResult): Busy[] {
  const keys = new Map<string, Busy>()
  for (const lock of held) {
    const one = keys.get(lock.key)
    if (one !== undefined) one.holder = `${one.holder}, ${whoIs(lock)}`
    else {
      const { key, mode, since } = lock
      keys.set(key, { key, waiting: 0, mode, holder: whoIs(lock), since })
    }
  }
  for (const { key } of waiting) {
    const one = keys.get(key) ?? { key, waiting: 0 }
    one.waiting++
    keys.set(key, one)
  }
  return [...keys.values()].sort((a, b) => b.waiting - a.waiting || (a.since ?? 0) - (b.since ?? 0))
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
