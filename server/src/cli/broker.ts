/**
 * Makes a broker from the settings of `holdfast serve`: reads the files that the settings name, and
 * refuses settings that contradict each other. This file also opens the two outputs of the broker:
 * the lines of the logger on standard error, and the audit log in a file.
 */
import { closeSync, openSync } from 'node:fs'
import { HoldfastError } from '@holdfast/shared'
import { jwtTokens } from '../access/jwt.js'
import { tokensFromFile } from '../access/tokensFromFile.js'
import { isLoopback } from '../config/addresses.js'
import type { Authenticate } from '../config/permissions.js'
import type { TlsFiles } from '../config/settings.js'
import { createBroker, type HoldfastBroker } from '../createBroker.js'
import { checkFenceFile } from '../log/fences.js'
import type { AuditLog } from '../observability/auditLog.js'
import type { Logger } from '../observability/brokerLogger.js'
import type { Metrics } from '../observability/observer.js'
import { Exit, exitCodes, printError } from './exitCodes.js'
import { withFlags } from './flagNames.js'
import { logFrom, logRules } from './log.js'
import { openLogOutput } from './logOutput.js'
import { readText } from './parse.js'
import { warnOfAccessibleFiles } from './secretFiles.js'
import type { Settings } from './settings.js'

export interface ConfiguredBroker {
  readonly broker: HoldfastBroker
  /** Writes the lines that the logger and the audit log still buffer. */
  readonly flushLogs: () => void
}

/**
 * Makes a broker from settings; the broker does not listen yet.
 *
 * @throws {Exit} 78 if a setting is invalid.
 */
export async function brokerFrom(settings: Settings): Promise<ConfiguredBroker> {
  refuseContradictions(settings)
  warnOfAccessibleFiles(settings)
  const { logger, flushLogger } = await loggerFor(settings.logLevel)
  const { auditLog, flushAudit } = await auditFor(settings.audit, logger)
  try {
    const broker = createBroker({
      log: await logFrom(settings),
      authenticate: authenticateBy(settings, logger, auditLog),
      observer: auditLog,
      tls: tlsFrom(settings),
      metrics: await metricsFor(settings),
      logger,
      // The type of `lease` forbids fields that are `undefined`, but `createBroker` accepts them.
      lease: {
        min: settings.leaseMin,
        max: settings.leaseMax,
        default: settings.leaseDefault,
      } as object,
      fenceFile: settings.fenceFile,
      cell: settings.cell,
      quietStart: settings.quietStart,
      origins: settings.origins,
      hosts: settings.hosts,
      trustedProxies: settings.trustedProxies,
      dev: settings.dev,
      // `undefined` lets the broker serve the dashboard only to clients on its own machine.
      dashboard: { local: undefined, all: true, none: false }[settings.dashboard ?? 'local'],
      allowUnauthenticated: settings.allowUnauthenticated,
      allowInsecure: settings.allowInsecure,
      profile: settings.profile as 'private' | 'public' | undefined,
      limits: settings.limits,
    })
    const flushLogs = () => {
      flushLogger()
      flushAudit()
    }
    return { broker, flushLogs }
  } catch (error) {
    if (error instanceof HoldfastError) throw new Exit(exitCodes.config, withFlags(error.message))
    throw error
  }
}

/**
 * Checks settings as {@link brokerFrom} does, but only reads the fence file, in which a broker
 * reserves the numbers of its grants. A running broker with the same settings may own this file.
 *
 * @throws {Exit} 78 if a setting is invalid.
 */
export async function checkSettings({ fenceFile, ...settings }: Settings): Promise<void> {
  try {
    if (fenceFile !== undefined) checkFenceFile(fenceFile)
  } catch (error) {
    throw new Exit(exitCodes.config, withFlags((error as HoldfastError).message))
  }
  const { broker } = await brokerFrom(settings)
  await broker.close()
}

/** @throws {Exit} 78 if two settings contradict each other, or a setting needs an absent setting */
function refuseContradictions(settings: Settings): void {
  const { host, dev, tokens, tlsCert, tlsKey, adminHost, adminPort } = settings
  const keyNames = jwtKeyNames(settings)
  const [conditionName] = jwtConditionNames(settings)
  const rules: [isBroken: boolean, message: string][] = [
    [
      dev === true && !isLoopback(host),
      `\`dev\` allows every page with a loopback origin, but host ${host} is not loopback: ` +
        'set `origins` instead of `dev`',
    ],
    [
      tokens !== undefined && keyNames.length > 0,
      `\`tokens\` and ${keyNames[0]} are both set: set only one of them`,
    ],
    [keyNames.length > 1, `${keyNames[0]} and ${keyNames[1]} are both set: set only one of them`],
    [
      keyNames.length === 0 && conditionName !== undefined,
      `${conditionName} needs a key: set jwtSecretFile, jwtPublicKey, jwtJwks or jwtJwksUrl`,
    ],
    [
      (tlsCert === undefined) !== (tlsKey === undefined),
      `${tlsCert === undefined ? 'tlsKey' : 'tlsCert'} is set alone: set both tlsCert and tlsKey`,
    ],
    ...logRules(settings),
    [
      adminHost !== undefined && adminPort === undefined,
      'adminHost is set without adminPort: set both',
    ],
  ]
  for (const [isBroken, message] of rules) {
    if (isBroken) throw new Exit(exitCodes.config, withFlags(message))
  }
}

