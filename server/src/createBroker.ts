/**
 * The broker for programs that embed a broker. A program can make several brokers. A broker can
 * listen on its own port, serve the WebSocket upgrades of an HTTP server of the program, or do
 * both.
 */
import type { IncomingMessage, Server } from 'node:http'
import {
  cellText,
  defaultPort,
  type HeldInfo,
  HoldfastError,
  isKey,
  isPrefix,
  type LockStats,
  maxDurationMs,
  maxQueryItems,
  refuseUnknownOptions,
  type WaitingInfo,
} from '@holdfast/shared'
import { EventEmitter } from 'eventemitter3'
import { Broker } from './broker/broker.js'
import { toHeldInfo, toWaitingInfo } from './broker/queries.js'
import { type BrokerSettings, invalidOption } from './config/settings.js'
import { AdminEndpoints, type RebalanceReport } from './http/adminEndpoints.js'
import { ByteCounters } from './http/byteCounters.js'
import { DashboardFiles } from './http/dashboardFiles.js'
import { drain, rebalance } from './http/drain.js'
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
import { type ClientRefusal, UpgradePolicy } from './http/upgradePolicy.js'
import { UpgradeQueue } from './http/upgradeQueue.js'
import { acceptUpgrades } from './http/webSocketServer.js'
import { clockFences, fileFences, ownFenceFile } from './log/fences.js'
import type { Log } from './log/log.js'
import { MemoryLog } from './log/memory.js'
import { BrokerLogger } from './observability/brokerLogger.js'
import type { LogStatus } from './observability/logStatus.js'
import { type BrokerGauges, combineObservers, type Observer } from './observability/observer.js'
import { type BrokerOptions, settingsFrom } from './options.js'
import { nodeEnvironment } from './platform/environment.js'
import type { OwnershipHandle } from './platform/ownership.js'

/** What `query` searches: a key, all keys with a prefix, or all keys. */
export interface Query {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /**
   * The result lists at most this many locks, and at most this many requests: 1 to 1,000. Default
   * 1,000.
   */
  readonly limit?: number | undefined
  /**
   * Asks for one page in the order of keys, as JavaScript compares strings. The page begins with
   * the first key that follows `after`, and lists as many keys as fit into `limit`. For each of
   * these keys, the page lists all locks and the whole queue. Use `''` for the first page. If the
   * first key alone exceeds `limit`, the page lists only that key, with at most `limit` locks and
   * `limit` requests. The counts include the locks and requests of all keys that follow `after`.
   */
  readonly after?: string | undefined
  /**
   * The fence of a lock of the key `after`. A fence is an integer that rises with every grant. With
   * this option the page first lists the locks of the key `after` that have a higher fence, without
   * the queue of this key. The page then lists the keys that follow.
   */
  readonly afterFence?: number | undefined
}

/** Locks and waiting requests. The counts also include the matches beyond the limit. */
export interface QueryResult {
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
}

/**
 * Makes a broker. The broker serves no client until you call `listen` or `attach`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid value or an unknown option; the message
 *   suggests the most similar known name. `UNAVAILABLE` if the fence file cannot be used (see
 *   `fenceFile` in {@link BrokerOptions}).
 */
export function createBroker(options: BrokerOptions = {}): HoldfastBroker {
  return new HoldfastBroker(options)
}

export interface BrokerEvents {
  /**
   * The command log (the record of all changes of locks) or the fence file has failed. The broker
   * has closed all connections and grants no more locks.
   */
  failed: (error: HoldfastError) => void
}

/**
 * A broker with its HTTP servers. This class is public. The private class `Broker` serves the
 * connections that these servers accept.
 */
export class HoldfastBroker extends EventEmitter<BrokerEvents> {
  readonly #broker: Broker
  readonly #log: Log
  readonly #upgradePolicy: UpgradePolicy
  readonly #upgradeQueue: UpgradeQueue
  readonly #tarpit = new Tarpit(nodeEnvironment.clock)
  readonly #settings: BrokerSettings
  readonly #observer: Observer | undefined
  readonly #endpoints: AdminEndpoints
  readonly #dashboard: DashboardFiles
  readonly #byteCounters = new ByteCounters()
  readonly #servers: Server[] = []
  readonly #adminServers: Server[] = []
  /** Functions that make this broker accept no more upgrades, one for each server. */
  readonly #detachments: (() => void)[] = []
  /**
   * Keeps other brokers from using the fence file, in which this broker reserves the numbers of its
   * grants; undefined without a fence file.
   */
  readonly #fenceFile: OwnershipHandle | undefined
  #closing: Promise<void> | undefined
  /** The rebalance that an operator has begun and that is not over yet. */
  #rebalancing: Promise<number> | undefined

