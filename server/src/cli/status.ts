/**
 * `holdfast status`: shows whether brokers are ready, and the state of their command log. A command
 * log is the ordered record of all changes of locks: in memory, on disk, or shared with other
 * brokers. `holdfast status` sends an HTTP request without a token. A broker that has an admin port
 * answers `/status` on that port alone. Any other broker answers only programs on its own machine.
 */
import { Command } from 'commander'
import type { BrokerStatus, LogReport } from '../http/status.js'
import { adminAddress, askAdmin } from './adminRequest.js'
import { type BrokerFlags, caFrom, caHelp, urlsFrom } from './connecting.js'
import { Exit, exitCodes, exitHelp, reportError } from './exitCodes.js'
import { escapeText, formatTable, print, printJson, rounded, span } from './output.js'
import { appendUrls } from './parse.js'

/** How long a broker may take to answer, in ms. */
const responseTimeoutMs = 5_000

const examples = `
Examples:
  holdfast status
  holdfast status http://127.0.0.1:9420        # the port of --admin-port
  holdfast status --url ws://127.0.0.1:7421,ws://127.0.0.1:7422
  holdfast status --json | jq .log.position
  until holdfast status > /dev/null; do sleep 1; done
`

const notes = `
The exit code is 1 if the broker is not ready: while the broker drains, or while a broker with a
shared log is not a member of its cluster. With several URLs, the command asks each broker, and the
exit code is 0 if at least one of them is ready. A broker that has an admin port shows its status on
that port alone. Any other broker shows its status only to programs on its own machine.
`

export function statusCommand(): Command {
  return new Command('status')
    .description('show whether brokers are ready, and the state of their command log')
    .argument(
      '[url...]',
      'one or several ws:// or http:// URLs (default: HOLDFAST_URL, or the broker on this machine)',
      appendUrls,
    )
    .option('-u, --url <url>', 'the URLs as an option, as in the other commands', appendUrls)
    .option('--ca <file>', caHelp)
    .option('--json', 'print JSON, one value a line')
    .addHelpText('after', `${examples}${notes}${exitHelp}`)
    .action((urls: readonly string[], flags: BrokerFlags) => {
      const chosenUrls = urls.length > 0 ? urls : urlsFrom(flags)
      const addresses = chosenUrls.map((url) => adminAddress(url, '/status'))
      return status(addresses, caFrom(flags), flags.json === true)
    })
}

/**
 * Asks all brokers at once, and prints a report or an error for each, in the order of the URLs.
 *
 * @throws {Exit} If no broker is ready: 1 if a broker has reported that it is not ready, otherwise
 *   the code of the first error.
 */
async function status(
  addresses: readonly URL[],
  ca: string | undefined,
  asJson: boolean,
): Promise<void> {
  const results = await Promise.allSettled(addresses.map((address) => fetchStatus(address, ca)))
  const failureCodes: number[] = []
  let readyCount = 0
  let hasPrinted = false
  for (const [i, result] of results.entries()) {
    const address = addresses[i]!
    if (result.status === 'rejected') failureCodes.push(reportError(result.reason))
    else {
      if (!asJson && hasPrinted) print('')
      hasPrinted = true
      await printReport(address, result.value, asJson)
      if (result.value.ready) readyCount++
      else failureCodes.push(reportError(notReady(address)))
    }
  }
  if (readyCount > 0) return
  const code = failureCodes.includes(exitCodes.failed) ? exitCodes.failed : failureCodes[0]!
  // The message is empty, because every error is printed already.
  throw new Exit(code, '')
}

async function printReport(address: URL, report: BrokerStatus, asJson: boolean): Promise<void> {
  // Convert to JSON and back only to round numbers at every depth: `JSON.parse` calls `roundNumber`
  // for each value.
  if (asJson) printJson({ url: address.origin, ...JSON.parse(JSON.stringify(report), roundNumber) })
  else for (const line of await linesOf(address, report)) print(line)
}

function notReady(address: URL): Exit {
  return new Exit(exitCodes.failed, `The broker at ${address.origin} is not ready`)
}

/**
 * Rounds every number to a hundredth. This loses nothing that matters, because a status has only
 * measurements and counts, and no number that a client chose.
 */
function roundNumber(_: string, value: unknown): unknown {
  return typeof value === 'number' ? rounded(value) : value
}

/** Reads the status. @throws {Exit} 69 or 77 if the server does not show a status. */
async function fetchStatus(address: URL, ca: string | undefined): Promise<BrokerStatus> {
  const { origin } = address
  const response = await askAdmin(address, { ca, timeoutMs: responseTimeoutMs })
  // A broker answers 426 Upgrade Required to every request that it does not handle.
  if (response.status === 426) {
    throw new Exit(
      exitCodes.forbidden,
      `The broker at ${origin} does not show its status here: ask on its own machine by a ` +
        'loopback address, or on its admin port if it has one',
    )
  }
  const report = response.status === 200 ? await statusIn(response.body) : undefined
  if (report !== undefined) return report
  throw new Exit(
    exitCodes.unavailable,
    `The server at ${origin} is not a Holdfast broker (HTTP ${response.status}): check the URL`,
  )
}

