/**
 * `holdfast serve`: runs a broker in its own process, until a signal stops the broker.
 */
import { HoldfastError, redactUrls } from '@holdfast/shared'
import { Command, InvalidArgumentError, Option } from 'commander'
import { isLoopback } from '../config/addresses.js'
import type { HoldfastBroker } from '../createBroker.js'
import { Exit, exitCodes, exitHelp, printError } from './exitCodes.js'
import { withFlags } from './flagNames.js'
import { type LoadedSettings, limitsOf, loadSettings } from './loadSettings.js'
import { print } from './output.js'
import { appendValue, durationText, parseDuration, parseInteger } from './parse.js'
import { withoutIgnored } from './run/launcher.js'
import {
  defaults,
  flagOf,
  placeholderOf,
  type Setting,
  type SettingName,
  settingNames,
  settings,
} from './settings.js'

/** For how long after the first signal, in ms, a further signal counts as the same signal. */
const sameSignalMs = 1_000

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('run a broker until SIGTERM or SIGINT')
    .option('-c, --config <file>', 'JSON file with settings; its keys are the flags in camelCase')
    .option('--check', 'check the settings, print them with their sources, and exit', false)
  for (const name of settingNames) command.addOption(optionFor(name))
  return command
    .addHelpText(
      'after',
      `
Every flag is also a variable (--fence-file: HOLDFAST_FENCE_FILE) and a key of the config file
(fenceFile). The keys of repeatable flags are origins, hosts, trustedProxies, jwtAlgorithms and
limits. A flag overrides a variable, and a variable overrides the file.

Examples:
  holdfast serve
  holdfast serve --port 7000 --journal /var/lib/holdfast/journal
  holdfast serve --log postgres://holdfast@db.example/app?schema=holdfast
  holdfast serve --log etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/holdfast
  holdfast serve --dev --limit locksPerSession=100 --limit helloMs=2000
  holdfast token billing --file tokens && holdfast serve --tokens tokens
  holdfast serve --host 0.0.0.0 --tokens tokens --tls-cert cert.pem --tls-key key.pem
  HOLDFAST_PROFILE=public holdfast serve --config /etc/holdfast.json --admin-port 9420 --metrics
${exitHelp}`,
    )
    .action((flags: Record<string, unknown>) => serve(flags))
}

/** Makes the flag of a setting. */
function optionFor(name: SettingName): Option {
  const { kind, help, short, choices, group }: Setting = settings[name]
  const flag = `${short === undefined ? '' : `${short}, `}--${flagOf(name)}`
  const placeholder = placeholderOf(name)
  const option = new Option(
    placeholder === undefined ? flag : `${flag} <${placeholder}>`,
    kind === 'list' || kind === 'limits' ? `${help} (repeatable)` : help,
  )
  const defaultValue = defaults[name as keyof typeof defaults]
  if (defaultValue !== undefined) {
    const text = kind === 'ms' ? durationText(defaultValue as number) : defaultValue
    option.description += ` (default ${text})`
  }
  if (choices !== undefined) option.choices(choices)
  if (kind === 'port') option.argParser(parseInteger)
  if (kind === 'ms') option.argParser(parseDuration)
  if (kind === 'list') option.argParser(appendValue)
  if (kind === 'limits') option.argParser(addLimit)
  // Commander returns each flag under the name of its setting.
  option.attributeName = () => name
  return option.helpGroup(`${group}:`)
}

