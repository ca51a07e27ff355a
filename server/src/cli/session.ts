/**
 * `holdfast session`: shows one session, as the page of a session in the dashboard does. The output
 * has the client, the lease, the grace, the locks and the waiting requests of the session. The
 * lease is how long the session lives without a message from its client. The grace is how long the
 * session outlives its connection.
 */
import type { HeldInfo, SessionInfo, WaitingInfo } from '@holdfast/client'
import { HoldfastError, maxIdOrSecretLength } from '@holdfast/shared'
import type { Command } from 'commander'
import { type AnySession, type BrokerFlags, brokerCommand, withSession } from './connecting.js'
import { Exit, exitCodes } from './exitCodes.js'
import { countByKey, pageSize, pagesOf, reportIncomplete } from './listing.js'
import {
  ago,
  escapeText,
  formatTable,
  maxValueInTable,
  modeText,
  print,
  printJson,
  span,
  timeLeftText,
  valueNote,
} from './output.js'
import { textParser } from './parse.js'

export function sessionCommand(): Command {
  return brokerCommand(
    'session',
    'show one session: its client, its lease and grace, its locks and its waiting requests',
    `holdfast show orders:42          # shows the ids of its sessions
holdfast session FWTlRuLi5iiFVUmSsg_gh
holdfast session -- -WTlRuLi5iiFVUmSsg_gh    # for an id that begins with a dash`,
  )
    .argument('<id>', 'the id of the session', textParser(maxIdOrSecretLength))
    .addHelpText(
      'after',
      `
The principal and the address of the client are shown only with the permission "inspect". The
command reads all locks of the broker to find those of the session, and shows only locks whose keys
the token may query.`,
    )
    .action((id: string, flags: BrokerFlags) =>
      withSession(flags, (session) => showSession(session, id, flags)),
    )
}

/** A waiting request of the session, and its position in the queue of its key. */
interface SessionRequest extends WaitingInfo {
  /**
   * From 1; undefined for an upgrade (a shared lock that becomes exclusive), which is granted
   * before the requests of the queue.
   */
  readonly position?: number | undefined
}

/** The locks and the waiting requests of a session. */
interface SessionLocks {
  readonly held: HeldInfo[]
  readonly waiting: SessionRequest[]
  /** Whether a queue was too long for the broker to list it completely. */
  isIncomplete: boolean
}

async function showSession(session: AnySession, id: string, flags: BrokerFlags): Promise<void> {
  const info = await sessionInfo(session, id)
  const locks = await locksOf(session, id)
  // `SessionInfo` has no name, but the locks and requests have the name of their session.
  const name = [...locks.held, ...locks.waiting].find((lock) => lock.name !== undefined)?.name
  const { held, waiting } = locks
  if (flags.json) printJson({ ...info, name, held, waiting })
  else await printSession(info, name, locks)
  if (!locks.isIncomplete) return
  const limit = `a broker lists at most the first ${pageSize} requests of a queue`
  // The second argument is empty, because this command has no flag `--limit`.
  reportIncomplete(`Waiting requests of the session may be missing: ${limit}`, {})
}

/** @throws {Exit} 1 if the broker has no such session, or is too old to show a session */
async function sessionInfo(session: AnySession, id: string): Promise<SessionInfo> {
  const [info] = await session
    .query({ kind: 'sessions', session: id })
    .then(({ sessions }) => sessions, throwQueryError)
  if (info !== undefined) return info
  throw new Exit(
    exitCodes.failed,
    `The broker has no session ${escapeText(id)}: it has ended, or the id is wrong`,
  )
}

/** Throws the error of a failed query. An older broker does not know the kind `sessions`. */
function throwQueryError(error: unknown): never {
  if (!(error instanceof HoldfastError && error.code === 'BAD_MESSAGE')) throw error
  throw new Exit(
    exitCodes.failed,
    'This broker is of an earlier version and cannot show a session: update the broker',
  )
}

/** Reads all locks and queues of the broker. Returns those of the session with this id. */
async function locksOf(session: AnySession, id: string): Promise<SessionLocks> {
  const found: SessionLocks = { held: [], waiting: [], isIncomplete: false }
  /**
   * The last key whose queue was read. If the locks of a key need several pages, each page may list
   * the queue of the key again.
   */
  let lastQueueKey: string | undefined
  for await (const page of pagesOf(session, undefined)) {
    found.held.push(...page.held.filter((lock) => lock.session === id))
    const queueLengths = countByKey(page.waiting)
    for (const key of queueLengths.keys()) {
      if (key === lastQueueKey) continue
      lastQueueKey = key
      const queue = page.waiting.filter((request) => request.key === key)
      found.waiting.push(...requestsOf(queue, id))
    }
    found.isIncomplete ||= Math.max(0, ...queueLengths.values()) >= pageSize
  }
  return found
}

/** The requests of the session with this id in the queue of a key, each with its position. */
function requestsOf(queue: readonly WaitingInfo[], id: string): SessionRequest[] {
  const requests: SessionRequest[] = []
  let position = 0
  for (const request of queue) {
    if (!request.upgrade) position++
    if (request.session !== id) continue
    requests.push(request.upgrade ? request : { ...request, position })
  }
  return requests
}

async function printSession(
  info: SessionInfo,
  name: string | undefined,
  { held, waiting }: SessionLocks,
): Promise<void> {
  print(`session: ${info.session}`)
  if (name !== undefined) print(`name: ${name}`)
  for (const line of clientLines(info)) print(line)
  print(`connection: ${info.connected ? 'connected' : 'disconnected'}`)
  print(`lease: ${span(info.lease)}`)
  print(`grace: ${info.grace === 0 ? 'none' : span(info.grace)}`)
  print(`locks: ${held.length}`)
  const heldColumns = ['KEY', 'MODE', 'HELD FOR', 'TIME LEFT', 'FENCE']
  if (held.length > 0)
    for (const line of await formatTable(heldColumns, held.map(heldRow))) print(line)
  print(`waiting requests: ${waiting.length}`)
  const waitingColumns = ['KEY', 'POSITION', 'MODE', 'WAITING FOR']
  if (waiting.length === 0) return
  for (const line of await formatTable(waitingColumns, waiting.map(waitingRow))) print(line)
}

/** The principal and the address of the client, which the broker may hide. */
function clientLines({ principal, address, connected }: SessionInfo): string[] {
  if (principal === undefined) {
    return ['principal and address: not shown, because they need the permission inspect']
  }
  // Only the broker to which the client is connected knows the address.
  const missingAddress = connected ? 'not known to this broker' : 'none'
  return [`principal: ${principal}`, `address: ${address ?? missingAddress}`]
}

function heldRow(lock: HeldInfo): string[] {
  const mode = `${modeText(lock)}${valueNote(lock, ': ', maxValueInTable)}`
  return [lock.key, mode, ago(lock.since), timeLeftText(lock), String(lock.fence)]
}

function waitingRow(request: SessionRequest): string[] {
  const position = request.position === undefined ? 'first' : String(request.position)
  return [request.key, position, modeText(request), ago(request.since)]
}
