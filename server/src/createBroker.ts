/**
 * A broker as other programs embed it: on a port of its own, on somebody else's HTTP server, or
 * both, and as many in one process as one likes.
 */
import type { IncomingMessage, Server } from 'node:http'
import {
  defaultPort,
  type HeldInfo,
  HoldfastError,
  isKey,
  isPrefix,
  type LockStats,
  maxMs,
  maxQueryItems,
  refuseUnknownOptions,
  type WaitingInfo,
} from '@holdfast/shared'
import { EventEmitter } from 'eventemitter3'
import { Broker } from './broker/broker.js'
import { toHeldInfo, toWaitingInfo } from './broker/queries.js'
import { type BrokerSettings, invalid } from './config/settings.js'
import { AdminEndpoints } from './http/adminEndpoints.js'
import { ByteCounters } from './http/byteCounters.js'
import { Dashboard } from './http/dashboardFiles.js'
import { drain } from './http/drain.js'
import {
  checkListenOptions,
  checkServer,
  createHttpServer,
  type Listening,
  type ListenOptions,
  listen,
  stopListening,
  terminateAll,
} from './http/httpServer.js'
import { type BrokerStatus, gaugesOf, statusOf } from './http/status.js'
import { Tarpit } from './http/tarpit.js'
import { type CountedRefusal, UpgradePolicy } from './http/upgradePolicy.js'
import { acceptUpgrades } from './http/webSocketServer.js'
import { clockFences, fileFences, ownFenceFile } from './log/fences.js'
import type { Log } from './log/log.js'
import { MemoryLog } from './log/memory.js'
import { BrokerLogger } from './observability/brokerLogger.js'
import type { LogStatus } from './observability/logStatus.js'
import { type BrokerGauges, type Observer, observersTogether } from './observability/observer.js'
import { type BrokerOptions, settingsFrom } from './options.js'
import { nodeEnvironment } from './platform/environment.js'
import type { OwnershipHandle } from './platform/ownership.js'

/** What `query` looks for: one key, or all keys with a prefix, or everything. */
export interface Query {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /** Most locks and most requests to return, 1 to 1,000. Default 1,000. */
  readonly limit?: number | undefined
  /**
   * Asks for one page, in the order of keys (as JavaScript compares strings): the first keys after
   * this one, each with all its locks and its whole queue; `''` for the first page. A key that
   * alone has more than `limit` of either is cut, and alone on its page. The counts are then of
   * all from there on.
   */
  readonly after?: string | undefined
  /** With `after`: begin with the locks of that key itself whose fence is higher than this. */
  readonly afterFence?: number | undefined
}

/** Who holds and who waits. The counts are of all that matched, within the limit or not. */
export interface QueryResult {
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
}

/**
 * Makes a broker; it serves nobody until `listen` or `attach`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an option that cannot be, or that does not exist,
 *   with the nearest one that does; `UNAVAILABLE` if the fence file cannot be used.
 */
export function createBroker(options: BrokerOptions = {}): HoldfastBroker {
  return new HoldfastBroker(options)
}

export interface BrokerEvents {
  /**
   * The log or the fence file cannot go on: nothing is granted any more, and every client was sent
   * away.
   */
  failed: (error: HoldfastError) => void
}

export class HoldfastBroker extends EventEmitter<BrokerEvents> {
  readonly #broker: Broker
  readonly #log: Log
  readonly #upgradePolicy: UpgradePolicy
  readonly #tarpit = new Tarpit(nodeEnvironment.clock)
  readonly #settings: BrokerSettings
  readonly #observer: Observer | undefined
  readonly #endpoints: AdminEndpoints
  readonly #dashboard: Dashboard
  readonly #byteCounters = new ByteCounters()
  readonly #servers: Server[] = []
  readonly #adminServers: Server[] = []
  readonly #detach: (() => void)[] = []
  /** Other brokers are kept out of the fence file with it. */
  readonly #fenceFile: OwnershipHandle | undefined
  #closed: Promise<void> | undefined

