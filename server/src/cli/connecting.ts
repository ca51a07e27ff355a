/**
 * The options that all commands for a running broker share: the URL of the broker, the token and
 * certificates. Also opens the session of a command with these options. Instead of one broker there
 * may be several cells: independent brokers or clusters, each with its own part of the keys.
 */
import type { ConnectOptions, Session } from '@holdfast/client'
import type { CellSession } from '@holdfast/client/cells'
import { defaultPort, HoldfastError, maxDurationMs } from '@holdfast/shared'
import { Command } from 'commander'
import { type AddressFlags, type CellList, cellListForm, cellsFrom, urlsOfKey } from './cellList.js'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { escapeText, onOutputFailure } from './output.js'
import { appendUrls, readText, urlsInList } from './parse.js'
import { withoutIgnored } from './run/launcher.js'
import { readSecret } from './secretFiles.js'

export interface BrokerFlags extends AddressFlags {
  readonly tokenFile?: string | undefined
  readonly ca?: string | undefined
  readonly allowInsecure?: boolean | undefined
  readonly json?: boolean | undefined
}

/** The heading over the options that select a broker, in the help. */
export const brokerGroup = 'Broker:'
/** The heading over the other options in the help; this is the default of commander. */
const ownGroup = 'Options:'

/**
 * Makes a command for a running broker, with the option `--json`.
 *
 * @param examples Command lines for the help, each on a line of its own.
 */
export function brokerCommand(usage: string, description: string, examples: string): Command {
  return brokerCommandWithoutJson(usage, description, examples).option(
    '--json',
    'print JSON, one value a line',
  )
}

/**
 * Makes a command like {@link brokerCommand}, but without `--json`, for a command that prints no
 * result.
 */
export function brokerCommandWithoutJson(
  usage: string,
  description: string,
  examples: string,
): Command {
  return new Command(usage)
    .description(description)
    .optionsGroup(brokerGroup)
    .option(
      '-u, --url <url>',
      'URL of a broker, or several with commas; wss:// for another machine (repeatable; or ' +
        `HOLDFAST_URL; default ${defaultUrl})`,
      appendUrls,
    )
    .option('--cells <list>', `URLs of several cells: ${cellListForm} (or HOLDFAST_CELLS)`)
    .option('--token-file <file>', 'file with the token to send (or HOLDFAST_TOKEN)')
    .option('--ca <file>', caHelp)
    .option('--allow-insecure', 'send the token over plain ws:// beyond this machine')
    .optionsGroup(ownGroup)
    .addHelpText('after', `\nExamples:\n${examples.trim().replace(/^/gm, '  ')}\n${exitHelp}`)
}

export const caHelp = 'file with the certificates of your own authority, in PEM (or HOLDFAST_CA)'

export const defaultUrl = `ws://127.0.0.1:${defaultPort}`

/** The broker URLs: from `--url`, else from HOLDFAST_URL, else the default. */
export function urlsFrom({ url }: BrokerFlags): readonly string[] {
  const fromVariable = urlsInList(process.env['HOLDFAST_URL'] ?? '')
  return url ?? (fromVariable.length > 0 ? fromVariable : [defaultUrl])
}

/**
 * The certificates of the authority that signed the broker's certificate; undefined to use the
 * authorities that Node knows.
 *
 * @throws {Exit} 78 if the file cannot be read or has no certificate.
 */
export function caFrom({ ca }: BrokerFlags): string | undefined {
  const file = ca ?? (process.env['HOLDFAST_CA'] || undefined)
  if (file === undefined) return undefined
  const text = readText(file, 'certificate file')
  if (/^-----BEGIN [A-Z ]*CERTIFICATE-----/m.test(text)) return text
  throw new Exit(
    exitCodes.config,
    `The certificate file ${file} has no certificate in PEM form (--ca, HOLDFAST_CA)`,
  )
}

/**
 * Reads the token. No option takes the token itself, because other users of the machine can read
 * command lines.
 */
function tokenFrom({ tokenFile }: BrokerFlags): string | undefined {
  if (tokenFile === undefined) return process.env['HOLDFAST_TOKEN'] || undefined
  return readSecret(tokenFile, 'token file').trim()
}

