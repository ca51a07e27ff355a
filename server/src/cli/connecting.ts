/**
 * What all commands that talk to a broker have in common: where it is, who asks, and how the answer
 * is printed.
 */
import { readFileSync } from 'node:fs'
import type { ConnectOptions, Session } from '@holdfast/client'
import { defaultPort } from '@holdfast/shared'
import { Command } from 'commander'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { onOutputFailure } from './output.js'
import { collect } from './parse.js'
import { heeded } from './run/launcher.js'

export interface BrokerFlags {
  readonly url?: readonly string[] | undefined
  readonly tokenFile?: string | undefined
  readonly ca?: string | undefined
  readonly allowInsecure?: boolean | undefined
  readonly json?: boolean | undefined
}

/** The heading over the options by which a command finds its broker. */
export const brokerGroup = 'Broker:'
/** The heading over a command's own options, as commander has it. */
const ownGroup = 'Options:'

/** A command that talks to a broker and prints what it says; `examples` are shown in its help. */
export function brokerCommand(usage: string, description: string, examples: string): Command {
  return quietCommand(usage, description, examples).option('--json', 'print JSON, one value a line')
}

/** A command that talks to a broker and has nothing to print. */
export function quietCommand(usage: string, description: string, examples: string): Command {
  return new Command(usage)
    .description(description)
    .optionsGroup(brokerGroup)
    .option(
      '-u, --url <url>',
      `a broker, wss:// beyond this machine (repeatable; HOLDFAST_URL; default ${defaultUrl})`,
      collect,
    )
    .option('--token-file <file>', 'a file with the token to show (or HOLDFAST_TOKEN)')
    .option('--ca <file>', caHelp)
    .option('--allow-insecure', 'show the token over plain ws:// beyond this machine')
    .optionsGroup(ownGroup)
    .addHelpText('after', `\nExamples:\n${examples.trim().replace(/^/gm, '  ')}\n${exitHelp}`)
}

export const caHelp = 'a file with the certificates of your own authority (or HOLDFAST_CA)'

export const defaultUrl = `ws://127.0.0.1:${defaultPort}`

/** The brokers to talk to: flags, else HOLDFAST_URL (separated by commas), else this machine. */
export function urlsFrom({ url }: BrokerFlags): readonly string[] {
  const { HOLDFAST_URL = '' } = process.env
  const named = HOLDFAST_URL.split(',').filter((one) => one !== '')
  return url ?? (named.length > 0 ? named : [defaultUrl])
}

/** Certificates to check the broker's by; undefined for those that Node trusts. */
export function caFrom({ ca }: BrokerFlags): string | undefined {
  const file = ca ?? (process.env['HOLDFAST_CA'] || undefined)
  if (file === undefined) return undefined
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.config, `The file of certificates ${file} cannot be read (${code}).`)
  }
  if (/^-----BEGIN [A-Z ]*CERTIFICATE-----/m.test(text)) return text
  throw new Exit(
    exitCodes.config,
    `The file ${file} has no certificate in PEM form (--ca, HOLDFAST_CA)`,
  )
}

/** Never from a flag: others on the machine can read those. */
function tokenFrom({ tokenFile }: BrokerFlags): string | undefined {
  if (tokenFile === undefined) return process.env['HOLDFAST_TOKEN'] || undefined
  try {
    return readFileSync(tokenFile, 'utf8').trim()
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.config, `The token file ${tokenFile} cannot be read (${code}).`)
  }
}

export async function connectTo(
  flags: BrokerFlags,
  options: ConnectOptions = {},
): Promise<Session> {
  // Loaded here, so that a broker need not wait for what it does not use.
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
    // The file may have a new one by now; if not, the broker says so, and closes at the end.
    if (token !== undefined) session.authenticate(token).catch(() => {})
  })
  return session
}

/** Does something with a session of its own. */
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

/** Resolves with the first signal to stop, or when the session ends by itself. */
export function stopOf(session: Session): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const signal of heeded(['SIGINT', 'SIGTERM'])) process.once(signal, () => resolve())
    session.once('closed', (error) => (error === undefined ? resolve() : reject(error)))
    // The reader of our output is gone, or the disk is full.
    onOutputFailure(() => resolve())
  })
}
