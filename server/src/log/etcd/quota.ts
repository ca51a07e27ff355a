/**
 * Watches the storage quota of etcd. When the quota is used up, etcd accepts no writes. etcd gives
 * no warning before the quota is used up, so this monitor warns the operator.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { EtcdClient } from './client.js'
import { EtcdError } from './errors.js'

/** Time between two checks, in ms. */
const checkIntervalMs = 60_000
/**
 * If data fills less than this share of the database file, the file has enough gaps for a
 * defragmentation to help.
 */
const defragmentBelowShare = 0.8
/** The monitor warns when at least this share of the quota is used. */
const warningShare = 0.8

/**
 * Adds advice to an error about a full etcd: to defragment, or to raise the quota. Compaction alone
 * does not shrink the database file. A defragmentation helps only if the file has gaps.
 */
export async function withAdvice(client: EtcdClient, error: EtcdError): Promise<EtcdError> {
  const { kind, endpoint, message } = error
  if (kind !== 'noSpace') return error
  // Drop the beginning of the message, because `EtcdError` adds the same beginning again.
  const problem = message.slice(message.indexOf('has used up'))
  return new EtcdError(kind, endpoint, `${problem}: ${await adviceFor(client, endpoint)}`)
}

/** What the operator must do: defragment the database, or raise the quota. */
async function adviceFor(client: EtcdClient, endpoint: string): Promise<string> {
  const disarm = 'then run "etcdctl alarm disarm"'
  const raiseQuota = `restart each member with a larger --quota-backend-bytes, ${disarm}`
  const defragment = `run "etcdctl defrag" for each member, ${disarm}`
  try {
    // `used` is the size of the database file, and `inUse` is the part that holds data.
    const { used: fileBytes, inUse: dataBytes } = await client.metricsAt(endpoint)
    return dataBytes < defragmentBelowShare * fileBytes ? defragment : raiseQuota
  } catch {
    return `${defragment}; if etcd is full again, raise --quota-backend-bytes`
  }
}

/** Checks the quota of the member in use once a minute. */
export class QuotaMonitor {
  readonly #client: EtcdClient
  readonly #clock: Clock
  #timer: Timer
  #isStopped = false
  #warning: string | undefined

  constructor(client: EtcdClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** A warning for the operator; undefined if there is enough space. */
  get warning(): string | undefined {
    return this.#warning
  }

  /** Reads the used share of the quota, now and once a minute. */
  async check(): Promise<void> {
    try {
      const { endpoint, used, quota } = await this.#client.metricsAt(this.#client.endpoint)
      const usedShare = quota > 0 ? used / quota : 0
      this.#warning =
        usedShare < warningShare
          ? undefined
          : `etcd at ${endpoint} has used ${Math.round(100 * usedShare)} % of its quota`
    } catch {
      // Ignore the error. If the member does not answer, other calls report the failure. If the
      // member does not show its metrics, the monitor cannot warn.
    }
    if (!this.#isStopped)
      this.#timer = this.#clock.setTimer(() => void this.check(), checkIntervalMs)
  }

  stop(): void {
    this.#isStopped = true
    this.#clock.clearTimer(this.#timer)
  }
}
