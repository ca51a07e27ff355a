/**
 * The replicated log on etcd. Each incarnation of a broker overwrites one key of its own, and all
 * watch all of these keys: the revisions of etcd are the order, and a watch delivers every
 * overwrite of it. Neither etcd's leases nor its plain reads are relied on.
 *
 *   prefix/charter                    what all brokers of the log agree on
 *   prefix/log/incarnation            the newest entry of each; the history holds the others
 *   prefix/snapshot                   names the newest snapshot
 *   prefix/chunks/position-id/index   its parts, and those of the one before
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { Environment } from '../../platform/environment.js'
import type { ClusterConfig, Engine, LogListener, StoredSnapshot } from '../replicated/engine.js'
import type { EtcdAddress } from './address.js'
import { type ClientOptions, EtcdClient } from './client.js'
import { asHoldfast, EtcdError } from './errors.js'
import { packed } from './packing.js'
import { preflight } from './preflight.js'
import { QuotaMonitor } from './quota.js'
import { Snapshots } from './snapshots.js'
import { anotherLog, WatchStream } from './watchStream.js'
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
  /** How long `open` waits for an etcd that is not there yet, in ms. Default 10,000. */
  readonly patienceMs?: number | undefined
}

const removedAtOnce = 100

export class EtcdEngine implements Engine {
  readonly #client: EtcdClient
  readonly #clock: Clock
  readonly #prefix: string
  readonly #patienceMs: number
  readonly #snapshots: Snapshots
  readonly #quota: QuotaMonitor
  readonly #followings = new Set<WatchStream>()
  #cluster = ''
  #silenceMs = 2_000
  /** When the charter was written. */
  #beginning = 0

  constructor(options: EngineOptions, { clock, newId }: Pick<Environment, 'clock' | 'newId'>) {
    this.#client = new EtcdClient(options, clock)
    this.#clock = clock
    this.#quota = new QuotaMonitor(this.#client, clock)
    this.#prefix = options.prefix
    this.#patienceMs = options.patienceMs ?? 10_000
    this.#snapshots = new Snapshots(this.#client, options.prefix, newId)
  }

  async open(charter: ClusterConfig): Promise<void> {
    // A dead member has to be noticed several times within the dead time, and a slow one is not
    // dead.
    this.#client.callMs = Math.min(1_000, Math.max(200, charter.deadMs / 5))
    this.#silenceMs = Math.max(400, charter.deadMs / 3)
    const { found, revision } = await this.#told(() => this.#arrive(charter))
    const fault = differenceOf(charter, found)
    if (fault !== undefined) throw this.#invalid(fault)
    this.#beginning = revision
    await this.#quota.check()
  }

  get warning(): string | undefined {
    return this.#quota.warning
  }

