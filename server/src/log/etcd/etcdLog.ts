/** The public function that creates a shared log (a command log of several brokers) on etcd. */
import { type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { invalidOption } from '../../config/settings.js'
import { nodeEnvironment } from '../../platform/environment.js'
import { passwordOf, TlsSource, tlsOptionNames } from '../credentials.js'
import type { Log } from '../log.js'
import type { EngineSource } from '../replicated/engine.js'
import { ReplicatedLog } from '../replicated/replicatedLog.js'
import { checkAddress } from './address.js'
import type { EtcdAuth, EtcdTls } from './client.js'
import { type EngineOptions, EtcdEngine } from './etcdEngine.js'

export interface EtcdLogOptions {
  /**
   * The members of one etcd cluster, 1 to 16, such as `http://10.0.0.1:2379`. List all members, so
   * that any member may fail. List the nearest member first, because the broker uses the first
   * member that answers. All addresses or none must have `https://`.
   */
  readonly endpoints: readonly string[]
  /**
   * All keys of the log begin with this prefix and a slash. The prefix must be equal for all
   * brokers of a cluster. It has 1 to 200 letters, digits and `. _ ~ -`, in parts separated by
   * slashes. If another program or another log uses the same etcd, set `sharedEtcd`.
   */
  readonly prefix: string
  /**
   * Certificates as PEM or as files, for `https://`. Default: the certificate authorities that Node
   * trusts, and no client certificate.
   */
  readonly tls?: EtcdTls | undefined
  /** A user of etcd that may read and write all keys with the prefix. Default: none. */
  readonly auth?: EtcdAuth | undefined
  /**
   * Silence after which the other brokers declare a broker dead, in ms; equal for all brokers of a
   * cluster. 1,000 to 60,000, default 6,000.
   */
  readonly deadMs?: number | undefined
  /**
   * A name for the cluster of brokers, equal for all these brokers. If two clusters have the same
   * prefix by mistake, the name lets the second cluster detect the mistake. Default ''.
   */
  readonly cluster?: string | undefined
  /**
   * Whether other programs or other logs use this etcd. If so, the brokers do not compact, because
   * a compaction drops the history of all keys. etcd must then compact by itself, and must retain
   * entries for at least twice `snapshotMs`. Default false.
   */
  readonly sharedEtcd?: boolean | undefined
  /**
   * How many brokers the log is for, 1 to 100. With a new log, brokers refuse clients until a
   * majority of these brokers has joined. A restart of a broker does not change this rule. A broker
   * with a mistyped prefix makes a new log, which no majority ever joins, so this broker grants
   * nothing.
   * Default: a broker with a new log accepts clients immediately.
   */
  readonly brokers?: number | undefined
  /**
   * The name of this broker, which the status, metrics and log lines show: 1 to 32 letters, digits
   * and `. _ -`. Each broker of a log must have a different name. Default: a random id.
   */
  readonly name?: string | undefined
  /** Entries after which a snapshot is made. Default 20,000. */
  readonly snapshotEntries?: number | undefined
  /** Characters of entries after which a snapshot is made. Default 67,108,864. */
  readonly snapshotCharacters?: number | undefined
  /** The longest time between two snapshots, in ms. 10,000 to 86,400,000, default 600,000. */
  readonly snapshotMs?: number | undefined
}

const knownOptions: OptionNames<EtcdLogOptions> = {
  endpoints: 1,
  prefix: 1,
  tls: 1,
  auth: 1,
  deadMs: 1,
  cluster: 1,
  snapshotEntries: 1,
  snapshotCharacters: 1,
  snapshotMs: 1,
  sharedEtcd: 1,
  brokers: 1,
  name: 1,
}

/**
 * Creates the option `log` of `createBroker`. Each broker of a cluster needs its own call. The
 * broker connects to etcd when the broker starts: `listen` rejects with `UNAVAILABLE` if etcd
 * cannot be used now, or with `INVALID_OPTION` if a setting is wrong.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid or unknown option.
 */
export function etcdLog(options: EtcdLogOptions): Log {
  // Pass null for missing options, because `refuseUnknownOptions` accepts undefined.
  refuseUnknownOptions('etcdLog', options ?? null, knownOptions)
  refuseUnknownOptions('tls of etcdLog', options.tls, tlsOptionNames)
  refuseUnknownOptions('auth of etcdLog', options.auth, { user: 1, password: 1, passwordFile: 1 })
  checkCredentials(options)
  const { tls, auth, sharedEtcd, ...settings } = options
  const engineOptions: EngineOptions = {
    ...checkAddress(options),
    tls,
    auth,
    isShared: sharedEtcd === true,
    // With `brokers`, a new log is founding until a majority of these brokers has joined.
    marksFounding: options.brokers !== undefined,
  }
  const thread = new URL('./snapshotThread.js', import.meta.url)
  const source: EngineSource = {
    create: () => new EtcdEngine(engineOptions, nodeEnvironment),
    snapshotWorker: { thread, options: engineOptions },
  }
  return new ReplicatedLog(source, settings, nodeEnvironment)
}

/** Reads the files once, so that `etcdLog` throws for a wrong path or a damaged certificate. */
function checkCredentials({ tls, auth }: EtcdLogOptions): void {
  try {
    new TlsSource(nodeEnvironment.clock, tls)
    if (auth !== undefined) passwordOf(auth)
  } catch (cause) {
    const { message } = cause as Error
    throw invalidOption(`The certificates or the password for etcd cannot be used: ${message}`)
  }
}