/** What a session with one broker or cluster, and a session with several cells, have in common. */
export interface AnySession extends Pick<Session, 'query' | 'stats' | 'watch' | 'close'> {
  once(event: 'closed', listener: (error: HoldfastError | undefined) => void): unknown
}

/** The cell in which a command needs a session: the cell of `key`, or the cell number `cell`. */
export type CellChoice = { readonly key: string } | { readonly cell: number }

/** The URLs of the brokers that {@link connectTo} tries. */
export function urlsOf(flags: BrokerFlags, choice: CellChoice): readonly string[] {
  const cells = cellsFrom(flags)
  if (cells === undefined) return urlsFrom(flags)
  return 'key' in choice ? urlsOfKey(cells, choice.key) : cells[choice.cell - 1]!
}

/**
 * Opens a session with the options of the command line: with the broker, or with one cell of
 * several. By default the session does not reconnect.
 */
export async function connectTo(
  flags: BrokerFlags,
  choice: CellChoice,
  options: ConnectOptions = {},
): Promise<Session> {
  const cells = cellsFrom(flags)
  if (cells === undefined) return connectToBroker(flags, options)
  // `connectToCells` takes no signal, because it opens no session yet. `sessionFor` and
  // `sessionOfCell` open a session and take the signal.
  const { signal, ...otherOptions } = options
  const cellSession = await connectToCells(flags, cells, otherOptions)
  return openInCells(flags, cellSession, () =>
    'key' in choice
      ? cellSession.sessionFor(choice.key, { signal })
      : cellSession.sessionOfCell(choice.cell, { signal }),
  )
}

/** Like {@link connectTo}, but for the keys of all cells. */
async function connectToAll(
  flags: BrokerFlags,
  options: Omit<ConnectOptions, 'signal'> = {},
): Promise<AnySession> {
  const cells = cellsFrom(flags)
  if (cells === undefined) return connectToBroker(flags, options)
  const cellSession = await connectToCells(flags, cells, options)
  // Open all sessions now. If a cell cannot be reached, the command then fails before it prints
  // anything.
  return openInCells(flags, cellSession, async () => {
    await Promise.all(cells.map((_, i) => cellSession.sessionOfCell(i + 1)))
    return cellSession
  })
}

async function connectToBroker(flags: BrokerFlags, options: ConnectOptions): Promise<Session> {
  // Import the client only here, because `holdfast serve` does not need it.
  const { connect } = await import('@holdfast/client')
  const session = await connect(urlsFrom(flags), { ...optionsFrom(flags), ...options }).catch(
    (error) => throwConnectError(flags, error),
  )
  session.on('expiring', () => renewToken(session, flags))
  return session
}

/**
 * Throws the error of a failed connection. If the token was refused or missing, throws instead an
 * error that says where the token is read from.
 */
function throwConnectError(flags: BrokerFlags, error: unknown): never {
  if (!(error instanceof HoldfastError) || error.code !== 'UNAUTHORIZED') throw error
  if (tokenFrom(flags) === undefined) {
    throw new Exit(
      exitCodes.forbidden,
      'The broker requires a token, and none was sent: set HOLDFAST_TOKEN or --token-file FILE',
    )
  }
  const { tokenFile } = flags
  const tokenSource =
    tokenFile === undefined ? 'HOLDFAST_TOKEN' : `the file ${escapeText(tokenFile)}`
  throw new Exit(
    exitCodes.forbidden,
    `The broker did not accept the token in ${tokenSource} (${error.reason ?? error.message}): ` +
      'put a token there that the broker knows',
  )
}

async function connectToCells(
  flags: BrokerFlags,
  cells: CellList,
  options: Omit<ConnectOptions, 'signal'>,
): Promise<CellSession> {
  const { connect } = await import('@holdfast/client/cells')
  const session = await connect({ cells, ...optionsFrom(flags), ...options })
  session.on('expiring', () => renewToken(session, flags))
  return session
}

/**
 * Calls `open`, which opens sessions in cells. If `open` fails, closes all sessions, because an
 * open session would keep this process from ending.
 *
 * @throws {Exit} 64 if a broker belongs to another cell than the list says; 77 if the token is
 *   refused or missing.
 */
