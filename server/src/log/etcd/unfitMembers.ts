/**
 * Remembers the members of etcd that the broker could not use when it opened the log, and tries
 * these members again once a minute. While a member cannot be used, the operator sees a warning.
 *
 * The log never uses a member of another etcd cluster, because a write to that cluster could change
 * another log; the checks only read. The log may call an unfit member of the right cluster. Such a
 * call fails, and `EtcdClient` goes on to the next member.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { EtcdClient } from './client.js'
import { EtcdError } from './errors.js'
import { foreignMember, probe } from './preflight.js'

/** Time between two checks of the unfit members, in ms. */
const checkIntervalMs = 60_000

/** The members of etcd that one log cannot use. */
export class UnfitMembers {
  readonly #client: EtcdClient
  readonly #clock: Clock
  readonly #key: string
  /** The endpoints of all members, as the operator has listed them. */
  readonly #endpoints: readonly string[]
  #clusterId = ''
  /** An error for each member that cannot be used. */
  #unfit: readonly EtcdError[] = []
  #timer: Timer
  #isOver = false

  /** @param key A key that the broker may read, for the probes of the members. */
  constructor(client: EtcdClient, clock: Clock, key: string) {
    this.#client = client
    this.#clock = clock
    this.#key = key
    this.#endpoints = client.endpoints
  }

  /** A warning about the first unfit member; undefined if all members can be used. */
  get warning(): string | undefined {
    return this.#unfit[0]?.message
  }

  /**
   * Replaces the list of unfit members, and checks these members a minute later. From now on, the
   * log uses only members that are not foreign. `clusterId` is the id of the right cluster.
   */
  replace(unfit: readonly EtcdError[], clusterId: string): void {
    this.#unfit = unfit
    this.#clusterId = clusterId
    const foreign = unfit.filter(({ kind }) => kind === 'foreign')
    this.#client.useOnly(
      this.#endpoints.filter((listed) => !foreign.some(({ endpoint }) => endpoint === listed)),
    )
    this.#clock.clearTimer(this.#timer)
    if (unfit.length === 0 || this.#isOver) return
    this.#timer = this.#clock.setTimer(() => void this.#check(), checkIntervalMs)
  }

  stop(): void {
    this.#isOver = true
    this.#clock.clearTimer(this.#timer)
  }

  /** Tries the unfit members again. Members that still cannot be used stay in the list. */
  async #check(): Promise<void> {
    const probes = await Promise.all(
      this.#unfit.map(({ endpoint }) => probe(this.#client, endpoint, this.#key)),
    )
    const stillUnfit = probes.flatMap((result, i) => {
      const formerError = this.#unfit[i]!
      if (result instanceof EtcdError) {
        // Keep the former error if the new error is temporary. A foreign member stays foreign until
        // it answers as a member of the right cluster.
        const keepsFormer = formerError.kind === 'foreign' || !result.isPermanent
        return [keepsFormer ? formerError : result]
      }
      return result.clusterId === this.#clusterId ? [] : [foreignMember(result.endpoint)]
    })
    if (!this.#isOver) this.replace(stillUnfit, this.#clusterId)
  }
}