  /** Programs call {@link createBroker} instead. */
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
      const deps = { settings, environment: nodeEnvironment, log, fences, observer, onFailure }
      this.#broker = new Broker(deps)
    } catch (error) {
      this.#fenceFile?.close()
      throw error
    }
    // `listen()` reports the error of `ready`; this handler only prevents an unhandled rejection.
    this.#broker.ready?.catch(() => {})
    this.#upgradePolicy = new UpgradePolicy(settings, nodeEnvironment.clock)
    const { clock, endOfTurn } = nodeEnvironment
    const { scheduler } = this.#broker
    this.#upgradeQueue = new UpgradeQueue({ scheduler, limits: settings.limits, clock, endOfTurn })
    this.#dashboard = new DashboardFiles(settings.dashboard, this.#upgradePolicy)
    this.#settings = settings
    this.#endpoints = new AdminEndpoints({
      metrics: options.metrics,
      status: () => this.status(),
      rebalance: () => this.#rebalanceForOperator(),
      isAllowedHost: (request) => this.#upgradePolicy.isAllowedHost(request),
    })
    observer?.attach?.(() => this.#gauges())
  }

  /**
   * Makes the broker listen on its own port. The workers of a `node:cluster` can share the port
   * only if their brokers share a log, because otherwise each worker would grant the same locks.
   *
   * A host that is not a loopback address needs the broker option `authenticate` or
   * `allowUnauthenticated`. A broker with `authenticate` also needs `tls`, `trustedProxies` or
   * `allowInsecure` for such a host.
   *
   * @param options `port` (default 7420; 0 for any free port) and `host` (default 127.0.0.1).
   * @throws {HoldfastError} `INVALID_OPTION` for an invalid certificate or key, and for a host that
   *   needs options which the broker does not have. `UNAVAILABLE` if the port is not available, the
   *   command log cannot start, or the broker is closed before it listens.
   */
  async listen(options: ListenOptions = {}): Promise<Listening> {
    // The last argument names the known options; its values 1 mean nothing.
    refuseUnknownOptions('listen', options, { port: 1, host: 1 })
    const { port = defaultPort, host = '127.0.0.1' } = options
    this.#refuseIfClosed()
    checkListenOptions(port, host)
    const { tls, limits } = this.#settings
    this.#upgradePolicy.checkHost(host, tls !== undefined)
    await this.#broker.ready
    // Each `answer` returns whether it has answered the request.
    const server = createHttpServer(
      tls,
      limits,
      (request, response) =>
        this.#endpoints.answer(request, response) || this.#dashboard.answer(request, response),
    )
    const canSharePort = this.#log.membership !== undefined
    const address = { port, host, canSharePort }
    const listening = await listen(server, address, tls === undefined ? 'ws' : 'wss')
    await this.#registerServer(server, this.#servers)
    this.#accept(server, /* path */ undefined, (request) => this.#dashboard.isOwnPage(request))
    return listening
  }

  /**
   * Serves the admin endpoints `/healthz`, `/readyz`, `/status`, `/metrics` and `POST /rebalance`
   * on a separate port, until the broker is closed. The endpoints also answer while `close` waits
   * for sessions to finish. While this port is open, the other ports of the broker do not serve
   * `/status`, `/metrics` and `/rebalance`.
   *
   * The endpoints need no authentication, because they show numbers and the names of brokers, but
   * no text that a client chose. On loopback, `/status` and `/metrics` require a `Host` header with
   * a loopback name, or with one of the names in the broker option `hosts`. `/rebalance` answers
   * only programs on this machine. The workers of a `node:cluster` never share the port, because
   * each worker has its own numbers.
   *
   * @param options `port` (0 for any free port) and `host` (default 127.0.0.1).
   * @throws {HoldfastError} `INVALID_OPTION` for an invalid port; `UNAVAILABLE` if the port is not
   *   available, or if the broker is closed before it listens.
   */
  async listenAdmin(options: ListenOptions & { readonly port: number }): Promise<Listening> {
    refuseUnknownOptions('listenAdmin', options, { port: 1, host: 1 })
    // A program in plain JavaScript may pass no options. `checkListenOptions` then refuses the
    // port.
    const { port, host = '127.0.0.1' } = options ?? {}
    this.#refuseIfClosed()
    checkListenOptions(port, host)
    const answer = this.#endpoints.answerAdmin.bind(this.#endpoints)
    const server = createHttpServer(/* tls */ undefined, this.#settings.limits, answer)
    const listening = await listen(server, { port, host, canSharePort: false }, 'http')
    await this.#registerServer(server, this.#adminServers)
    this.#endpoints.hasAdminPort = true
    return listening
  }

  /**
   * Serves the WebSocket upgrades of an HTTP server of the program. The broker never closes that
   * server.
   *
   * @param options `path`: serve only upgrades of this path, such as `/locks`. Other listeners of
   *   the server may serve the upgrades of other paths. If the server has no other listener, the
   *   broker answers the upgrades of other paths with 404.
   * @throws {HoldfastError} `INVALID_OPTION` for an invalid path, a path that has a broker already,
   *   or an object that is not an HTTP server. Also for a command log in memory in a worker of
   *   `node:cluster` or PM2, because each worker would grant the same locks.
   */
  attach(server: Server, options: { readonly path?: string | undefined } = {}): void {
    refuseUnknownOptions('attach', options, { path: 1 })
    this.#refuseIfClosed()
    checkServer(server, this.#log)
    // The server of the program does not serve the dashboard of this broker. So no upgrade comes
    // from a page of the dashboard.
    this.#accept(server, options.path, () => false)
  }

  /** Accepts the upgrades of a server. */
  #accept(
    server: Server,
    path: string | undefined,
    isOwnPage: (request: IncomingMessage) => boolean,
  ): void {
    const options = {
      path,
      upgradePolicy: this.#upgradePolicy,
      upgradeQueue: this.#upgradeQueue,
      tarpit: this.#tarpit,
      isOwnPage,
      connect: this.#broker.connect.bind(this.#broker),
      frameBytes: this.#settings.limits.frameBytes,
      byteCounters: this.#byteCounters,
      onRefused: ({ cause, address }: ClientRefusal, { headers }: IncomingMessage) => {
        this.#observer?.onRefused({ cause, remoteAddress: address, origin: headers.origin })
      },
    }
    this.#detachments.push(acceptUpgrades(server, options))
  }

  /** The counters of this broker since it started, and the newest refused deadlocks. */
  stats(): LockStats {
    return this.#broker.stats()
  }

  /**
   * Lists the current locks and waiting requests.
   *
   * @throws {HoldfastError} `INVALID_KEY` for an invalid `key`, `prefix` or `after`;
   *   `INVALID_OPTION` for another invalid or unknown option.
   */
  query(query: Query = {}): QueryResult {
    refuseUnknownOptions('query', query, { key: 1, prefix: 1, limit: 1, after: 1, afterFence: 1 })
    const { key, prefix, limit = maxQueryItems, after, afterFence } = query
    if (key !== undefined && !isKey(key)) throw new HoldfastError('INVALID_KEY')
    if (prefix !== undefined && !isPrefix(prefix)) throw new HoldfastError('INVALID_KEY')
    if (key !== undefined && prefix !== undefined)
      throw invalidOption('give a key or a prefix, not both')
    if (!Number.isInteger(limit) || limit < 1 || limit > maxQueryItems) {
      throw invalidOption(
        `limit must be an integer from 1 to ${maxQueryItems}, not ${String(limit)}`,
      )
    }
    if (after !== undefined && !isPrefix(after)) throw new HoldfastError('INVALID_KEY')
    if (afterFence !== undefined && (after === undefined || !Number.isSafeInteger(afterFence))) {
      throw invalidOption('afterFence must be the fence of a lock, and needs the option after')
    }
    const page = after === undefined ? undefined : { after, afterFence }
    const { held, waiting, ...counts } = this.#broker.find({ key, prefix, page }, limit)
    const heldInfos = held.map((lock) => toHeldInfo(lock, this.#broker.remainingTimesOf(lock)))
    return { held: heldInfos, waiting: waiting.map(toWaitingInfo), ...counts }
  }

  /** The state of this broker, as `/status` and `holdfast status` show it. */
  status(): BrokerStatus {
    const ready = this.#closing === undefined && this.#broker.isServing
    const { cell } = this.#settings
    return statusOf(ready, cell && cellText(cell), this.#log, this.#gauges())
  }

  /** The state of the command log; undefined for a log that other brokers cannot share. */
  logStatus(): LogStatus | undefined {
    return this.#broker.logStatus
  }

  /**
   * Ends the locks and sessions whose deadline has passed. This call is optional, because the
   * broker itself ends these locks and sessions a little later.
   *
   * @returns The number of locks that expired.
   */
  cleanExpiredLocks(): number {
    return this.#broker.cleanExpiredLocks()
  }

  /**
   * Closes the connections of the clients whose sessions have a grace. Such a session survives a
   * dropped connection for a time, so another broker can take over the session and its locks. Each
   * client returns to the first URL of its list, or to the broker that a load balancer chooses.
   * After a broker has recovered, call this method at the other brokers, because clients do not
   * return by themselves. If no other running broker shares the command log, closes no connection.
   *
   * @param options `over`: the time over which the connections are closed, in ms. Default 10,000.
   * @returns The number of clients whose connections were closed.
   * @throws {HoldfastError} `INVALID_TIMEOUT` for an invalid `over`; `INVALID_OPTION` for an
   *   unknown option.
   */
  async rebalance(options: { readonly over?: number | undefined } = {}): Promise<number> {
    refuseUnknownOptions('rebalance', options, { over: 1 })
    const { over = 10_000 } = options
    if (!Number.isInteger(over) || over < 0 || over > maxDurationMs) {
      throw new HoldfastError('INVALID_TIMEOUT')
    }
    return rebalance(this.#broker, nodeEnvironment.clock, over, this.#log.membership)
  }

  /**
   * Rebalances for an operator who asks over HTTP. If a rebalance runs already, waits for that
   * rebalance instead, so that repeated requests move no client twice.
   */
  async #rebalanceForOperator(): Promise<RebalanceReport> {
    const { membership } = this.#log
    if (membership === undefined) {
      return {
        refusal: 'this broker shares its log with no other broker, so its clients cannot move',
      }
    }
    if (this.#closing !== undefined || !this.#broker.isServing) {
      return {
        refusal: 'this broker serves no clients, because it drains or is not a member of its log',
      }
    }
    if (membership.status.members.length < 2) {
      return {
        refusal: 'no other broker shares the log of this broker now, so its clients cannot move',
      }
    }
    this.#rebalancing ??= this.rebalance().finally(() => {
      this.#rebalancing = undefined
    })
    return { clients: await this.#rebalancing }
  }

  /**
   * Closes the broker: accepts no new connection, sends `draining` to every client, and closes all
   * connections with 1012. Resolves when all servers, timers and files of the broker are closed.
   *
   * @param options `drain`: how long sessions with locks may take to finish, in ms. Default 0. The
   *   broker does not wait for a session that another broker can take over.
   * @throws {HoldfastError} `INVALID_TIMEOUT` for an invalid `drain`; `INVALID_OPTION` for an
   *   unknown option.
   */
  async close(options: { readonly drain?: number | undefined } = {}): Promise<void> {
    refuseUnknownOptions('close', options, { drain: 1 })
    const { drain: drainMs = 0 } = options
    if (!Number.isInteger(drainMs) || drainMs < 0 || drainMs > maxDurationMs) {
      throw new HoldfastError('INVALID_TIMEOUT')
    }
    this.#closing ??= this.#close(drainMs)
    await this.#closing
  }

  async #close(drainMs: number): Promise<void> {
    // The servers accept no new connections while the sessions finish.
    const stopPromises = this.#servers.map(stopListening)
    await drain(this.#broker, nodeEnvironment.clock, drainMs, this.#log.membership)
    for (const detach of this.#detachments) detach()
    this.#upgradeQueue.close()
    this.#tarpit.close()
    await this.#broker.stop()
    // Another broker may use the fence file only after this broker has stopped granting locks.
    this.#fenceFile?.close()
    // The admin servers stop last, so that `/readyz` answers "not ready" while the broker closes.
    stopPromises.push(...this.#adminServers.map(stopListening))
    for (const server of [...this.#servers, ...this.#adminServers]) terminateAll(server)
    await Promise.all(stopPromises)
    this.#observer?.close?.()
  }

  /**
   * Registers a server, so that `close` stops the server. If the broker is closed already, stops
   * the server and throws.
   */
  async #registerServer(server: Server, servers: Server[]): Promise<void> {
    if (this.#closing !== undefined) await stopListening(server)
    this.#refuseIfClosed()
    servers.push(server)
  }

  #gauges(): BrokerGauges {
    return gaugesOf(this.#broker, this.#byteCounters)
  }

  #refuseIfClosed(): void {
    if (this.#closing !== undefined) {
      throw new HoldfastError(
        'UNAVAILABLE',
        'the broker is closed; make a new one with createBroker',
      )
    }
  }
}

function observerFrom({ observer, metrics, logger }: BrokerOptions): Observer | undefined {
  const candidates = [observer, metrics, logger && new BrokerLogger(logger)]
  return combineObservers(candidates.filter((candidate) => candidate !== undefined))
}
