/**
 * `holdfast status`: how a broker and its log are doing. Asks over plain HTTP, where the broker
 * tells operators alone; so it needs no token, and is told nothing from elsewhere.
 */
import { Command } from 'commander'
import type { BrokerStatus, LogReport } from '../observe/status.js'
import { type BrokerFlags, urlsFrom } from './connecting.js'
import { Exit, exitHelp, exits } from './exits.js'
import { collect } from './parse.js'
import { print, printJson, span, table, visible } from './print.js'

/** How long a broker may take to answer, in ms. */
const answerMs = 5_000

const examples = `
Examples:
  holdfast status
  holdfast status http://127.0.0.1:9420        # where --admin-port is
  holdfast status --json | jq .log.position
  until holdfast status > /dev/null; do sleep 1; done
`

const notes = `
Exits with 1 if the broker is not ready: it is draining or, with a log that it shares, it does not
count among the brokers now. A broker tells its status to its own machine only, or on its admin port
if it has one, and to nobody else.
`

export function statusCommand(): Command {
  return new Command('status')
    .description('show whether a broker is ready, and how it and its log are doing')
    .argument('[url]', 'ws:// or http:// (default: HOLDFAST_URL, or the broker on this machine)')
    .option('-u, --url <url>', 'the same, as the other commands want it', collect)
    .option('--json', 'print JSON, one value a line')
    .addHelpText('after', `${examples}${notes}${exitHelp}`)
    .action((url: string | undefined, flags: BrokerFlags) => {
      const [first] = urlsFrom(flags)
      return status(addressOf(url ?? (first as string)), flags.json === true)
    })
}

async function status(address: URL, asJson: boolean): Promise<void> {
  const told = await ask(address)
  if (asJson) printJson(told)
  else for (const line of linesOf(address, told)) print(line)
  if (!told.ready) throw new Exit(exits.failed, `The broker at ${address.origin} is not ready.`)
}

/** Where a broker that is given by its WebSocket tells its status. */
function addressOf(text: string): URL {
  const http = text.replace(/^ws(?=s?:)/i, 'http')
  const isAddress = /^https?:\/\//i.test(http) && URL.canParse(http)
  // What is between a scheme and an @ is a secret, and has no place on a command line.
  if (isAddress && new URL(http).username === '') return new URL('/status', http)
  const sentence = `"${visible(text)}" is not where a broker is, such as ws://127.0.0.1:7420.`
  throw new Exit(exits.usage, sentence)
}

async function ask(address: URL): Promise<BrokerStatus> {
  const { origin } = address
  let response: Response
  let body: string
  try {
    const signal = AbortSignal.timeout(answerMs)
    response = await fetch(address, { signal, redirect: 'manual' })
    body = await response.text()
  } catch (error) {
    throw new Exit(exits.unavailable, `The broker at ${origin} ${failureOf(error as Error)}.`)
  }
  // What a broker says to whatever it does not answer.
  if (response.status === 426) {
    throw new Exit(
      exits.forbidden,
      `The broker at ${origin} does not tell its status here: ask from its own machine by a ` +
        'loopback address, or on its admin port if it has one.',
    )
  }
  const told = response.status === 200 ? statusIn(body) : undefined
  if (told !== undefined) return told
  throw new Exit(
    exits.unavailable,
    `What answers at ${origin} is not a broker (HTTP ${response.status}).`,
  )
}

function failureOf({ name, message, cause }: Error): string {
  if (name === 'TimeoutError') return `did not answer within ${answerMs / 1_000} s`
  const { code, message: why } = (cause ?? {}) as NodeJS.ErrnoException
  return `cannot be reached (${visible(code ?? why ?? message)})`
}

/** Undefined if somebody else has said this. */
function statusIn(body: string): BrokerStatus | undefined {
  try {
    const told = JSON.parse(body) as BrokerStatus
    const isOurs = typeof told.ready === 'boolean' && logKinds.includes(told.log.kind)
    return isOurs ? told : undefined
  } catch {
    return undefined
  }
}

const logKinds: readonly unknown[] = ['memory', 'journal', 'shared'] satisfies LogReport['kind'][]

type Row = readonly [what: string, value: string]

function linesOf(address: URL, told: BrokerStatus): string[] {
  const { connections, sessions, held, waiting, ready, log } = told
  const rows: Row[] = [
    ['ready', ready ? 'yes' : 'no'],
    ...logRows(log),
    ['connections', String(connections)],
    ['sessions', String(sessions)],
    ['locks', `${held} held, ${waiting} waiting`],
  ]
  return table(['BROKER', address.origin], rows)
}

function logRows(log: LogReport): Row[] {
  if (log.kind === 'memory') return [['log', 'none: locks are in memory, and go with the broker']]
  const rows: Row[] = [
    ['log position', String(log.position)],
    ['to be written', `${log.waiting} commands`],
    ['snapshot', snapshotText(log)],
  ]
  if (log.kind === 'journal') return [['log', 'a journal'], ...rows]
  const lag = log.lagMs === undefined ? 'nothing came back yet' : span(log.lagMs)
  return [
    ['log', `shared by ${log.living.length} brokers`],
    ['standing', log.stands ? `for ${span(log.standingMs)} more` : 'no'],
    ...log.living.map((name): Row => ['broker', brokerText(name, log.home)]),
    ['log lag', lag],
    ...rows,
    ['trouble', log.trouble === undefined ? 'none' : visible(log.trouble)],
  ]
}

function brokerText(name: string, home: string | undefined): string {
  return name === home ? `${visible(name)} (this one)` : visible(name)
}

function snapshotText({ snapshot }: Exclude<LogReport, { kind: 'memory' }>): string {
  if (snapshot === undefined) return 'none yet'
  return `at ${snapshot.position}, ${span(snapshot.ageMs)} old`
}
