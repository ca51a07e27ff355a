/**
 * The engine (the storage) of a replicated log on etcd. A replicated log is a command log that
 * several brokers share. Each time a broker joins the other brokers of the log, the broker begins a
 * new incarnation, which has its own name. Each incarnation writes its entries (batches of
 * commands) to a key of its own, its slot. Every broker watches all slots. A watch delivers every
 * entry, even if a later entry has overwritten it. The revision numbers of etcd are the order of
 * the entries. The engine does not use the leases of etcd, because etcd has revoked leases wrongly.
 * Where a value must be up to date, the engine reads in a transaction, because members
 * answered plain reads with old values after a pause.
 *
 *   <prefix>/config                       the configuration of the log
 *   <prefix>/founding                     exists until enough brokers have joined a new log
 *   <prefix>/log/<incarnation>            the newest entry; etcd keeps older entries as history
 *   <prefix>/snapshot                     the pointer to the newest snapshot
 *   <prefix>/chunks/<position>-<id>/<i>   the chunks of the newest and of the previous snapshot
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { Environment } from '../../platform/environment.js'
import { configMismatch } from '../replicated/clusterConfig.js'
import type { ClusterConfig, Engine, LogListener, StoredSnapshot } from '../replicated/engine.js'
import { encodeValue } from '../replicated/packing.js'
import type { EtcdAddress } from './address.js'
import { type ClientOptions, EtcdClient } from './client.js'
import { EtcdError, toHoldfastError } from './errors.js'
import { findLogAbove, findOtherLogs, parseConfig } from './otherLogs.js'
import { preflight } from './preflight.js'
import { QuotaMonitor, withAdvice } from './quota.js'
import { SnapshotStore } from './snapshotStore.js'
import { UnfitMembers } from './unfitMembers.js'
import { logReplaced, WatchStream } from './watchStream.js'
import {
  allUnder,
  isEmpty,
  numberFrom,
  type Operation,
  put,
  read,
  remove,
  type TxnAnswer,
  textFrom,
  toBase64,
} from './wire.js'

export interface EngineOptions extends ClientOptions, EtcdAddress {
  /** How long `open` waits until etcd is reachable, in ms. Default 10,000. */
  readonly openTimeoutMs?: number | undefined
  /** Whether other programs use this etcd, so that the engine must not compact. Default false. */
  readonly isShared?: boolean | undefined
  /**
   * Whether `open` marks a new log as founding, because too few brokers have joined. The caller
   * removes the mark with `endFounding`. Default false.
   */
  readonly marksFounding?: boolean | undefined
}

/** How many keys one transaction removes at most. */
const removeBatchSize = 100

export class EtcdEngine implements Engine {
  readonly #client: EtcdClient
  readonly #clock: Clock
  readonly #prefix: string
  readonly #openTimeoutMs: number
  readonly #isShared: boolean
  readonly #marksFounding: boolean
  /** Whether the log is new, and too few brokers have joined it. */
  #isFounding = false
  readonly #snapshots: SnapshotStore
  readonly #quota: QuotaMonitor
  /** The listed members of etcd that this broker cannot use. */
  readonly #unfitMembers: UnfitMembers
  readonly #watchStreams = new Set<WatchStream>()
  /** The id of the etcd cluster. */
  #clusterId = ''
  /** A watch is opened again after this silence, in ms. `open` derives the value from `deadMs`. */
  #silenceMs = 2_000
  /** The revision at which the configuration was written. */
  #configRevision = 0

  constructor(options: EngineOptions, { clock, newId }: Pick<Environment, 'clock' | 'newId'>) {
    this.#client = new EtcdClient(options, clock)
    this.#clock = clock
    this.#quota = new QuotaMonitor(this.#client, clock)
    this.#prefix = options.prefix
    this.#unfitMembers = new UnfitMembers(this.#client, clock, this.#configKey)
    this.#openTimeoutMs = options.openTimeoutMs ?? 10_000
    this.#isShared = options.isShared ?? false
    this.#marksFounding = options.marksFounding ?? false
    this.#snapshots = new SnapshotStore(this.#client, options.prefix, newId)
  }

