/**
 * `holdfast ls`, `show`, `stats` and `watch`: who holds what, who waits, and what happens.
 */
import type {
  HeldInfo,
  LockStats,
  QueryResult,
  Session,
  WaitingInfo,
  WatchEvent,
} from '@holdfast/client'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, stopOf, withSession } from './connecting.js'
import { Exit, exitCodes } from './exitCodes.js'
import {
  type ListedLock,
  type ListFlags,
  listLocks,
  pageSize,
  reportCut,
  withListFlags,
} from './listing.js'
import { ago, metadataOf, print, printJson, rounded, table, visible, whoIs } from './print.js'

export function lsCommand(): Command {
  const command = brokerCommand(
    'ls',
    'list who holds which keys, and how many wait',
    `holdfast ls
holdfast ls orders:
holdfast ls --all --json orders: | jq .key`,
  ).argument('[prefix]', 'only keys that begin so')
  return withListFlags(command, 'locks', true)
    .addHelpText(
      'after',
      `
The locks are in the order of their keys. A lock that is held for as long as the listing takes is
listed once; one that is taken or released meanwhile is listed or not.`,
    )
    .action((prefix: string | undefined, flags: BrokerFlags & ListFlags) =>
      withSession(flags, (session) => list(session, prefix, flags)),
    )
}

async function list(
  session: Session,
  prefix: string | undefined,
  flags: BrokerFlags & ListFlags,
): Promise<void> {
  const most = flags.limit ?? (flags.all ? Number.POSITIVE_INFINITY : pageSize)
  const { locks, heldCount } = await listLocks(session, prefix, most)
  if (flags.json) for (const lock of locks) printJson(lock)
  else await printLocks(locks)
  const left = heldCount - locks.length
  if (left <= 0) return
  if (!flags.json) print(`... and ${left} more`)
  reportCut(
    `${locks.length} of ${heldCount} locks are listed: use --all, or --limit for a part`,
    flags,
  )
}

async function printLocks(locks: readonly ListedLock[]): Promise<void> {
  const rows = locks.map((lock) => [
    lock.key,
    lock.mode,
    whoIs(lock),
    ago(lock.since),
    String(lock.fence),
    String(lock.waiting),
  ])
  for (const line of await table(['KEY', 'MODE', 'HOLDER', 'HELD FOR', 'FENCE', 'WAITING'], rows))
    print(line)
}

export function showCommand(): Command {
  const command = brokerCommand(
    'show',
    'show a key: its holders, its queue, and the fence that unlock needs',
    'holdfast show orders:42',
  ).argument('<key>', 'which key')
  return withListFlags(command, 'holders and waiting requests', false).action(
    (key: string, flags: BrokerFlags & ListFlags) =>
      withSession(flags, async (session) =>
        show(key, await session.query({ key, limit: flags.limit ?? pageSize }), flags),
      ),
  )
}

function show(key: string, found: QueryResult, flags: BrokerFlags & ListFlags): void {
  if (flags.json) {
    const { held, waiting, heldCount, waitingCount } = found
    printJson({ key, held, waiting, heldCount, waitingCount })
  } else printKey(key, found)
  const [listed, all] = [found.held.length + found.waiting.length, countOf(found)]
  if (listed < all) {
    const sentence = `${listed} of ${all} holders and waiting requests are shown`
    reportCut(`${sentence}: that is as many as a broker tells; --limit asks for a part`, flags)
  }
}

function countOf({ heldCount, waitingCount }: QueryResult): number {
  return heldCount + waitingCount
}

function printKey(key: string, { held, waiting, heldCount, waitingCount }: QueryResult): void {
  if (held.length === 0) print(`${visible(key)} is free`)
  for (const lock of held) print(holderLine(lock))
  if (heldCount > held.length) print(`... and ${heldCount - held.length} more hold it`)
  for (const [place, request] of waiting.entries()) print(waiterLine(place + 1, request))
  if (waitingCount > waiting.length) print(`... and ${waitingCount - waiting.length} more wait`)
}

function holderLine(lock: HeldInfo): string {
  const metadata = metadataOf(lock)
  const what = `held ${lock.mode === 'shared' ? '(shared) ' : ''}by ${whoIs(lock)}`
  const details = `for ${ago(lock.since)}, fence ${lock.fence}, session ${lock.session}`
  return `${what} ${details}${metadata === '' ? '' : `, ${metadata}`}`
}

function waiterLine(place: number, request: WaitingInfo): string {
  const shared = request.mode === 'shared' ? ' (shared)' : ''
  return `${place}. ${whoIs(request)}${shared} waits for ${ago(request.since)}, session ${request.session}`
}

export function statsCommand(): Command {
  return brokerCommand('stats', 'show the counters of the broker', 'holdfast stats --json').action(
    (flags: BrokerFlags) =>
      withSession(flags, async (session) => showStats(await session.stats(), flags)),
  )
}

async function showStats(stats: LockStats, flags: BrokerFlags): Promise<void> {
  if (flags.json) printJson(stats)
  else
    for (const line of await table(['COUNTER', 'VALUE'], Object.entries(stats).map(pair)))
      print(line)
}

function pair([name, value]: [string, unknown]): [string, string] {
  return [name, typeof value === 'number' ? String(rounded(value)) : String(value)]
}

export function watchCommand(): Command {
  return brokerCommand(
    'watch',
    'print what happens to keys, line by line, until Ctrl-C',
    `holdfast watch
holdfast watch orders:
holdfast watch --json orders: | jq -r 'select(.event == "lost") | .key'`,
  )
    .argument('[prefix]', 'only keys that begin so', '')
    .action((prefix: string, flags: BrokerFlags) =>
      withSession(
        flags,
        async (session) => {
          let refused: (error: Error) => void = () => {}
          const refusal = new Promise<never>((_, reject) => {
            refused = reject
          })
          session.watch({ prefix }, (event) => {
            if (event.event === 'refused') refused(event.error)
            else tell(event, flags)
          })
          await Promise.race([stopOf(session), refusal])
        },
        // Whoever watches goes on watching when the broker is back.
        { reconnect: undefined },
      ),
    )
}

function tell(event: Exclude<WatchEvent, { event: 'refused' }>, flags: BrokerFlags): void {
  if (flags.json) printJson(event)
  else if (event.event === 'state') {
    const again = event.resync ? ' (again, after a reconnect)' : ''
    print(`${time()} ${event.heldCount} held${again}`)
    for (const lock of event.held) print(`${time()} held ${lineOf(lock)}`)
    const left = event.heldCount - event.held.length
    if (left > 0) print(`${time()} ... and ${left} more held, which ls --all lists`)
  } else print(`${time()} ${event.event} ${lineOf(event)}`)
}

function lineOf(lock: HeldInfo): string {
  return `${visible(lock.key)} ${lock.mode} ${whoIs(lock)} fence ${lock.fence} ${metadataOf(lock)}`.trimEnd()
}

function time(): string {
  return new Date().toISOString()
}

/** The lock of a key that has this fence is not there; what is there instead, if that is known. */
export function notThere(key: string, found: QueryResult | undefined): Exit {
  const what = found === undefined ? '' : `; ${heldNow(found)}`
  return new Exit(exitCodes.failed, `${visible(key)} is not held with that fence${what}`)
}

function heldNow({ held }: QueryResult): string {
  if (held.length === 0) return 'it is free'
  return `it is held with fence ${held.map(({ fence }) => fence).join(' and ')} now`
}