async function openInCells<T>(
  flags: BrokerFlags,
  cellSession: CellSession,
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open()
  } catch (error) {
    await cellSession.close()
    if (error instanceof HoldfastError && error.code === 'UNAUTHORIZED') {
      throwConnectError(flags, error)
    }
    // `connectToCells` has already checked all options. So this code means here that a broker
    // belongs to another cell.
    if (error instanceof HoldfastError && error.code === 'INVALID_OPTION') {
      const advice = 'check the order and the number of the cells in --cells or HOLDFAST_CELLS'
      throw new Exit(exitCodes.usage, `${error.message}: ${advice}`)
    }
    throw error
  }
}

/** The options with which a command opens each of its sessions. */
function optionsFrom(flags: BrokerFlags) {
  return {
    // The name of the command, such as `holdfast ls`.
    name: `holdfast ${process.argv[2] ?? ''}`.trim(),
    reconnect: false,
    token: tokenFrom(flags),
    allowInsecure: flags.allowInsecure,
    ca: caFrom(flags),
  } as const
}

/** Reads the token again and sends it, because the token file may have a new token by now. */
function renewToken(session: Pick<Session, 'authenticate'>, flags: BrokerFlags): void {
  const token = tokenFrom(flags)
  // If the file still has the old token, the call fails, and the broker closes the connection when
  // the token expires.
  if (token !== undefined) session.authenticate(token).catch(() => {})
}

/**
 * Runs an action with a new session for a key, and closes the session afterwards.
 *
 * @param options Given to let the session reconnect. Without `options`, the answers of the broker
 *   have a time limit (see {@link withAnswerLimit}). With `options` they have none, because an
 *   answer after a reconnect may be late.
 */
export async function withSessionFor<T>(
  key: string,
  flags: BrokerFlags,
  action: (session: Session) => Promise<T>,
  options?: ConnectOptions,
): Promise<T> {
  const session = await connectTo(flags, { key }, options)
  try {
    return await action(options === undefined ? withAnswerLimit(session) : session)
  } finally {
    await session.close()
  }
}

/** Like {@link withSessionFor}, but with a session for all keys. */
export async function withSession<T>(
  flags: BrokerFlags,
  action: (session: AnySession) => Promise<T>,
  options?: Omit<ConnectOptions, 'signal'>,
): Promise<T> {
  const session = await connectToAll(flags, options)
  try {
    return await action(options === undefined ? withAnswerLimit(session) : session)
  } finally {
    await session.close()
  }
}

/** How long a broker may take for an answer that does not depend on another client, in ms. */
const answerLimitMs = 30_000
/** The names of the methods that the broker can answer at once, without another client. */
const promptMethods: ReadonlySet<unknown> = new Set(['query', 'stats', 'revoke'])

/**
 * Returns the session with a time limit: the calls of {@link promptMethods} reject if the broker
 * does not answer in time. Otherwise a broker that answers only heartbeats, or that never ends its
 * answer, would keep a command waiting for ever.
 */
export function withAnswerLimit<T extends AnySession>(session: T): T {
  return new Proxy(session, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      const method = (...args: unknown[]): unknown => Reflect.apply(member, target, args)
      if (!promptMethods.has(name)) return method
      return (...args: unknown[]) => answerInTime(method(...args) as Promise<unknown>)
    },
  })
}

/**
 * Waits for an answer of the broker.
 *
 * @param workMs How long the caller works before it needs the answer, such as the run of a
 *   benchmark, in ms. The time limit of the answer begins afterwards.
 * @throws {Exit} 69 if the answer does not come in time
 */
export async function answerInTime<T>(answer: Promise<T>, workMs = 0): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    const message = `The broker did not answer within ${answerLimitMs / 1_000} s: try again later`
    const onTimeout = () => reject(new Exit(exitCodes.unavailable, message))
    timer = setTimeout(onTimeout, Math.min(workMs + answerLimitMs, maxDurationMs))
  })
  try {
    return await Promise.race([answer, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Resolves at SIGINT, at SIGTERM, when writing the output fails, or when the session is closed.
 * Rejects if an error closed the session. A signal that this process was started to ignore, as with
 * `nohup`, stays ignored.
 */
export function untilStopped(session: AnySession): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const signal of withoutIgnored(['SIGINT', 'SIGTERM'])) {
      process.once(signal, () => resolve())
    }
    session.once('closed', (error) => (error === undefined ? resolve() : reject(error)))
    onOutputFailure(() => resolve())
  })
}