  async open(config: ClusterConfig): Promise<void> {
    // `callMs` is the deadline of one attempt, with time for a slow member of etcd. Several
    // attempts must fit into `deadMs`, because after this silence the other brokers declare this
    // broker dead.
    this.#client.callMs = Math.min(1_000, Math.max(200, config.deadMs / 5))
    // Each broker writes at least one entry in a sixth of `deadMs`, so a working watch is not
    // silent for a third of `deadMs`. The minimum is 400 ms, because a working watch may be slow.
    this.#silenceMs = Math.max(400, config.deadMs / 3)
    const { storedConfig, revision } = await this.#convertErrors(() => this.#checkAndOpen(config))
    const mismatch = configMismatch(config, storedConfig, 'prefix')
    if (mismatch !== undefined) throw this.#prefixError(mismatch)
    this.#configRevision = revision
    await this.#quota.check()
  }

  get isFounding(): boolean {
    return this.#isFounding
  }

  async endFounding(): Promise<void> {
    await this.#convertErrors(() =>
      this.#client.txn({ compare: [], success: [remove(this.#foundingKey)] }),
    )
    this.#isFounding = false
  }

  findOtherLogs(): Promise<readonly string[]> {
    return this.#convertErrors(() => findOtherLogs(this.#client, this.#prefix))
  }

  get warning(): string | undefined {
    return this.#quota.warning ?? this.#unfitMembers.warning
  }

  async append(slot: string, entry: string): Promise<void> {
    const newestSeenRevision = Math.max(
      0,
      ...[...this.#watchStreams].map(({ position }) => position),
    )
    const value = encodeValue(entry)
    const revision = await this.#convertErrors(() => this.#client.put(this.#slotKey(slot), value))
    // A new revision is higher than all earlier revisions, unless etcd has lost revisions.
    if (revision > newestSeenRevision) return
    const error = logReplaced(
      `revision ${revision} followed ${newestSeenRevision}, as after the restore of a backup`,
    )
    for (const watchStream of [...this.#watchStreams]) watchStream.fail(error)
    throw error
  }

  follow(position: number, listener: LogListener): { stop(): void } {
    const watchStream = new WatchStream({
      client: this.#client,
      clock: this.#clock,
      keyPrefix: `${this.#prefix}/log/`,
      // Entries older than the configuration are of a removed log, and may be compacted already.
      position: Math.max(position, this.#configRevision),
      listener,
      silenceMs: this.#silenceMs,
      clusterId: this.#clusterId,
    })
    this.#watchStreams.add(watchStream)
    return {
      stop: () => {
        this.#watchStreams.delete(watchStream)
        watchStream.stop()
      },
    }
  }

  snapshot(): Promise<StoredSnapshot | undefined> {
    return this.#convertErrors(() => this.#snapshots.newest())
  }

  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    return this.#convertErrors(() => this.#snapshots.save(position, parts))
  }

  async compact(position: number, liveSlots: readonly string[]): Promise<void> {
    await this.#convertErrors(async () => {
      await this.#snapshots.removeBefore(position)
      await this.#removeDeadSlots(liveSlots)
      if (position > 0 && !this.#isShared) await this.#compactHistory(position)
    })
  }

  /**
   * Drops the overwritten entries. etcd may forbid the compaction to this broker's user. Ignores
   * this error if the first entries of the log are missing, because etcd then compacts by itself.
   */
  async #compactHistory(position: number): Promise<void> {
    try {
      await this.#client.compact(position)
    } catch (error) {
      const isRefused = error instanceof EtcdError && error.kind === 'forbidden'
      if (!isRefused || (await this.canReplayFrom(0))) throw error
    }
  }

  canReplayFrom(position: number): Promise<boolean> {
    // The first revision that must still exist. etcd refuses a read at a compacted revision,
    // whatever the key.
    const revision = String(Math.max(position, this.#configRevision) + 1)
    return this.#convertErrors(async () => {
      try {
        await this.#client.range({ key: toBase64(this.#configKey), revision })
        return true
      } catch (error) {
        if (!(error instanceof EtcdError && error.kind === 'compacted')) throw error
        // etcd also gives this error code for a future revision, so check the message.
        return !error.message.includes('compacted')
      }
    })
  }

  async close(): Promise<void> {
    for (const watchStream of this.#watchStreams) watchStream.stop()
    this.#watchStreams.clear()
    this.#quota.stop()
    this.#unfitMembers.stop()
    await this.#client.close()
  }

  /**
   * Checks the members of etcd, and then reads or writes the configuration. Repeats both steps if
   * the second step fails at all members for now. For example, a member has lost its leader, but
   * did not know this yet during the check.
   */
  async #checkAndOpen(
    config: ClusterConfig,
  ): Promise<{ storedConfig: ClusterConfig; revision: number }> {
    const until = this.#clock.monotonic() + this.#openTimeoutMs
    for (;;) {
      const { clusterId, unfit } = await preflight(
        this.#client,
        this.#clock,
        this.#configKey,
        until,
      )
      this.#clusterId = clusterId
      this.#unfitMembers.replace(unfit, clusterId)
      try {
        return await this.#readOrWriteConfig(config)
      } catch (error) {
        const mayWorkElsewhere = error instanceof EtcdError && error.mayWorkElsewhere
        if (!mayWorkElsewhere || this.#clock.monotonic() > until) throw error
      }
    }
  }

  /**
   * Writes the configuration if the prefix has no keys. Resolves with the configuration that etcd
   * has now, and with the revision at which this configuration was written.
   */
  async #readOrWriteConfig(
    config: ClusterConfig,
  ): Promise<{ storedConfig: ClusterConfig; revision: number }> {
    const key = this.#configKey
    const keyPrefix = `${this.#prefix}/`
    const upperPrefix = await findLogAbove(this.#client, this.#prefix)
    if (upperPrefix !== undefined) {
      const problem = `lies below the prefix ${upperPrefix} of another log: choose a prefix beside it`
      throw this.#prefixError(problem)
    }
    const { succeeded, header, responses } = await this.#client.txn({
      compare: [isEmpty(keyPrefix)],
      success: [
        put(key, JSON.stringify(config)),
        ...(this.#marksFounding ? [put(this.#foundingKey, '')] : []),
      ],
      failure: [
        read(key),
        read(this.#foundingKey),
        { request_range: { ...allUnder(keyPrefix), limit: '1', keys_only: true } },
      ],
    })
    this.#isFounding = succeeded === true && this.#marksFounding
    if (succeeded) return { storedConfig: config, revision: numberFrom(header.revision) }
    const [configPair, foundingPair, anyPair] = firstPairs(responses)
    this.#isFounding = foundingPair !== undefined
    const storedConfig = parseConfig(configPair?.value)
    if (storedConfig === undefined)
      throw await this.#foreignKeyError(textFrom((configPair ?? anyPair)?.key))
    return { storedConfig, revision: numberFrom(configPair?.create_revision) }
  }

  /** The error if the prefix has keys, such as this key, but no configuration of a log. */
  async #foreignKeyError(key: string): Promise<HoldfastError> {
    const otherLogs = await findOtherLogs(this.#client, this.#prefix)
    const lowerPrefix = otherLogs.find((prefix) => prefix.startsWith(`${this.#prefix}/`))
    if (lowerPrefix !== undefined) {
      const problem = `lies above the prefix ${lowerPrefix} of another log: choose a prefix beside it`
      return this.#prefixError(problem)
    }
    return this.#prefixError(
      `has keys of another program (${JSON.stringify(key)}): choose an unused prefix`,
    )
  }

  get #configKey(): string {
    return `${this.#prefix}/config`
  }

  get #foundingKey(): string {
    return `${this.#prefix}/founding`
  }

  #slotKey(slot: string): string {
    return `${this.#prefix}/log/${slot}`
  }

  /** Removes the slots of incarnations that have ended. */
  async #removeDeadSlots(liveSlots: readonly string[]): Promise<void> {
    const liveKeys = new Set(liveSlots.map((slot) => this.#slotKey(slot)))
    const { kvs = [] } = await this.#client.range({
      ...allUnder(`${this.#prefix}/log/`),
      keys_only: true,
    })
    const deadKeys = kvs.map(({ key }) => textFrom(key)).filter((key) => !liveKeys.has(key))
    for (let i = 0; i < deadKeys.length; i += removeBatchSize) {
      const success: Operation[] = deadKeys.slice(i, i + removeBatchSize).map(remove)
      await this.#client.txn({ compare: [], success })
    }
  }

  #prefixError(problem: string): HoldfastError {
    return new HoldfastError('INVALID_OPTION', `The prefix ${this.#prefix} on etcd ${problem}`)
  }

  /** Runs work, and converts an error of etcd into a HoldfastError with advice for the operator. */
  async #convertErrors<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      throw toHoldfastError(await withAdvice(this.#client, error))
    }
  }
}

/** The first key of each response, with its value; undefined for a response without keys. */
function firstPairs(responses: TxnAnswer['responses'] = []) {
  return responses.map(({ response_range }) => response_range?.kvs?.[0])
}
