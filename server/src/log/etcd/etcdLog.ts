/**
 * A log that several brokers share, kept by etcd: as other programs embed it.
 */
import { type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { nodeEnvironment } from '../../platform/environment.js'
import type { Log } from '../log.js'
import { ReplicatedLog } from '../replicated/replicatedLog.js'
import { checkAddress } from './address.js'
import type { EtcdAuth } from './client.js'
import { type EngineOptions, EtcdEngine } from './etcdEngine.js'
import type { EtcdTls } from './transport.js'

export interface EtcdLogOptions {
  /**
   * Members of one etcd cluster, 1 to 16, such as `http://10.0.0.1:2379`; all of them, so that any
   * may fail. All with `https://`, or none. The first that answers is used, so the nearest comes
   * first.
   */
  readonly endpoints: readonly string[]
  /**
   * All keys of the log begin with this and a slash; all brokers of a cluster have the same. 1 to
   * 200 letters, digits and `. _ ~ -`, in parts divided by slashes. An etcd is for one log: what
   * forgets the past of one forgets everybody's.
   */
  readonly prefix: string
  /** Certificates as PEM, for `https://`. Default: whoever Node trusts, and none of our own. */
  readonly tls?: EtcdTls | undefined
  /** A user of etcd who may read and write all keys with the prefix. Default: none. */
  readonly auth?: EtcdAuth | undefined
  /**
   * Silence after which the other brokers take one for dead, in ms; all brokers of a cluster have
   * the same. 1,000 to 60,000, default 6,000.
   */
  readonly deadMs?: number | undefined
  /**
   * A name for the cluster; all its brokers have the same. It only keeps two clusters apart that
   * were given the same prefix by mistake. Default ''.
   */
  readonly cluster?: string | undefined
  /** Entries after which a snapshot is made. Default 20,000. */
  readonly snapshotEntries?: number | undefined
  /** Characters of entries after which a snapshot is made. Default 67,108,864. */
  readonly snapshotCharacters?: number | undefined
}

const known: OptionNames<EtcdLogOptions> = {
  endpoints: 1,
  prefix: 1,
  tls: 1,
  auth: 1,
  deadMs: 1,
  cluster: 1,
  snapshotEntries: 1,
  snapshotCharacters: 1,
}

/**
 * Makes the log for `createBroker({ log })`, for one broker. Whether etcd can be used shows when
 * the broker starts: `listen` then rejects with `UNAVAILABLE`, or with `INVALID_OPTION` if waiting
 * would not help.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an option that cannot be, or that does not exist.
 */
export function etcdLog(options: EtcdLogOptions): Log {
  refuseUnknownOptions('etcdLog', options ?? null, known)
  refuseUnknownOptions('tls of etcdLog', options.tls, { ca: 1, cert: 1, key: 1 })
  refuseUnknownOptions('auth of etcdLog', options.auth, { user: 1, password: 1 })
  const { tls, auth, ...settings } = options
  const engine: EngineOptions = { ...checkAddress(options), tls, auth }
  const thread = new URL('./snapshotThread.js', import.meta.url)
  const source = {
    create: () => new EtcdEngine(engine, nodeEnvironment),
    elsewhere: { thread, options: engine },
  }
  return new ReplicatedLog(source, settings, nodeEnvironment)
}