/**
 * Parses the status in the body of a response; undefined if the body is not the status of a broker.
 */
async function statusIn(body: string): Promise<BrokerStatus | undefined> {
  try {
    const report = JSON.parse(body) as BrokerStatus
    const isStatus = typeof report.ready === 'boolean' && numbersOf(report).every(Number.isFinite)
    // Formats the status only as a test: the formatting throws if the status lacks a field.
    if (isStatus) await linesOf(new URL('http://127.0.0.1'), report)
    return isStatus ? report : undefined
  } catch {
    return undefined
  }
}

/**
 * All fields of a status that are printed as numbers. An omitted field counts as 0 or is left out.
 *
 * @throws {TypeError} if the status has no log, or a log of an unknown kind
 */
function numbersOf(report: BrokerStatus): readonly unknown[] {
  const { connections, sessions, held, waiting, memoryUsed, memoryLimit = 0, log } = report
  // The compiler cannot infer that the function belongs to this kind of log.
  const logNumbers = logNumbersOf[log.kind](log as never)
  return [connections, sessions, held, waiting, memoryUsed, memoryLimit, ...logNumbers]
}

/** For each kind of log: the fields of its state that are printed as numbers. */
const logNumbersOf: {
  readonly [K in LogReport['kind']]: (log: Extract<LogReport, { kind: K }>) => readonly unknown[]
} = {
  memory: () => [],
  journal: journalNumbersOf,
  replicated: (log) => [...journalNumbersOf(log), log.selfLeaseMs, log.lagMs ?? 0],
}

function journalNumbersOf(log: Exclude<LogReport, { kind: 'memory' }>): readonly unknown[] {
  const { position, waiting: unwrittenCount, snapshot } = log
  const snapshotNumbers = snapshot === undefined ? [] : [snapshot.position, snapshot.ageMs]
  return [position, unwrittenCount, ...snapshotNumbers]
}

/** A line of the printed table. */
type Row = readonly [label: string, value: string]

function linesOf(address: URL, report: BrokerStatus): Promise<string[]> {
  const { connections, sessions, held, waiting, memoryUsed, memoryLimit, ready, log } = report
  const cellRow: Row[] = report.cell === undefined ? [] : [['cell', escapeText(report.cell)]]
  const rows: Row[] = [
    ['ready', ready ? 'yes' : 'no'],
    ...cellRow,
    ...logRows(log),
    ['connections', String(connections)],
    ['sessions', String(sessions)],
    ['locks', `${held} held, ${waiting} waiting`],
    ['memory', memoryText(memoryUsed, memoryLimit)],
  ]
  return formatTable(['BROKER', address.origin], rows)
}

function memoryText(used: number, limit: number | undefined): string {
  const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
  const limitText = limit === undefined ? 'no limit' : `limit ${mebibytes(limit)}`
  return `${mebibytes(used)} for clients, ${limitText}`
}

/** The rows about the command log. */
function logRows(log: LogReport): Row[] {
  if (log.kind === 'memory') return [['log', 'in memory: locks are lost when the broker stops']]
  const rows: Row[] = [
    ['log position', String(log.position)],
    ['unwritten', `${log.waiting} commands`],
    ['snapshot', snapshotText(log)],
  ]
  if (log.kind === 'journal') return [['log', 'journal'], ...rows]
  const lag = log.lagMs === undefined ? 'not measured yet' : span(log.lagMs)
  return [
    ['log', `replicated, ${log.members.length} members`],
    [
      'member',
      log.live
        ? `yes; for at least ${span(log.selfLeaseMs)} even if the log does not answer`
        : 'no',
    ],
    // Another log in the same storage may mean that an operator mistyped the address of a log.
    ...(log.otherLogs.length === 0
      ? []
      : [['other logs', log.otherLogs.map(escapeText).join(' ')] as const]),
    ...log.members.map((name): Row => ['broker', memberText(name, log.name)]),
    ['log lag', lag],
    ...rows,
    ['problem', log.problem === undefined ? 'none' : escapeText(log.problem)],
  ]
}

function memberText(name: string, ownName: string | undefined): string {
  return name === ownName ? `${escapeText(name)} (this broker)` : escapeText(name)
}

function snapshotText({ snapshot }: Exclude<LogReport, { kind: 'memory' }>): string {
  if (snapshot === undefined) return 'none yet'
  return `at ${snapshot.position}, ${span(snapshot.ageMs)} old`
}
