/**
 * The options that all commands for a running broker share (the URL of the broker, the token,
 * certificates), and the session that the commands open with these options.
 */
import type { ConnectOptions, Session } from '@holdfast/client'
import { defaultPort } from '@holdfast/shared'
import { Command } from 'commander'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { onOutputFailure } from './output.js'
import { appendValue, readText } from './parse.js'
import { withoutIgnored } from './run/launcher.js'

export interface BrokerFlags {
  readonly url?: readonly string[] | undefined
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
      'URL of a broker, wss:// beyond this machine (repeatable; or HOLDFAST_URL; ' +
        `default ${defaultUrl})`,
      appendValue,
    )
    .option('--token-file <file>', 'file with the token to send (or HOLDFAST_TOKEN)')
    .option('--ca <file>', caHelp)
    .option('--allow-insecure', 'send the token over plain ws:// beyond this machine')
    .optionsGroup(ownGroup)
    .addHelpText('after', `\nExamples:\n${examples.trim().replace(/^/gm, '  ')}\n${exitHelp}`)
}

export const caHelp = 'file with the certificates of your own authority, in PEM (or HOLDFAST_CA)'

export const defaultUrl = `ws://127.0.0.1:${defaultPort}`

/**
 * The broker URLs: from `--url`, else from HOLDFAST_URL (separated by commas), else the default.
 */
export function urlsFrom({ url }: BrokerFlags): readonly string[] {
  const { HOLDFAST_URL = '' } = process.env
  const fromVariable = HOLDFAST_URL.split(',').filter((text) => text !== '')
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
  return readText(tokenFile, 'token file').trim()
}

/**
 * Opens a session with the options of the command line. By default the session does not reconnect.
 */
export async function connectTo(
  flags: BrokerFlags,
  options: ConnectOptions = {},
): Promise<Session> {
  // Import the client only here, because `holdfast serve` does not need it.
  const { connect } = await import('@holdfast/client')
  const session = await connect(urlsFrom(flags), {
    name: `holdfast ${process.argv[2] ?? ''}`.trim(),
    reconnect: false,
    token: tokenFrom(flags),
    allowInsecure: flags.allowInsecure,
    ca: caFrom(flags),
    ...options,
  })
  session.on('expiring', () => {
    const token = tokenFrom(flags)
    // The file may have a new token by now. If not, the broker closes the connection when the old
    // token expires.
    if (token !== undefined) session.authenticate(token).catch(() => {})
  })
  return session
}

/** Runs an action with a new session, and closes the session afterwards. */
export async function withSession<T>(
  flags: BrokerFlags,
  action: (session: Session) => Promise<T>,
  options?: ConnectOptions,
): Promise<T> {
  const session = await connectTo(flags, options)
  try {
    return await action(session)
  } finally {
    await session.close()
  }
}

/**
 * Resolves at SIGINT, at SIGTERM, when writing the output fails, or when the session is closed;
 * rejects if the session was closed by an error.
 */
export function untilStopped(session: Session): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const signal of withoutIgnored(['SIGINT', 'SIGTERM'])) {
      process.once(signal, () => resolve())
    }
    session.once('closed', (error) => (error === undefined ? resolve() : reject(error)))
    onOutputFailure(() => resolve())
  })
}
