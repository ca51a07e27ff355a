/**
 * `holdfast serve`: a broker in a process of its own.
 */

import { HoldfastError, redactUrls } from '@holdfast/shared'
import { Command, InvalidArgumentError, Option } from 'commander'
import { isLoopback } from '../config/addresses.js'
import type { HoldfastBroker } from '../createBroker.js'
import { Exit, exitCodes, exitHelp, printError } from './exitCodes.js'
import { type LoadedSettings, limitsOf, loadSettings } from './loadSettings.js'
import { collect, duration, integer } from './parse.js'
import { print } from './print.js'
import { heeded } from './run/launcher.js'
import {
  defaults,
  flagOf,
  type Setting,
  type SettingName,
  settingNames,
  settings,
} from './settings.js'

/** Signals that come closer together than this are one. */
const sameSignalMs = 1_000

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('run a broker until SIGTERM or SIGINT')
    .option('-c, --config <file>', 'settings as JSON, by the names of the flags in camelCase')
    .option('--check', 'say which settings would be used, and end', false)
  for (const name of settingNames) command.addOption(optionFor(name))
  return command
    .addHelpText(
      'after',
      `
Every flag is also a variable (HOLDFAST_FENCE_FILE) and a key of the config file (fenceFile); those
that are repeatable are origins, hosts, trustedProxies, jwtAlgorithms and limits there. A flag wins
over a variable, and a variable over the file. Times are in ms, or 10s, 2m.

Examples:
  holdfast serve
  holdfast serve --port 7000 --journal /var/lib/holdfast/journal
  holdfast serve --log etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/holdfast
  holdfast serve --dev --limit locksPerSession=100 --limit helloMs=2000
  holdfast token billing --file tokens && holdfast serve --tokens tokens
  holdfast serve --host 0.0.0.0 --tokens tokens --tls-cert cert.pem --tls-key key.pem
  HOLDFAST_PROFILE=public holdfast serve --config /etc/holdfast.json --admin-port 9420 --metrics
${exitHelp}`,
    )
    .action((flags: Record<string, unknown>) => serve(flags))
}

function optionFor(name: SettingName): Option {
  const { kind, help, short, choices, value, group }: Setting = settings[name]
  const flag = `${short === undefined ? '' : `${short}, `}--${flagOf(name)}`
  const placeholders = { text: 'text', port: 'n', ms: 'time', list: 'text', limits: 'name=n' }
  const option = new Option(
    kind === 'yes' ? flag : `${flag} <${value ?? placeholders[kind]}>`,
    kind === 'list' || kind === 'limits' ? `${help} (repeatable)` : help,
  )
  const standard = defaults[name as keyof typeof defaults]
  if (standard !== undefined) option.description += ` (default ${standard})`
  if (choices !== undefined) option.choices(choices)
  if (kind === 'port') option.argParser(integer)
  if (kind === 'ms') option.argParser(duration)
  if (kind === 'list') option.argParser(collect)
  if (kind === 'limits') option.argParser(oneLimit)
  // Flags are gathered by the names of the settings.
  option.attributeName = () => name
  return option.helpGroup(`${group}:`)
}

function oneLimit(text: string, former: object = {}): object {
  const [, name, value] = /^(\w+)=(\d{1,15}|off)$/.exec(text) ?? []
  if (name === undefined) throw new InvalidArgumentError('It is a name and a number: helloMs=2000.')
  try {
    const number = value === 'off' ? value : Number(value)
    return { ...former, ...limitsOf({ [name]: number }, '--limit') }
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

async function serve({ config, check, ...flags }: Record<string, unknown>): Promise<void> {
  const file = (config as string | undefined) ?? process.env['HOLDFAST_CONFIG']
  const gathered = loadSettings(flags, process.env, file === '' ? undefined : file)
  // Loaded here, so that the other commands need not wait for what they do not use.
  const { brokerFrom, checkSettings } = await import('./broker.js')
  if (check === true) {
    await checkSettings(gathered.settings)
    tell(gathered, settingNames)
    return
  }
  const { broker, flushLog } = await brokerFrom(gathered.settings)
  // Listened for from here on: whoever reads that we serve may tell us to stop at once.
  const stopped = nextSignal()
  broker.once('failed', ({ message }) => {
    printError(message)
    process.exit(exitCodes.io)
  })
  const url = await listen(broker, gathered)
  const page = dashboardAt(url, gathered)
  if (page !== undefined) print(`holdfast shows its locks on ${page}`)
  const signal = await stopped
  const { drain } = gathered.settings
  print(`holdfast got ${signal} and is draining for at most ${drain} ms`)
  await broker.close({ drain })
  flushLog()
}

async function listen(broker: HoldfastBroker, gathered: LoadedSettings): Promise<string> {
  const { port, host, adminPort, adminHost } = gathered.settings
  try {
    const { url } = await broker.listen({ port, host })
    print(`holdfast is listening on ${url}`)
    if (adminPort === undefined) return url
    const admin = await broker.listenAdmin({ port: adminPort, host: adminHost })
    print(`holdfast tells operators on ${admin.url}`)
    return url
  } catch (error) {
    await broker.close()
    if (!(error instanceof HoldfastError)) throw error
    throw new Exit(exitFor(error, gathered), error.message)
  } finally {
    // What was typed is known to whoever typed it.
    tell(
      gathered,
      settingNames.filter((name) => isFromElsewhere(gathered, name)),
    )
  }
}

/** What cannot be listened on is a setting that cannot be; a log that is away may come back. */
function exitFor(error: HoldfastError, { settings: { log, journal } }: LoadedSettings): number {
  const isPort = (error.cause as NodeJS.ErrnoException | undefined)?.syscall !== undefined
  if (isPort || error.code !== 'UNAVAILABLE') return exitCodes.config
  return log !== undefined
    ? exitCodes.unavailable
    : journal !== undefined
      ? exitCodes.io
      : exitCodes.config
}

/** Where a person can look, if anybody is shown anything there. */
function dashboardAt(
  url: string,
  { settings: { host, dashboard } }: LoadedSettings,
): string | undefined {
  const isServed = dashboard === 'all' || (dashboard !== 'none' && isLoopback(host))
  return isServed ? `${url.replace(/^ws/, 'http')}/dashboard/` : undefined
}

function isFromElsewhere({ sources }: LoadedSettings, name: SettingName): boolean {
  const source = sources.get(name)
  return source !== undefined && source !== 'a flag'
}

/** Says what is used and where it is from. No setting is a secret; those are in files. */
function tell({ settings: used, sources }: LoadedSettings, names: readonly SettingName[]): void {
  for (const name of names) {
    const value = used[name]
    if (value === undefined) continue
    const text = typeof value === 'object' ? JSON.stringify(value, spellOff) : String(value)
    print(`holdfast uses ${name} ${redactUrls(text)} from ${sources.get(name) ?? 'default'}`)
  }
}

function spellOff(_: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'off' : value
}

/**
 * Resolves with the first signal to stop. Whoever asks again does not want to wait, and the process
 * leaves at once; but one Ctrl-C can come as two signals within milliseconds, from the terminal to
 * the whole group and from npm to its child.
 */
function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined
    const stop = (signal: NodeJS.Signals): void => {
      const now = performance.now()
      if (firstAt !== undefined && now - firstAt > sameSignalMs) process.exit(1)
      firstAt ??= now
      resolve(signal)
    }
    for (const signal of heeded(['SIGTERM', 'SIGINT'])) process.on(signal, stop)
  })
}
