/**
 * `holdfast ls`, `show` and `stats`: print holders, queues, counters, and:
 * - barriers: a barrier lets its callers wait until enough of them have arrived;
 * - kept results: the value of one run of `once`, stored for later callers of `once`;
 * - refused deadlocks: requests that the broker refused because they would cause a deadlock.
 */
import type { HeldInfo, LockStats, QueryResult, Session, WaitingInfo } from '@holdfast/client'
import { type Command, Option } from 'commander'
import {
  type AnySession,
  type BrokerFlags,
  brokerCommand,
  withSession,
  withSessionFor,
} from './connecting.js'
import { deadlockTable, deadlockText, noneIfForbidden, readDeadlocks } from './deadlocks.js'
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
  maxValueInTable,
  metadataText,
  modeText,
  print,
  printJson,
  rounded,
  sessionLabel,
  span,
  timeLeftText,
  valueNote,
} from './output.js'
import { barrierTable, keptTable, queryRecords, type Records, recordLines } from './records.js'

/** The values of `ls --kind`. */
const listedKinds = ['locks', 'barriers', 'results', 'deadlocks'] as const

export function lsCommand(): Command {
  const command = brokerCommand(
    'ls',
    'list the held locks with their queues, the barriers, the kept results and refused deadlocks',
    `holdfast ls
holdfast ls orders:
holdfast ls --all --json orders: | jq .key
holdfast ls --kind barriers --json`,
  )
    .argument('[prefix]', 'only keys that begin with this prefix')
    .addOption(
      new Option(
        '--kind <kind>',
        'list only this kind (default: all kinds; with --json: locks)',
      ).choices(listedKinds),
    )
  return withListFlags(command, 'locks', /* hasPages */ true)
    .addHelpText(
      'after',
      `
The locks are in the order of their keys. A lock that is held during the whole listing is listed
once. A lock that is granted or released during the listing may be listed or not. The size of a kept
result is the length of its JSON. At most ${pageSize} calls at barriers and ${pageSize} kept
results are listed. The broker keeps the newest 20 refused deadlocks; a deadlock is listed if the
prefix matches one of its keys.`,
    )
    .action((prefix: string | undefined, flags: LsFlags) =>
      withSession(flags, (session) => list(session, prefix, flags)),
    )
}

interface LsFlags extends BrokerFlags, ListFlags {
  readonly kind?: (typeof listedKinds)[number] | undefined
}

async function list(
  session: AnySession,
  prefix: string | undefined,
  flags: LsFlags,
): Promise<void> {
  const kind = flags.kind ?? (flags.json ? 'locks' : undefined)
  if (kind === undefined || kind === 'locks') await listHeld(session, prefix, flags)
  if (kind === undefined || kind === 'deadlocks') await listDeadlocks(session, prefix, flags)
  if (kind === 'locks' || kind === 'deadlocks') return
  const limit = Math.min(flags.limit ?? pageSize, pageSize)
  const records = await queryRecords(session, { prefix, limit })
  if (kind === undefined || kind === 'barriers') await listBarriers(records, flags)
  if (kind === undefined || kind === 'results') await listKept(records, flags)
}

async function listDeadlocks(session: AnySession, prefix = '', flags: LsFlags): Promise<void> {
  const reading = readDeadlocks(session, (key) => key.startsWith(prefix))
  // The broker sends the deadlocks with its counters, which a client may be forbidden to read.
  // Without --kind, such a client still gets all other lists.
  const deadlocks = await (flags.kind === undefined ? reading.catch(noneIfForbidden) : reading)
  const listed = deadlocks.slice(0, flags.limit)
  if (flags.json) for (const deadlock of listed) printJson(deadlock)
  else if (listed.length > 0 || flags.kind !== undefined)
    await printTable(deadlockTable(listed), flags)
}

async function listBarriers({ arrived, arrivedCount }: Records, flags: LsFlags): Promise<void> {
  if (flags.json) for (const call of arrived) printJson(call)
  else if (arrived.length > 0 || flags.kind !== undefined)
    await printTable(barrierTable(arrived), flags)
  reportUnlisted(arrived.length, arrivedCount, 'calls at barriers', flags)
}

