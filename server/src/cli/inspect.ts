/**
 * `holdfast ls`, `show`, `stats` and `watch`: who holds what, who waits, and what happens.
 */
import type { HeldInfo, LockStats, QueryResult, WaitingInfo, WatchEvent } from '@holdfast/client'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, stopOf, withSession } from './connecting.js'
import { Exit, exits } from './exits.js'
import { ago, metadataOf, print, printJson, rounded, table, visible, whoIs } from './print.js'

export function lsCommand(): Command {
  return brokerCommand(
    'ls',
    'list who holds which keys, and how many wait',
    `holdfast ls
holdfast ls orders:
holdfast ls --json orders: | jq .key`,
  )
    .argument('[prefix]', 'only keys that begin so')
    .action((prefix: string | undefined, flags: BrokerFlags) =>
      withSession(flags, async (session) => list(await session.query({ prefix }), flags)),
    )
}

function list({ held, waiting, heldCount, waitingCount }: QueryResult, flags: BrokerFlags): void {
  const queues = new Map<string, number>()
  for (const { key } of waiting) queues.set(key, (queues.get(key) ?? 0) + 1)
  if (flags.json) {
    for (const lock of held) printJson({ ...lock, waiting: queues.get(lock.key) ?? 0 })
    return
  }
  const rows = held.map((lock) => [
    visible(lock.key),
    lock.mode,
    whoIs(lock),
    ago(lock.since),
    String(lock.fence),
    String(queues.get(lock.key) ?? 0),
  ])
  for (const line of table(['KEY', 'MODE', 'HOLDER', 'HELD FOR', 'FENCE', 'WAITING'], rows))
    print(line)
  const more = heldCount - held.length
  if (more > 0) print(`... and ${more} more; ${waitingCount} wait in all`)
  if (waitingCount > waiting.length) {
    print(`... of the ${waitingCount} who wait, ${waiting.length} are counted here`)
  }
}

export function showCommand(): Command {
  return brokerCommand(
    'show',
    'show a key: its holders, its queue, and the fence that unlock needs',
    'holdfast show orders:42',
  )
    .argument('<key>')
    .action((key: string, flags: BrokerFlags) =>
      withSession(flags, async (session) => show(key, await session.query({ key }), flags)),
    )
}

function show(key: string, found: QueryResult, flags: BrokerFlags): void {
  const { held, waiting, heldCount, waitingCount } = found
  if (flags.json) {
    printJson({ key, held, waiting })
    return
  }
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

function showStats(stats: LockStats, flags: BrokerFlags): void {
  if (flags.json) printJson(stats)
  else for (const line of table(['COUNTER', 'VALUE'], Object.entries(stats).map(pair))) print(line)
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
  return new Exit(exits.failed, `${visible(key)} is not held with that fence${what}`)
}

function heldNow({ held }: QueryResult): string {
  if (held.length === 0) return 'it is free'
  return `it is held with fence ${held.map(({ fence }) => fence).join(' and ')} now`
}
