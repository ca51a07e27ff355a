/**
 * `holdfast status`: how a broker and its log are doing. Asks over plain HTTP, where the broker
 * tells operators alone; so it needs no token, and is told nothing from elsewhere.
 */
import http from 'node:http'
import https from 'node:https'
import { redactUrl } from '@holdfast/shared'
import { Command } from 'commander'
import type { BrokerStatus, LogReport } from '../http/status.js'
import { type BrokerFlags, caFrom, caHelp, urlsFrom } from './connecting.js'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { collect } from './parse.js'
import { print, printJson, rounded, span, table, visible } from './print.js'

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
    .option('--ca <file>', caHelp)
    .option('--json', 'print JSON, one value a line')
    .addHelpText('after', `${examples}${notes}${exitHelp}`)
    .action((url: string | undefined, flags: BrokerFlags) => {
      const [first] = urlsFrom(flags)
      const address = addressOf(url ?? (first as string))
      return status(address, caFrom(flags), flags.json === true)
    })
}

async function status(address: URL, ca: string | undefined, asJson: boolean): Promise<void> {
  const told = await ask(address, ca)
  if (asJson) printJson(JSON.parse(JSON.stringify(told), roundFigures))
  else for (const line of await linesOf(address, told)) print(line)
  if (!told.ready) throw new Exit(exitCodes.failed, `The broker at ${address.origin} is not ready.`)
}

/** The status holds no numbers of a client's, so all of them may be rounded. */
function roundFigures(_: string, value: unknown): unknown {
  return typeof value === 'number' ? rounded(value) : value
}

/** Where a broker that is given by its WebSocket tells its status. */
function addressOf(text: string): URL {
  const http = text.replace(/^ws(?=s?:)/i, 'http')
  const isAddress = /^https?:\/\//i.test(http) && URL.canParse(http)
  // What is between a scheme and an @ is a secret, and has no place on a command line.
  if (isAddress && new URL(http).username === '') return new URL('/status', http)
  const sentence = `"${visible(redactUrl(text))}" is not where a broker is, such as ws://127.0.0.1:7420.`
  throw new Exit(exitCodes.usage, sentence)
}

async function ask(address: URL, ca: string | undefined): Promise<BrokerStatus> {
  const { origin } = address
  let answer: Answer
  try {
    answer = await get(address, ca)
  } catch (error) {
    throw new Exit(exitCodes.unavailable, `The broker at ${origin} ${failureOf(error as Error)}.`)
  }
  // What a broker says to whatever it does not answer.
  if (answer.status === 426) {
    throw new Exit(
      exitCodes.forbidden,
      `The broker at ${origin} does not tell its status here: ask from its own machine by a ` +
        'loopback address, or on its admin port if it has one.',
    )
  }
  const told = answer.status === 200 ? await statusIn(answer.body) : undefined
  if (told !== undefined) return told
  throw new Exit(
    exitCodes.unavailable,
    `What answers at ${origin} is not a broker (HTTP ${answer.status}).`,
  )
}

interface Answer {
  readonly status: number | undefined
  readonly body: string
}

/** Not by `fetch`, which takes no certificates. */
async function get(address: URL, ca: string | undefined): Promise<Answer> {
  const signal = AbortSignal.timeout(answerMs)
  const options = { signal, agent: false, ...(ca === undefined ? {} : { ca }) }
  const request = address.protocol === 'https:' ? https.get : http.get
  try {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      request(address, options, resolve).on('error', reject)
    })
    response.setEncoding('utf8')
    let body = ''
    for await (const part of response) body += part as string
    return { status: response.statusCode, body }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
}

function failureOf({ name, message, code }: NodeJS.ErrnoException): string {
  if (name === 'TimeoutError') return `did not answer within ${answerMs / 1_000} s`
  return `cannot be reached (${visible(code ?? message)})`
}

/** Undefined if somebody else has said this. */
async function statusIn(body: string): Promise<BrokerStatus | undefined> {
  try {
    const told = JSON.parse(body) as BrokerStatus
    const isOurs = typeof told.ready === 'boolean' && logKinds.includes(told.log.kind)
    // What lacks a part of a status cannot be shown as one.
    if (isOurs) await linesOf(new URL('http://127.0.0.1'), told)
    return isOurs ? told : undefined
  } catch {
    return undefined
  }
}

const logKinds: readonly unknown[] = ['memory', 'journal', 'shared'] satisfies LogReport['kind'][]

type Row = readonly [what: string, value: string]

function linesOf(address: URL, told: BrokerStatus): Promise<string[]> {
  const { connections, sessions, held, waiting, memoryUsed, memoryLimit, ready, log } = told
  const rows: Row[] = [
    ['ready', ready ? 'yes' : 'no'],
    ...logRows(log),
    ['connections', String(connections)],
    ['sessions', String(sessions)],
    ['locks', `${held} held, ${waiting} waiting`],
    ['memory', memoryText(memoryUsed, memoryLimit)],
  ]
  return table(['BROKER', address.origin], rows)
}

function memoryText(used: number, limit: number | undefined): string {
  const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
  const bound = limit === undefined ? 'no bound' : `of ${mebibytes(limit)}`
  return `${mebibytes(used)} for clients, ${bound}`
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
    ['log', `shared by ${log.members.length} brokers`],
    ['standing', log.stands ? `for ${span(log.selfLeaseMs)} more` : 'no'],
    ...log.members.map((name): Row => ['broker', brokerText(name, log.name)]),
    ['log lag', lag],
    ...rows,
    ['trouble', log.problem === undefined ? 'none' : visible(log.problem)],
  ]
}

function brokerText(name: string, home: string | undefined): string {
  return name === home ? `${visible(name)} (this one)` : visible(name)
}

function snapshotText({ snapshot }: Exclude<LogReport, { kind: 'memory' }>): string {
  if (snapshot === undefined) return 'none yet'
  return `at ${snapshot.position}, ${span(snapshot.ageMs)} old`
}