async function listKept({ kept, keptCount }: Records, flags: LsFlags): Promise<void> {
  if (flags.json) for (const result of kept) printJson(result)
  else if (kept.length > 0 || flags.kind !== undefined) await printTable(keptTable(kept), flags)
  reportUnlisted(kept.length, keptCount, 'kept results', flags)
}

/** Prints a table. Without `--kind`, an empty line comes before the table. */
async function printTable(
  linesPromise: Promise<readonly string[]>,
  { kind }: LsFlags,
): Promise<void> {
  if (kind === undefined) print('')
  for (const line of await linesPromise) print(line)
}

/** Reports an incomplete listing of barriers or kept results. */
function reportUnlisted(
  listedCount: number,
  totalCount: number,
  itemName: string,
  flags: LsFlags,
): void {
  if (listedCount >= totalCount) return
  if (!flags.json) print(`... and ${totalCount - listedCount} more`)
  reportIncomplete(
    `Only ${listedCount} of ${totalCount} ${itemName} are listed: a broker lists at most ${pageSize}; give a ` +
      'longer prefix, or --limit N if N are enough',
    flags,
  )
}

/** Lists the held locks of the prefix, and reports if not all of them are listed. */
async function listHeld(
  session: AnySession,
  prefix: string | undefined,
  flags: LsFlags,
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
    timeLeftText(lock),
    String(lock.fence),
    String(lock.waiting),
  ])
  for (const line of await formatTable(
    ['KEY', 'MODE', 'HOLDER', 'HELD FOR', 'TIME LEFT', 'FENCE', 'WAITING'],
    rows,
  ))
    print(line)
}

export function showCommand(): Command {
  const command = brokerCommand(
    'show',
    'show the holders and the queue of a key, its barrier, its kept result and its deadlocks',
    'holdfast show orders:42',
  ).argument('<key>', 'the key to show')
  return withListFlags(command, 'holders and waiting requests', /* hasPages */ false)
    .addHelpText('after', '\nThe fence of a holder is the fence that `holdfast unlock` needs.')
    .action((key: string, flags: BrokerFlags & ListFlags) =>
      withSessionFor(key, flags, (session) => show(session, key, flags)),
    )
}

async function show(session: Session, key: string, flags: BrokerFlags & ListFlags): Promise<void> {
  const limit = flags.limit ?? pageSize
  const result = await session.query({ key, limit })
  const records = await queryRecords(session, { key, limit })
  const isThisKey = (name: string) => name === key
  const deadlocks = await readDeadlocks(session, isThisKey).catch(noneIfForbidden)
  const { held, waiting, heldCount, waitingCount } = result
  if (flags.json) printJson({ key, ...result, ...records, deadlocks })
  else {
    printKey(key, result)
    for (const line of recordLines(records)) print(line)
    const [firstHolder] = held
    if (firstHolder?.keyCount !== undefined) await printSet(session, firstHolder)
    for (const deadlock of deadlocks) print(`refused deadlock, ${deadlockText(deadlock)}`)
  }
  const [listed, total] = [held.length + waiting.length, heldCount + waitingCount]
  if (listed < total) {
    reportIncomplete(
      `Only ${listed} of ${total} holders and waiting requests are shown: a broker lists at most ` +
        `${pageSize} of each; use --limit N if N are enough`,
      flags,
    )
  }
}

/**
 * Prints the keys of a set (a lock of several keys). Prints nothing if one query does not return
 * all these keys: the token may forbid some keys, or other locks may fill the answer.
 */
async function printSet(session: Session, { fence, keyCount }: HeldInfo): Promise<void> {
  const { held } = await session.query()
  const keys = held.filter((lock) => lock.fence === fence).map(({ key }) => key)
  if (keys.length === keyCount) print(`keys of the set: ${keys.join(', ')}`)
}

