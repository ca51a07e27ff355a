/**
 * `holdfast serve`: a broker in a process of its own.
 */
import { defaultPort } from '@holdfast/shared'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type BrokerLimits, defaultLimits } from '../access/limits.js'
import { createBroker } from '../createBroker.js'
import { journalLog } from '../log/journal/journal.js'

/** Signals that come closer together than this are one. */
const sameSignalMs = 1_000
/** As in sysexits.h: an error of input or output. */
const ioErrorExit = 74

interface ServeFlags {
  readonly port: number
  readonly host: string
  readonly drain: number
  readonly fenceFile?: string
  readonly journal?: string
  readonly durability: 'flushed' | 'relaxed'
  readonly quietStart?: number
  readonly origin: string[]
  readonly dev: boolean
  readonly allowUnauthenticated: boolean
  readonly limit: Partial<BrokerLimits>
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('run a broker until SIGTERM or SIGINT')
    .option('-p, --port <port>', 'port to listen on; 0 for any that is free', integer, defaultPort)
    .option('-H, --host <host>', 'address to listen on', '127.0.0.1')
    .option('--drain <ms>', 'time for holders to finish when stopping', integer, 10_000)
    .option(
      '--fence-file <path>',
      'reserve fences on disk, so that they rise whatever the clock does',
    )
    .option('--journal <dir>', 'keep a journal, so that locks outlive a restart')
    .addOption(
      new Option('--durability <kind>', 'of the journal: on the disk, or with the system')
        .choices(['flushed', 'relaxed'])
        .default('flushed'),
    )
    .option(
      '--quiet-start <ms>',
      'grant nothing at first, until leases from before are over',
      integer,
    )
    .option('--origin <origin>', 'web origin whose pages may connect (repeatable)', collect, [])
    .option('--dev', 'let pages from loopback origins connect', false)
    .option(
      '--allow-unauthenticated',
      'serve beyond loopback although nobody is asked who they are',
      false,
    )
    .option(
      '--limit <name=number>',
      `a limit, one of: ${Object.keys(defaultLimits).join(', ')} (repeatable)`,
      collectLimit,
      {},
    )
    .addHelpText(
      'after',
      `
Examples:
  holdfast serve
  holdfast serve --port 7000 --fence-file /var/lib/holdfast/fences
  holdfast serve --dev --limit locksPerSession=100 --limit helloMs=2000`,
    )
    .exitOverride()
    .action((flags: ServeFlags) => serve(flags))
}

async function serve(flags: ServeFlags): Promise<void> {
  const { journal, durability } = flags
  const broker = createBroker({
    log: journal === undefined ? undefined : journalLog({ dir: journal, durability }),
    fenceFile: flags.fenceFile,
    quietStart: flags.quietStart,
    origins: flags.origin,
    dev: flags.dev,
    allowUnauthenticated: flags.allowUnauthenticated,
    limits: flags.limit,
  })
  // Whoever read our output may go; that is no reason for a broker to go.
  process.stdout.on('error', () => {})
  // Listened for from here on: whoever reads that we serve may tell us to stop at once.
  const stopped = nextSignal()
  const { url } = await broker.listen({ port: flags.port, host: flags.host })
  process.stdout.write(`holdfast is listening on ${url}\n`)
  broker.once('failed', ({ message }) => {
    process.stderr.write(`holdfast: ${message}\n`)
    process.exit(ioErrorExit)
  })
  const signal = await stopped
  process.stdout.write(`holdfast got ${signal} and is draining for at most ${flags.drain} ms\n`)
  await broker.close({ drain: flags.drain })
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
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
  })
}

function integer(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

function collect(value: string, former: string[]): string[] {
  return [...former, value]
}

function collectLimit(text: string, former: Partial<BrokerLimits>): Partial<BrokerLimits> {
  const [, name, number] = /^(\w+)=(\d{1,10})$/.exec(text) ?? []
  if (name === undefined || !Object.hasOwn(defaultLimits, name)) {
    const names = Object.keys(defaultLimits).join(', ')
    throw new InvalidArgumentError(
      `It is a name and a number, such as helloMs=2000; names: ${names}.`,
    )
  }
  return { ...former, [name]: Number(number) }
}