  async append(slot: string, entry: string): Promise<void> {
    const seen = Math.max(0, ...[...this.#followings].map(({ position }) => position))
    const value = packed(entry)
    const revision = await this.#told(() => this.#client.put(this.#slotKey(slot), value))
    if (revision > seen) return
    const error = anotherLog(`after revision ${seen} came ${revision}, as after a restored backup`)
    for (const following of [...this.#followings]) following.fail(error)
    throw error
  }

  follow(position: number, follower: LogListener): { stop(): void } {
    const following = new WatchStream({
      client: this.#client,
      clock: this.#clock,
      start: `${this.#prefix}/log/`,
      // What was before the charter is not ours, and may have been forgotten.
      position: Math.max(position, this.#beginning),
      follower,
      silenceMs: this.#silenceMs,
      cluster: this.#cluster,
    })
    this.#followings.add(following)
    return {
      stop: () => {
        this.#followings.delete(following)
        following.stop()
      },
    }
  }

  snapshot(): Promise<StoredSnapshot | undefined> {
    return this.#told(() => this.#snapshots.newest())
  }

  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    return this.#told(() => this.#snapshots.save(position, parts))
  }

  async compact(position: number, living: readonly string[]): Promise<void> {
    await this.#told(async () => {
      await this.#snapshots.forgetBefore(position)
      await this.#removeSlots(living)
      if (position > 0) await this.#client.compact(position)
    })
  }

  canReplayFrom(position: number): Promise<boolean> {
    const revision = String(Math.max(position, this.#beginning) + 1)
    return this.#told(async () => {
      try {
        await this.#client.range({ key: toBase64(`${this.#prefix}/charter`), revision })
        return true
      } catch (error) {
        if (!(error instanceof EtcdError && error.kind === 'compacted')) throw error
        // The same code is for what has not been yet.
        return !error.message.includes('compacted')
      }
    })
  }

  async close(): Promise<void> {
    for (const following of this.#followings) following.stop()
    this.#followings.clear()
    this.#quota.stop()
    await this.#client.close()
  }

  /** Members that have just lost their leader may not know it yet: then once more. */
  async #arrive(charter: ClusterConfig): Promise<{ found: ClusterConfig; revision: number }> {
    const until = this.#clock.monotonic() + this.#patienceMs
    for (;;) {
      this.#cluster = await preflight(this.#client, this.#clock, until)
      try {
        return await this.#settle(charter)
      } catch (error) {
        const isPassing = error instanceof EtcdError && error.isOfOneMember
        if (!isPassing || this.#clock.monotonic() > until) throw error
      }
    }
  }

  /** Writes the charter where nothing is. Resolves with the one that is there, and since when. */
  async #settle(charter: ClusterConfig): Promise<{ found: ClusterConfig; revision: number }> {
    const key = `${this.#prefix}/charter`
    const all = `${this.#prefix}/`
    const { succeeded, header, responses } = await this.#client.txn({
      compare: [isEmpty(all)],
      success: [put(key, JSON.stringify(charter))],
      failure: [read(key), { request_range: { ...allUnder(all), limit: '1', keys_only: true } }],
    })
    if (succeeded) return { found: charter, revision: numberFrom(header.revision) }
    const [own, any] = foundIn(responses)
    const found = charterFrom(own?.value)
    if (found === undefined) return this.#notOurs(textFrom((own ?? any)?.key))
    return { found, revision: numberFrom(own?.create_revision) }
  }

  #notOurs(key: string): never {
    throw this.#invalid(`has keys that are not those of a log (${JSON.stringify(key)})`)
  }

  #slotKey(slot: string): string {
    return `${this.#prefix}/log/${slot}`
  }

  async #removeSlots(living: readonly string[]): Promise<void> {
    const kept = new Set(living.map((slot) => this.#slotKey(slot)))
    const { kvs = [] } = await this.#client.range({
      ...allUnder(`${this.#prefix}/log/`),
      keys_only: true,
    })
    const gone = kvs.map(({ key }) => textFrom(key)).filter((key) => !kept.has(key))
    for (let i = 0; i < gone.length; i += removedAtOnce) {
      const success: Operation[] = gone.slice(i, i + removedAtOnce).map(remove)
      await this.#client.txn({ compare: [], success })
    }
  }

  #invalid(fault: string): HoldfastError {
    return new HoldfastError('INVALID_OPTION', `The prefix ${this.#prefix} on etcd ${fault}.`)
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      throw asHoldfast(error)
    }
  }
}

function foundIn(responses: TxnAnswer['responses'] = []) {
  return responses.map(({ response_range }) => response_range?.kvs?.[0])
}

function charterFrom(value: string | undefined): ClusterConfig | undefined {
  try {
    const { format, deadMs, cluster } = JSON.parse(textFrom(value)) as Partial<ClusterConfig>
    if (typeof format === 'number' && typeof deadMs === 'number' && typeof cluster === 'string') {
      return { format, deadMs, cluster }
    }
  } catch {
    // Not a charter.
  }
  return undefined
}

/** What of the log is not as this broker wants it. */
function differenceOf(wanted: ClusterConfig, found: ClusterConfig): string | undefined {
  if (found.format !== wanted.format) {
    return `has a log of format ${found.format}, and this version of Holdfast knows ${wanted.format}`
  }
  if (found.cluster !== wanted.cluster) {
    return `belongs to the cluster ${JSON.stringify(found.cluster)}, not ${JSON.stringify(wanted.cluster)}`
  }
  if (found.deadMs !== wanted.deadMs) {
    return `has a log with a dead time of ${found.deadMs} ms, and this broker has ${wanted.deadMs} ms`
  }
  return undefined
}