/** Prints the holders of a key, and then its queue. */
function printKey(key: string, { held, waiting, heldCount, waitingCount }: QueryResult): void {
  if (held.length === 0) print(`${escapeText(key)} is free`)
  for (const lock of held) print(holderLine(lock))
  const [firstHolder] = held
  if (firstHolder?.mode === 'permits' && heldCount === held.length) {
    const used = held.reduce((sum, { permits = 0 }) => sum + permits, 0)
    print(`${used} of ${firstHolder.capacity} permits used`)
  }
  if (heldCount > held.length) print(`... and ${heldCount - held.length} more hold it`)
  // A waiting upgrade (of a shared lock to an exclusive lock) is granted before the queue, so the
  // upgrade has no position in the queue.
  const queue = waiting.filter(({ upgrade }) => !upgrade)
  for (const request of waiting) {
    const position = request.upgrade ? 'before the queue:' : `${queue.indexOf(request) + 1}.`
    print(waiterLine(position, request))
  }
  if (waitingCount > waiting.length) print(`... and ${waitingCount - waiting.length} more wait`)
}

function holderLine(lock: HeldInfo): string {
  const metadata = metadataText(lock)
  const holder = lock.election
    ? `led by ${sessionLabel(lock)}${valueNote(lock)}`
    : `held ${modeNote(lock)}by ${sessionLabel(lock)}`
  const times = `for ${ago(lock.since)}${timeLimitNote(lock)}`
  const details = `${times}, fence ${lock.fence}, session ${lock.session}`
  return `${holder} ${details}${metadata === '' ? '' : `, ${metadata}`}`
}

/**
 * The ttl of a lock (its duration without a refresh), and the time that remains; empty for a lock
 * without a time limit.
 */
function timeLimitNote({ ttl, ttlRemaining, maxHoldRemaining }: HeldInfo): string {
  const ttlText = ttl === undefined ? '' : `, ttl ${span(ttl)}`
  const expiryText =
    ttlRemaining === undefined ? '' : `, expires in ${span(ttlRemaining)} unless refreshed`
  const endText =
    maxHoldRemaining === undefined ? '' : `, ends in ${span(maxHoldRemaining)} at the latest`
  return `${ttlText}${expiryText}${endText}`
}

function waiterLine(position: string, request: WaitingInfo): string {
  const mode = modeNote(request).trimEnd()
  const waited = `has waited for ${ago(request.since)}, session ${request.session}`
  return `${position} ${sessionLabel(request)}${mode === '' ? '' : ` ${mode}`} ${waited}`
}

/** The mode in parentheses, with a space at the end; empty for an exclusive lock of one key. */
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
  else for (const line of await formatTable(['COUNTER', 'VALUE'], statsRows(stats))) print(line)
}

/** One row for each counter and for each refused deadlock. */
function statsRows({ newestDeadlock, deadlocks = [], ...counters }: LockStats): string[][] {
  // `newestDeadlock` is also the first of `deadlocks`. If its keys are hidden from this client, the
  // broker sends no `newestDeadlock`, and `deadlocks` has only older ones.
  const olderDeadlocks = newestDeadlock === undefined ? deadlocks : deadlocks.slice(1)
  return [
    ...Object.entries(counters).map(([name, value]) => [name, String(rounded(value ?? 0))]),
    ...(newestDeadlock === undefined ? [] : [['newestDeadlock', deadlockText(newestDeadlock)]]),
    ...olderDeadlocks.map((deadlock) => ['olderDeadlock', deadlockText(deadlock)]),
  ]
}

/**
 * The error if the user gave a fence (the number of a grant) that no current holder has.
 *
 * @param result The current holders of the key, for the message; undefined if the holders are not
 *   known.
 */
export function wrongFence(key: string, result: QueryResult | undefined): Exit {
  const currentText = result === undefined ? '' : `: ${currentFences(result)}`
  return new Exit(exitCodes.failed, `${escapeText(key)} is not held with this fence${currentText}`)
}

function currentFences({ held }: QueryResult): string {
  if (held.length === 0) return 'the key is free'
  return `it is held with fence ${held.map(({ fence }) => fence).join(' and ')} now`
}