/** Parses one `--limit name=n` and adds this limit to the earlier limits. */
function addLimit(text: string, earlier: object = {}): object {
  // Every number of 15 digits is exact in floating point.
  const [, name, value] = /^(\w+)=(\d{1,15}|off)$/.exec(text) ?? []
  if (name === undefined) {
    throw new InvalidArgumentError('It must be a name and a number or off, such as helloMs=2000.')
  }
  try {
    const limit = value === 'off' ? value : Number(value)
    return { ...earlier, ...limitsOf({ [name]: limit }, '--limit') }
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

async function serve({ config, check, ...flags }: Record<string, unknown>): Promise<void> {
  const file = (config as string | undefined) ?? process.env['HOLDFAST_CONFIG']
  const loaded = loadSettings(flags, process.env, file === '' ? undefined : file)
  // Import the broker only here, because the other commands do not need it.
  const { brokerFrom, checkSettings } = await import('./broker.js')
  if (check === true) {
    await checkSettings(loaded.settings)
    printSettings(loaded, settingNames)
    return
  }
  const { broker, flushLogs } = await brokerFrom(loaded.settings)
  // Handle signals before the broker listens, because a supervisor may send a signal as soon as it
  // reads "is listening".
  const signalled = nextSignal()
  broker.once('failed', ({ code, message }) => {
    printError(withFlags(message))
    // After INVALID_OPTION a restart would fail again, for instance because a newer version of
    // Holdfast has written to the command log. The exit code 78 keeps a supervisor from a restart.
    process.exit(code === 'INVALID_OPTION' ? exitCodes.config : exitCodes.io)
  })
  rebalanceOnSignal(broker)
  const url = await listen(broker, loaded)
  const dashboard = dashboardUrl(url, loaded)
  if (dashboard !== undefined) print(`holdfast serves its dashboard on ${dashboard}`)
  if (process.stdout.isTTY) for (const line of firstSteps(url)) print(line)
  const signal = await signalled
  const { drain } = loaded.settings
  print(`holdfast got ${signal} and is draining for at most ${durationText(drain)}`)
  await broker.close({ drain })
  flushLogs()
  print('holdfast has stopped')
}

/** Lines that a new user can copy to try the broker. The caller prints them only to a terminal. */
function firstSteps(url: string): string[] {
  return [
    'Try it in a second terminal, in this folder:',
    `  npx holdfast run --url ${url} orders -- echo "I hold the lock"`,
    'In a program, such as first.mjs:',
    "  import { connect } from '@holdfast/client'",
    `  const session = await connect('${url}')`,
    "  const lock = await session.lock('orders')",
  ]
}

/**
 * At each SIGUSR2, lets the broker send its clients back to the brokers that they prefer. A signal
 * needs no token, because only the user of the process and root can send a signal.
 */
function rebalanceOnSignal(broker: HoldfastBroker): void {
  process.on('SIGUSR2', () => {
    void broker.rebalance().then((count) => {
      const clients =
        count === 1
          ? '1 client to its preferred broker'
          : `${count} clients to their preferred brokers`
      print(`holdfast got SIGUSR2 and has sent ${clients}`)
    })
  })
}

/** Opens the port of the broker and its admin port. @returns The URL for clients */
async function listen(broker: HoldfastBroker, loaded: LoadedSettings): Promise<string> {
  const { port, host, adminPort, adminHost } = loaded.settings
  let isOpeningAdminPort = false
  try {
    const { url } = await broker.listen({ port, host })
    print(`holdfast is listening on ${url}`)
    if (adminPort === undefined) return url
    isOpeningAdminPort = true
    const admin = await broker.listenAdmin({ port: adminPort, host: adminHost })
    print(`holdfast serves its admin endpoints on ${admin.url}`)
    return url
  } catch (error) {
    await broker.close()
    if (!(error instanceof HoldfastError)) throw error
    // Errors of `listenAdmin` say `port` and `host`, not the names of the settings.
    const message = isOpeningAdminPort
      ? error.message.replace('`port`', '`adminPort`').replace('`host`', '`adminHost`')
      : error.message
    const code = exitCodeFor(error, loaded)
    // Several errors of a replicated log have the exit code 69. Only the error for a PostgreSQL or
    // etcd that does not answer has the words "cannot be reached".
    const isUnreachable = code === exitCodes.unavailable && message.includes(' cannot be reached ')
    const advice = isUnreachable ? '; start it there, or correct the address in `log`' : ''
    throw new Exit(code, withFlags(`${message}${advice}`))
  } finally {
    // Print the settings even if the broker cannot listen, because a setting may be the cause.
    // Flags are not printed, because the operator has just typed the flags.
    printSettings(
      loaded,
      settingNames.filter((name) => isFromFileOrVariable(loaded, name)),
    )
  }
}

/** The system calls and functions that fail for an address on which the broker cannot listen. */
const addressCalls: readonly string[] = ['listen', 'bind', 'getaddrinfo']

/**
 * The exit code for an error of `listen`:
 * - 69 for a replicated log that is unavailable, so that a supervisor tries again
 * - 74 for a journal that cannot be used
 * - 78 for any other error, because a setting is invalid, such as an address on which the broker
 *   cannot listen
 */
function exitCodeFor(error: HoldfastError, { settings: { log, journal } }: LoadedSettings): number {
  const { syscall } = (error.cause ?? {}) as NodeJS.ErrnoException
  const isAddressError = syscall !== undefined && addressCalls.includes(syscall)
  if (isAddressError || error.code !== 'UNAVAILABLE') return exitCodes.config
  if (log !== undefined) return exitCodes.unavailable
  return journal !== undefined ? exitCodes.io : exitCodes.config
}

/**
 * The URL of the dashboard; undefined if the dashboard is off. The setting `local`, which is the
 * default, serves the dashboard only over loopback. The URL is then undefined if `host` is another
 * address.
 */
function dashboardUrl(
  url: string,
  { settings: { host, dashboard } }: LoadedSettings,
): string | undefined {
  const isServed = dashboard === 'all' || (dashboard !== 'none' && isLoopback(host))
  return isServed ? `${url.replace(/^ws/, 'http')}/dashboard/` : undefined
}

function isFromFileOrVariable({ sources }: LoadedSettings, name: SettingName): boolean {
  const source = sources.get(name)
  return source !== undefined && source !== 'a flag'
}

/** Prints settings with their sources. No setting is a secret, because secrets are in files. */
function printSettings(
  { settings: usedSettings, sources }: LoadedSettings,
  names: readonly SettingName[],
): void {
  for (const name of names) {
    const value = usedSettings[name]
    if (value === undefined) continue
    print(
      `holdfast uses ${name} ${redactUrls(textOf(name, value))} from ${sources.get(name) ?? 'default'}`,
    )
  }
}

/** The value of a setting, written as in a variable or in the config file. */
function textOf(name: SettingName, value: unknown): string {
  if (settings[name].kind === 'ms') return durationText(value as number)
  return typeof value === 'object' ? JSON.stringify(value, infinityAsOff) : String(value)
}

function infinityAsOff(_: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'off' : value
}

/**
 * Resolves with the first SIGTERM or SIGINT. A later signal ends the process immediately with exit
 * code 1. One Ctrl-C can arrive as two signals within milliseconds. The terminal sends SIGINT to
 * the whole process group, and npm sends SIGINT to its child too. These two signals count as one
 * signal. A signal that was ignored when this process started stays ignored.
 */
function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined
    const onSignal = (signal: NodeJS.Signals): void => {
      const now = performance.now()
      if (firstAt !== undefined && now - firstAt > sameSignalMs) process.exit(1)
      firstAt ??= now
      resolve(signal)
    }
    for (const signal of withoutIgnored(['SIGTERM', 'SIGINT'])) process.on(signal, onSignal)
  })
}
