/**
 * The public function that creates a shared log (a command log of several brokers) in PostgreSQL.
 */
import { HoldfastError, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { invalidOption } from '../../config/settings.js'
import { nodeEnvironment } from '../../platform/environment.js'
import { passwordOf, TlsSource, tlsOptionNames } from '../credentials.js'
import type { Log } from '../log.js'
import type { EngineSource } from '../replicated/engine.js'
import { ReplicatedLog } from '../replicated/replicatedLog.js'
import { parsePostgresAddress } from './address.js'
import type { PostgresTls } from './connection.js'
import { PostgresEngine, type PostgresEngineOptions } from './postgresEngine.js'

export interface PostgresLogOptions {
  /**
   * The database, such as `postgres://holdfast@db.example/app?schema=holdfast`. Also list the
   * standbys that may replace the primary: `postgres://holdfast@db1,db2/app`. The parameter
   * `schema` is the schema of the tables (default `holdfast`), and the parameter `host` is the
   * folder of a Unix socket. The parameter `sslmode` is `disable`, `require`, `verify-ca` or
   * `verify-full`. Its default is `disable` if all hosts are this machine, and `verify-full` if
   * not. All brokers of a cluster must have the same database and schema.
   */
  readonly url: string
  /** The user, if the URL has none. */
  readonly user?: string | undefined
  /** The password of the user. Default: none. */
  readonly password?: string | undefined
  /**
   * A file with the password, which the broker reads for each new connection. A line break at the
   * end of the file is ignored.
   */
  readonly passwordFile?: string | undefined
  /**
   * Certificates as PEM or as files. Default: the certificate authorities that Node trusts, and no
   * client certificate.
   */
  readonly tls?: PostgresTls | undefined
  /**
   * Silence after which the other brokers declare a broker dead, in ms; equal for all brokers of a
   * cluster. 1,000 to 60,000, default 6,000.
   */
  readonly deadMs?: number | undefined
  /**
   * A name for the cluster of brokers, equal for all these brokers. If two clusters have the same
   * schema by mistake, the name lets the second cluster detect the mistake. Default ''.
   */
  readonly cluster?: string | undefined
  /**
   * How many brokers the log is for, 1 to 100. With a new log, every broker refuses clients until
   * a majority of these brokers has joined. A broker with a mistyped schema makes a new log, which
   * no majority ever joins, so this broker grants nothing. Default: a broker with a new log accepts
   * clients immediately.
   */
  readonly brokers?: number | undefined
  /**
   * The name of this broker, which the status, metrics and log lines show: 1 to 32 letters, digits
   * and `. _ -`. Each broker of a log must have a different name. Default: a random id.
   */
  readonly name?: string | undefined
  /** The longest time between two snapshots, in ms. 10,000 to 86,400,000, default 600,000. */
  readonly snapshotMs?: number | undefined
  /** The number of entries after which a snapshot is made. Default 20,000. */
  readonly snapshotEntries?: number | undefined
  /** The total length of the entries after which a snapshot is made. Default 67,108,864. */
  readonly snapshotCharacters?: number | undefined
}

const knownOptions: OptionNames<PostgresLogOptions> = {
  url: 1,
  user: 1,
  password: 1,
  passwordFile: 1,
  tls: 1,
  deadMs: 1,
  cluster: 1,
  brokers: 1,
  name: 1,
  snapshotMs: 1,
  snapshotEntries: 1,
  snapshotCharacters: 1,
}

/**
 * Creates the value of the option `log` of `createBroker`. Each broker of a cluster needs its own
 * call. The broker connects to PostgreSQL when the broker starts: `listen` rejects with
 * `UNAVAILABLE` if PostgreSQL cannot be used now, or with `INVALID_OPTION` if a setting is wrong.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid or unknown option.
 */
export function postgresLog(options: PostgresLogOptions): Log {
  // `options` is required, but `refuseUnknownOptions` accepts undefined. So pass null instead.
  refuseUnknownOptions('postgresLog', options ?? null, knownOptions)
  refuseUnknownOptions('tls of postgresLog', options.tls, tlsOptionNames)
  const { url, user, password, passwordFile, tls, ...settings } = options
  for (const [name, value] of Object.entries({ user, password, passwordFile })) {
    if (value !== undefined && typeof value !== 'string')
      throw new HoldfastError('INVALID_OPTION', `${name} must be text, not ${typeof value}`)
  }
  checkCredentials(options)
  const engineOptions: PostgresEngineOptions = {
    ...parsePostgresAddress(url, user),
    password,
    passwordFile,
    tls,
    // The engine marks a new log as founding until enough brokers have joined.
    marksFounding: options.brokers !== undefined,
  }
  const thread = new URL('./snapshotThread.js', import.meta.url)
  const source: EngineSource = {
    create: () => new PostgresEngine(engineOptions, nodeEnvironment),
    snapshotWorker: { thread, options: engineOptions },
  }
  return new ReplicatedLog(source, settings, nodeEnvironment)
}

/** Reads the files once, so that `postgresLog` throws for a wrong path or a damaged certificate. */
function checkCredentials(options: PostgresLogOptions): void {
  try {
    new TlsSource(nodeEnvironment.clock, options.tls)
    passwordOf(options)
  } catch (cause) {
    const { message } = cause as Error
    throw invalidOption(
      `The certificates or the password for PostgreSQL cannot be used: ${message}`,
    )
  }
}