/** Returns the names of the settings that are set and give a key for JSON Web Tokens. */
function jwtKeyNames(settings: Settings): string[] {
  const names = ['jwtSecretFile', 'jwtPublicKey', 'jwtJwks', 'jwtJwksUrl'] as const
  return names.filter((name) => settings[name] !== undefined)
}

/** Returns the names of the settings that are set and restrict which JSON Web Tokens are valid. */
function jwtConditionNames(settings: Settings): string[] {
  const names = ['jwtAlgorithms', 'jwtAudience', 'jwtIssuer'] as const
  return names.filter((name) => settings[name] !== undefined)
}

/** The option `authenticate`; undefined if the settings name neither a token file nor a key. */
function authenticateBy(
  settings: Settings,
  logger: Logger | undefined,
  auditLog: AuditLog | undefined,
): Authenticate | undefined {
  const { tokens, jwtSecretFile, jwtPublicKey, jwtJwks, jwtJwksUrl } = settings
  if (tokens !== undefined) {
    return tokensFromFile(
      tokens,
      ({ message }) => reportFileError(logger, { file: tokens }, message),
      (added, removed) => auditLog?.tokenFileChanged(tokens, added, removed),
    )
  }
  if (jwtKeyNames(settings).length === 0) return undefined
  return jwtTokens({
    secret: jwtSecretFile === undefined ? undefined : readText(jwtSecretFile).trimEnd(),
    publicKey: jwtPublicKey === undefined ? undefined : readText(jwtPublicKey),
    jwks: jwtJwks === undefined ? undefined : readJwks(jwtJwks),
    jwksUrl: jwtJwksUrl,
    algorithms: settings.jwtAlgorithms,
    audience: settings.jwtAudience,
    issuer: settings.jwtIssuer,
  })
}

function readJwks(path: string): { readonly keys: readonly object[] } {
  try {
    return JSON.parse(readText(path)) as { keys: object[] }
  } catch (error) {
    if (error instanceof Exit) throw error
    throw new Exit(exitCodes.config, `The JWKS file ${path} is not JSON`)
  }
}

function tlsFrom({ tlsCert, tlsKey }: Settings): TlsFiles | undefined {
  if (tlsCert === undefined || tlsKey === undefined) return undefined
  return { cert: readText(tlsCert), key: readText(tlsKey) }
}

/** Makes the metrics, and imports their module only if the metrics are on. */
async function metricsFor({ metrics }: Settings): Promise<Metrics | undefined> {
  if (metrics !== true) return undefined
  const { brokerMetrics } = await import('../observability/metrics.js')
  return brokerMetrics()
}

/** Reports an error of a file to the logger; to standard error if there is no logger. */
function reportFileError(logger: Logger | undefined, fields: object, message: string): void {
  if (logger === undefined) printError(message)
  else logger.error(fields, message)
}

/**
 * Opens the audit file. A new file has the mode 0600, so that only the user of this process may
 * read it. Each write appends, so another program may rotate the file: copy the file, and then
 * truncate it. Returns the audit log, and the function that writes its buffered lines.
 *
 * @throws {Exit} 78 if the file cannot be opened.
 */
async function auditFor(file: string | undefined, logger: Logger | undefined) {
  if (file === undefined) return { auditLog: undefined, flushAudit: () => {} }
  try {
    // Create the file here, because `openLogOutput` sets no mode, and throws no error.
    closeSync(openSync(file, 'a', 0o600))
  } catch (error) {
    const { message } = error as Error
    throw new Exit(exitCodes.config, `The audit file ${file} cannot be opened: ${message}`)
  }
  const { AuditLog } = await import('../observability/auditLog.js')
  let hasFailed = false
  const output = await openLogOutput({
    dest: file,
    onError: ({ message }) => {
      // Report only the first failed write, because a full disk makes every write fail.
      if (!hasFailed)
        reportFileError(logger, { file }, `The audit file ${file} cannot be written: ${message}`)
      hasFailed = true
    },
    onDropped: (lineCount) => {
      const message = `${lineCount} lines of the audit file ${file} were dropped, because the disk was too slow`
      reportFileError(logger, { file, lineCount }, message)
    },
  })
  return { auditLog: new AuditLog(output.write), flushAudit: output.flush }
}

/** Makes the logger, which writes to standard error. For the level `silent`, makes no logger. */
async function loggerFor(level: string) {
  if (level === 'silent') return { logger: undefined, flushLogger: () => {} }
  const { pino } = await import('pino')
  const standardError = 2
  const output = await openLogOutput({
    dest: standardError,
    // No other output could report the error.
    onError: () => {},
    // Only `logger` writes lines to this output, so `logger` exists before a line is dropped.
    onDropped: (lineCount) =>
      logger.warn({ lineCount }, 'Log lines were dropped, because standard error was not read'),
  })
  // `base: null` leaves the process id and the host name out of each line.
  const logger = pino({ level, base: null }, output)
  return { logger, flushLogger: output.flush }
}
