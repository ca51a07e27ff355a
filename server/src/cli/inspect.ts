/**
 * `holdfast ls`, `show`, `stats` and `watch`: print holders, queues, counters and events.
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
import { type BrokerFlags, brokerCommand, untilStopped, withSession } from './connecting.js'
import { Exit, exitCodes } from './exitCodes.js'
import {
  type ListedLock,
  type ListFlags,
  listLocks,
  pageSize,
  reportIncomplete,
  withListFlags,
} from './listing.js'
import {
  ago,
  escapeText,
  formatTable,
  type LockKind,
  metadataText,
  modeText,
  print,
  printJson,
  rounded,
  sessionLabel,
  valueNote,
} from './output.js'

/** How many characters of the value of a leader `ls` prints; `show` prints all. */
const maxValueInTable = 40

export function lsCommand(): Command {
  const command = brokerCommand(
    'ls',
    'list the held locks, their holders, and the length of each queue',
    `holdfast ls
holdfast ls orders:
holdfast ls --all --json orders: | jq .key`,
  ).argument('[prefix]', 'only keys that begin with this prefix')
  return withListFlags(command, 'locks', true)
    .addHelpText(
      'after',
      `
The locks are in the order of their keys. A lock that is held during the whole listing is listed
once. A lock that is granted or released during the listing may be listed or not.`,
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
  const maxLocks = flags.limit ?? (flags.all ? Number.POSITIVE_INFINITY : pageSize)
  const { locks, heldCount } = await listLocks(session, prefix, maxLocks)
  if (flags.json) for (const lock of locks) printJson(lock)
  else await printLocks(locks)
  const unlisted = heldCount - locks.length
  if (unlisted <= 0) return
  if (!flags.json) print(`... and ${unlisted} more`)
  reportIncomplete(
    `Only ${locks.length} of ${heldCount} locks are listed: ` +
      'use --all, or --limit N if N are enough',
    flags,
  )
}

async function printLocks(locks: readonly ListedLock[]): Promise<void> {
  const rows = locks.map((lock) => [
    lock.key,
    `${modeText(lock)}${valueNote(lock, ': ', maxValueInTable)}`,
    sessionLabel(lock),
    ago(lock.since),
    String(lock.fence),
    String(lock.waiting),
  ])
  for (const line of await formatTable(
    ['KEY', 'MODE', 'HOLDER', 'HELD FOR', 'FENCE', 'WAITING'],
    rows,
  ))
    print(line)
}

export function showCommand(): Command {
  const command = brokerCommand(
    'show',
    'show the holders and the queue of a key, with the fence that unlock needs',
    'holdfast show orders:42',
  ).argument('<key>', 'the key to show')
  return withListFlags(command, 'holders and waiting requests', false).action(
    (key: string, flags: BrokerFlags & ListFlags) =>
      withSession(flags, async (session) =>
        show(key, await session.query({ key, limit: flags.limit ?? pageSize }), flags),
      ),
  )
}

function show(key: string, result: QueryResult, flags: BrokerFlags & ListFlags): void {
  const { held, waiting, heldCount, waitingCount } = result
  if (flags.json) printJson({ key, held, waiting, heldCount, waitingCount })
  else printKey(key, result)
  const [listed, all] = [held.length + waiting.length, heldCount + waitingCount]
  if (listed < all) {
    reportIncomplete(
      `Only ${listed} of ${all} holders and waiting requests are shown: a broker lists at most ` +
        `${pageSize} of each; use --limit N if N are enough`,
      flags,
    )
  }
}

function printKey(key: string, { held, waiting, heldCount, waitingCount }: QueryResult): void {
  if (held.length === 0) print(`${escapeText(key)} is free`)
  for (const lock of held) print(holderLine(lock))
  const [first] = held
  if (first?.mode === 'permits' && heldCount === held.length) {
    const used = held.reduce((sum, { permits = 0 }) => sum + permits, 0)
    print(`${used} of ${first.capacity} permits used`)
  }
  if (heldCount > held.length) print(`... and ${heldCount - held.length} more hold it`)
  for (const [place, request] of waiting.entries()) print(waiterLine(place + 1, request))
  if (waitingCount > waiting.length) print(`... and ${waitingCount - waiting.length} more wait`)
}

function holderLine(lock: HeldInfo): string {
  const metadata = metadataText(lock)
  const holder = lock.election
    ? `led by ${sessionLabel(lock)}${valueNote(lock)}`
    : `held ${modeNote(lock)}by ${sessionLabel(lock)}`
  const details = `for ${ago(lock.since)}, fence ${lock.fence}, session ${lock.session}`
  return `${holder} ${details}${metadata === '' ? '' : `, ${metadata}`}`
}

function waiterLine(place: number, request: WaitingInfo): string {
  const mode = modeNote(request).trimEnd()
  const waited = `has waited for ${ago(request.since)}, session ${request.session}`
  return `${place}. ${sessionLabel(request)}${mode === '' ? '' : ` ${mode}`} ${waited}`
}

/** The mode in parentheses, with a space behind; empty for an exclusive lock of one key. */
function modeNote(lock: LockKind): string {
  const text = modeText(lock)
  return text === 'exclusive' ? '' : `(${text}) `
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
    for (const line of await formatTable(['COUNTER', 'VALUE'], Object.entries(stats).map(statsRow)))
      print(line)
}

function statsRow([name, value]: [string, unknown]): [string, string] {
  return [name, typeof value === 'number' ? String(rounded(value)) : String(value)]
}

export function watchCommand(): Command {
  return brokerCommand(
    'watch',
    'print the events of keys, one a line, until Ctrl-C',
    `holdfast watch
holdfast watch orders:
holdfast watch --json orders: | jq -r 'select(.event == "lost") | .key'`,
  )
    .argument('[prefix]', 'only keys that begin with this prefix', '')
    .action((prefix: string, flags: BrokerFlags) =>
      withSession(
        flags,
        async (session) => {
          let reject: (error: Error) => void = () => {}
          const refusal = new Promise<never>((_, rejectPromise) => {
            reject = rejectPromise
          })
          // The field `event` of a watch event is the kind of the event, such as `locked`.
          session.watch({ prefix }, (event) => {
            if (event.event === 'refused') reject(event.error)
            else printEvent(event, flags)
          })
          await Promise.race([untilStopped(session), refusal])
        },
        // Reconnect, unlike other commands, because a watch goes on when the broker is reachable
        // again.
        { reconnect: undefined },
      ),
    )
}

function printEvent(event: Exclude<WatchEvent, { event: 'refused' }>, flags: BrokerFlags): void {
  if (flags.json) printJson(event)
  else if (event.event === 'state') {
    const resync = event.resync
      ? ' (after a reconnect; events may be missing before this line)'
      : ''
    print(`${timestamp()} ${event.heldCount} held${resync}`)
    for (const lock of event.held) print(`${timestamp()} held ${lockText(lock)}`)
    const unlisted = event.heldCount - event.held.length
    if (unlisted > 0) print(`${timestamp()} ... and ${unlisted} more held, which ls --all lists`)
  } else print(`${timestamp()} ${event.event} ${lockText(event)}`)
}

function lockText(lock: HeldInfo): string {
  const holder = `${modeText(lock)} ${sessionLabel(lock)} fence ${lock.fence}${valueNote(lock)}`
  return `${escapeText(lock.key)} ${holder} ${metadataText(lock)}`.trimEnd()
}

function timestamp(): string {
  return new Date().toISOString()
}

/**
 * The error for a key that is not held with the fence (the number of a grant) that the user gave.
 *
 * @param result The current holders of the key, for the message; undefined if the holders are not
 *   known.
 */
export function wrongFence(key: string, result: QueryResult | undefined): Exit {
  const current = result === undefined ? '' : `: ${currentFences(result)}`
  return new Exit(exitCodes.failed, `${escapeText(key)} is not held with this fence${current}`)
}

function currentFences({ held }: QueryResult): string {
  if (held.length === 0) return 'the key is free'
  return `it is held with fence ${held.map(({ fence }) => fence).join(' and ')} now`
}
