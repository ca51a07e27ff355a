/**
 * A broker from settings: reads the files that they name, and refuses what contradicts itself.
 */
import { HoldfastError } from '@holdfast/shared'
import { jwtTokens } from '../access/jwt.js'
import { tokensFromFile } from '../access/tokensFromFile.js'
import { isLoopback } from '../config/addresses.js'
import type { Authenticate } from '../config/permissions.js'
import type { TlsFiles } from '../config/settings.js'
import { createBroker, type HoldfastBroker } from '../createBroker.js'
import { checkFenceFile } from '../log/fences.js'
import type { Logger } from '../observability/brokerLogger.js'
import type { Metrics } from '../observability/observer.js'
import { Exit, exitCodes, printError } from './exitCodes.js'
import { logFrom, logRules } from './log.js'
import { plainJson } from './print.js'
import { read } from './read.js'
import type { Settings } from './settings.js'

export interface Made {
  readonly broker: HoldfastBroker
  /** Writes what the log has not written yet. */
  readonly flushLog: () => void
}

/** @throws {Exit} 78 with one sentence about what cannot be. */
export async function brokerFrom(settings: Settings): Promise<Made> {
  refuseContradictions(settings)
  const { logger, flushLog } = await loggerFor(settings.logLevel)
  try {
    const broker = createBroker({
      log: await logFrom(settings),
      authenticate: authenticateBy(settings, logger),
      tls: tlsFrom(settings),
      metrics: await metricsFor(settings),
      logger,
      lease: {
        min: settings.leaseMin,
        max: settings.leaseMax,
        default: settings.leaseDefault,
      } as object,
      fenceFile: settings.fenceFile,
      quietStart: settings.quietStart,
      origins: settings.origins,
      hosts: settings.hosts,
      trustedProxies: settings.trustedProxies,
      dev: settings.dev,
      dashboard: { local: undefined, all: true, none: false }[settings.dashboard ?? 'local'],
      allowUnauthenticated: settings.allowUnauthenticated,
      allowInsecure: settings.allowInsecure,
      profile: settings.profile as 'private' | 'public' | undefined,
      limits: settings.limits,
    })
    return { broker, flushLog }
  } catch (error) {
    if (error instanceof HoldfastError) throw new Exit(exitCodes.config, error.message)
    throw error
  }
}

/**
 * The same, for a look at settings that a broker may be using at the moment: its fence file is read
 * and left to it.
 */
export async function checkSettings({ fenceFile, ...settings }: Settings): Promise<void> {
  try {
    if (fenceFile !== undefined) checkFenceFile(fenceFile)
  } catch (error) {
    throw new Exit(exitCodes.config, (error as HoldfastError).message)
  }
  const { broker } = await brokerFrom(settings)
  await broker.close()
}

function refuseContradictions(settings: Settings): void {
  const { host, dev, tokens, tlsCert, tlsKey, adminHost, adminPort } = settings
  const jwt = jwtKeysIn(settings)
  const rules: [boolean, string][] = [
    [
      dev === true && !isLoopback(host),
      `dev lets any page of a loopback origin in, and ${host} is beyond loopback: use origins.`,
    ],
    [
      tokens !== undefined && jwt.length > 0,
      `tokens and ${jwt[0]} are two ways to be known: use one.`,
    ],
    [jwt.length > 1, `${jwt[0]} and ${jwt[1]} are two kinds of key: use one.`],
    [
      jwt.length === 0 && jwtRulesIn(settings).length > 0,
      `${jwtRulesIn(settings)[0]} needs a key: jwtSecretFile, jwtPublicKey, jwtJwks or jwtJwksUrl.`,
    ],
    [(tlsCert === undefined) !== (tlsKey === undefined), 'tlsCert and tlsKey go together.'],
    ...logRules(settings),
    [adminHost !== undefined && adminPort === undefined, 'adminHost needs an adminPort.'],
  ]
  for (const [isBroken, sentence] of rules) if (isBroken) throw new Exit(exitCodes.config, sentence)
}

function jwtKeysIn(settings: Settings): string[] {
  const names = ['jwtSecretFile', 'jwtPublicKey', 'jwtJwks', 'jwtJwksUrl'] as const
  return names.filter((name) => settings[name] !== undefined)
}

function jwtRulesIn(settings: Settings): string[] {
  const names = ['jwtAlgorithms', 'jwtAudience', 'jwtIssuer'] as const
  return names.filter((name) => settings[name] !== undefined)
}

function authenticateBy(settings: Settings, logger: Logger | undefined): Authenticate | undefined {
  const { tokens, jwtSecretFile, jwtPublicKey, jwtJwks, jwtJwksUrl } = settings
  if (tokens !== undefined) {
    return tokensFromFile(tokens, ({ message }) => {
      if (logger === undefined) printError(message)
      else logger.error({ file: tokens }, message)
    })
  }
  if (jwtKeysIn(settings).length === 0) return undefined
  return jwtTokens({
    secret: jwtSecretFile === undefined ? undefined : read(jwtSecretFile).trimEnd(),
    publicKey: jwtPublicKey === undefined ? undefined : read(jwtPublicKey),
    jwks: jwtJwks === undefined ? undefined : setFrom(jwtJwks),
    jwksUrl: jwtJwksUrl,
    algorithms: settings.jwtAlgorithms,
    audience: settings.jwtAudience,
    issuer: settings.jwtIssuer,
  })
}

function setFrom(path: string): { readonly keys: readonly object[] } {
  try {
    return JSON.parse(read(path)) as { keys: object[] }
  } catch (error) {
    if (error instanceof Exit) throw error
    throw new Exit(exitCodes.config, `The file ${path} is not JSON.`)
  }
}

function tlsFrom({ tlsCert, tlsKey }: Settings): TlsFiles | undefined {
  if (tlsCert === undefined || tlsKey === undefined) return undefined
  return { cert: read(tlsCert), key: read(tlsKey) }
}

async function metricsFor({ metrics }: Settings): Promise<Metrics | undefined> {
  if (metrics !== true) return undefined
  const { brokerMetrics } = await import('../observability/metrics.js')
  return brokerMetrics()
}

async function loggerFor(level: string) {
  if (level === 'silent') return { logger: undefined, flushLog: () => {} }
  const { pino } = await import('pino')
  // Not in step with us: whoever does not read our errors does not stop the broker.
  const out = pino.destination({ dest: 2, sync: false })
  out.on('error', () => {})
  // JSON escapes some controls only, and an operator reads this in a terminal.
  const logger = pino({ level, base: null }, { write: (line) => out.write(escaped(line)) })
  const flushLog = () => {
    try {
      out.flushSync()
    } catch {
      // Nobody reads it any more.
    }
  }
  return { logger, flushLog }
}

/** A line of the log, whose end stays what it is. */
function escaped(line: string): string {
  return `${plainJson(line.trimEnd())}\n`
}