  /** Use {@link createBroker}. */
  constructor(options: BrokerOptions) {
    super()
    const settings = settingsFrom(options)
    const now = nodeEnvironment.clock.wall()
    const { fenceFile, log = new MemoryLog() } = options
    this.#fenceFile = fenceFile === undefined ? undefined : ownFenceFile(fenceFile)
    const observer = observerFrom(options)
    this.#observer = observer
    this.#log = log
    const onFailure = (error: HoldfastError): boolean => this.emit('failed', error)
    try {
      const fences = fenceFile === undefined ? clockFences(now) : fileFences(fenceFile, now)
      const parts = { settings, environment: nodeEnvironment, log, fences, observer, onFailure }
      this.#broker = new Broker(parts)
    } catch (error) {
      this.#fenceFile?.close()
      throw error
    }
    // Whoever listens is told; whoever never does need not be told twice.
    this.#broker.ready?.catch(() => {})
    this.#upgradePolicy = new UpgradePolicy(settings, nodeEnvironment.clock)
    this.#dashboard = new Dashboard(settings.dashboard, this.#upgradePolicy)
    this.#settings = settings
    this.#endpoints = new AdminEndpoints({
      metrics: options.metrics,
      status: () => this.status(),
      isAllowedHost: (request) => this.#upgradePolicy.isAllowedHost(request),
    })
    observer?.attach?.(() => this.#gauges())
  }

  /**
   * Listens on a port of its own. The workers of a `node:cluster` do not share it, unless the log
   * is shared by their brokers: they would grant the same locks.
   *
   * @param where `port` (default 7420; 0 for any that is free) and `host` (default 127.0.0.1).
   * @throws {HoldfastError} `INVALID_OPTION` for a host beyond loopback when nothing says who may
   *   come in or nothing keeps their tokens secret, and for a certificate or key that is none;
   *   `UNAVAILABLE` if the port cannot be had, the log cannot be taken up, or the broker is closed
   *   before it listens.
   */
  async listen(where: ListenOptions = {}): Promise<Listening> {
    refuseUnknownOptions('listen', where, { port: 1, host: 1 })
    const { port = defaultPort, host = '127.0.0.1' } = where
    this.#refuseIfClosed()
    checkListenOptions(port, host)
    const { tls } = this.#settings
    this.#upgradePolicy.checkHost(host, tls !== undefined)
    await this.#broker.ready
    const server = createHttpServer(
      tls,
      (request, response) =>
        this.#endpoints.answer(request, response) || this.#dashboard.answer(request, response),
    )
    const isShared = this.#log.membership !== undefined
    const address = { port, host, isShared }
    const listening = await listen(server, address, tls === undefined ? 'ws' : 'wss')
    await this.#keep(server, this.#servers)
    this.#accept(server, undefined, (request) => this.#dashboard.isOwnPage(request))
    return listening
  }

  /**
   * Serves `/healthz`, `/readyz`, `/status` and `/metrics` to operators, on a port of their own,
   * until the broker is closed, drain included. From then on the last two are nowhere else. Nobody
   * is asked who they are; what can be seen are numbers without names. On loopback the last two are
   * for who calls this machine by a name of its own, or by one of `hosts`. The workers of a
   * `node:cluster` never share the port, because each has numbers of its own.
   *
   * @param where `port` (0 for any that is free) and `host` (default 127.0.0.1).
   * @throws {HoldfastError} `INVALID_OPTION` for a port that cannot be; `UNAVAILABLE` if it cannot
   *   be had, or the broker is closed before it listens.
   */
  async listenAdmin(where: ListenOptions & { readonly port: number }): Promise<Listening> {
    refuseUnknownOptions('listenAdmin', where, { port: 1, host: 1 })
    const { port, host = '127.0.0.1' } = where ?? {}
    this.#refuseIfClosed()
    checkListenOptions(port, host)
    const answers = this.#endpoints.answerAdmin.bind(this.#endpoints)
    const server = createHttpServer(undefined, answers)
    const listening = await listen(server, { port, host, isShared: false }, 'http')
    await this.#keep(server, this.#adminServers)
    this.#endpoints.hasAdmin = true
    return listening
  }

  /**
   * Serves the upgrades of somebody else's HTTP server, which stays theirs to close.
   *
   * @param options `path`: only this path, such as `/locks`. The upgrades of all others are left to
   *   whoever else listens for them, and are answered with 404 if nobody does.
   * @throws {HoldfastError} `INVALID_OPTION` for a path that is none, or that has a broker already,
   *   and for what is no server; in a worker of `node:cluster`, such as those of PM2, also for a
   *   log in memory, because each worker would grant the same locks.
   */
  attach(server: Server, options: { readonly path?: string | undefined } = {}): void {
    refuseUnknownOptions('attach', options, { path: 1 })
    this.#refuseIfClosed()
    checkServer(server, this.#log)
    // What else that server serves is no page of ours.
    this.#accept(server, options.path, () => false)
  }

  #accept(
    server: Server,
    path: string | undefined,
    isOwnPage: (request: IncomingMessage) => boolean,
  ): void {
    const options = {
      path,
      upgradePolicy: this.#upgradePolicy,
      tarpit: this.#tarpit,
      isOwnPage,
      connect: this.#broker.connect.bind(this.#broker),
      frameBytes: this.#settings.limits.frameBytes,
      byteCounters: this.#byteCounters,
      onRefused: ({ cause, address }: CountedRefusal, { headers }: IncomingMessage) => {
        this.#observer?.onRefused({ cause, remoteAddress: address, origin: headers.origin })
      },
    }
    this.#detach.push(acceptUpgrades(server, options))
  }

  /** The counters of this broker since it started. */
  stats(): LockStats {
    return this.#broker.stats()
  }

  /**
   * Who holds and who waits now.
   *
   * @throws {HoldfastError} `INVALID_KEY`, or `INVALID_OPTION` for a limit that cannot be.
   */
  query(query: Query = {}): QueryResult {
    refuseUnknownOptions('query', query, { key: 1, prefix: 1, limit: 1, after: 1, afterFence: 1 })
    const { key, prefix, limit = maxQueryItems, after, afterFence } = query
    if (key !== undefined && !isKey(key)) throw new HoldfastError('INVALID_KEY')
    if (prefix !== undefined && !isPrefix(prefix)) throw new HoldfastError('INVALID_KEY')
    if (key !== undefined && prefix !== undefined) throw invalid('give a key or a prefix, not both')
    if (!Number.isInteger(limit) || limit < 1 || limit > maxQueryItems) {
      throw invalid(`limit is an integer from 1 to ${maxQueryItems}`)
    }
    if (after !== undefined && !isPrefix(after)) throw new HoldfastError('INVALID_KEY')
    if (afterFence !== undefined && (after === undefined || !Number.isSafeInteger(afterFence))) {
      throw invalid('afterFence is the fence of a lock, and goes with after')
    }
    const page = after === undefined ? undefined : { after, afterFence }
    const { held, waiting, ...counts } = this.#broker.find({ key, prefix, page }, limit)
    return { held: held.map(toHeldInfo), waiting: waiting.map(toWaitingInfo), ...counts }
  }

  /** How this broker is doing, as `/status` and `holdfast status` tell it. */
  status(): BrokerStatus {
    const ready = this.#closed === undefined && this.#broker.isServing
    return statusOf(ready, this.#log, this.#gauges())
  }

  /** How the log is doing; undefined if it is not shared with other brokers. */
  logStatus(): LogStatus | undefined {
    return this.#broker.logStatus
  }

  /**
   * Does at once what is due, instead of when its timer fires; nobody has to call this.
   *
   * @returns How many locks that let expire.
   */
  cleanExpiredLocks(): number {
    return this.#broker.cleanExpiredLocks()
  }

  /**
   * Stops: takes no new connection, tells every client, and closes with 1012. Resolves when no
   * handle is left open.
   *
   * @param options `drain`: how long whoever holds locks may take to finish, in ms. Default 0.
   *   Sessions with a grace are not waited for where another broker shares the log: they go on
   *   there.
   * @throws {HoldfastError} `INVALID_TIMEOUT`; `INVALID_OPTION` for an option that does not exist.
   */
  async close(options: { readonly drain?: number | undefined } = {}): Promise<void> {
    refuseUnknownOptions('close', options, { drain: 1 })
    const { drain: drainMs = 0 } = options
    if (!Number.isInteger(drainMs) || drainMs < 0 || drainMs > maxMs) {
      throw new HoldfastError('INVALID_TIMEOUT')
    }
    this.#closed ??= this.#close(drainMs)
    await this.#closed
  }

  async #close(drainMs: number): Promise<void> {
    const stopped = this.#servers.map(stopListening)
    await drain(this.#broker, nodeEnvironment.clock, drainMs, this.#log.membership)
    for (const detach of this.#detach) detach()
    this.#tarpit.close()
    await this.#broker.stop()
    this.#fenceFile?.close()
    // To the last, whoever asks is told that this broker is not ready.
    stopped.push(...this.#adminServers.map(stopListening))
    for (const server of [...this.#servers, ...this.#adminServers]) terminateAll(server)
    await Promise.all(stopped)
    this.#observer?.close?.()
  }

  /** A server that listens by now is closed with the broker; if that is closed by now, at once. */
  async #keep(server: Server, servers: Server[]): Promise<void> {
    if (this.#closed !== undefined) await stopListening(server)
    this.#refuseIfClosed()
    servers.push(server)
  }

  #gauges(): BrokerGauges {
    return gaugesOf(this.#broker, this.#byteCounters)
  }

  #refuseIfClosed(): void {
    if (this.#closed !== undefined) {
      throw new HoldfastError('UNAVAILABLE', 'This broker is closed; make a new one.')
    }
  }
}

function observerFrom({ observer, metrics, logger }: BrokerOptions): Observer | undefined {
  const all = [observer, metrics, logger && new BrokerLogger(logger)]
  return observersTogether(all.filter((one) => one !== undefined))
}
