/**
 * The broker. Its network servers give each new socket to `connect`. The broker turns the messages
 * of clients into commands. The command log puts the commands in order, and in a cluster passes the
 * commands of every broker to all brokers. The lock table (all sessions, locks and waiting
 * requests) executes the commands. `wiring.ts` makes the components that do the work. A message
 * takes this path:
 *
 *   socket -> connection -> inbound -> command log -> table -> outbound -> connection -> socket
 *
 * The broker uses neither `ws` nor HTTP nor the real clock, so tests can simulate the network and
 * the time around the broker.
 */
import { type CloseCode, closeCodes, type LockStats } from '@holdfast/shared'
import { Connection } from '../connection/connection.js'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { WorkScheduler } from '../connection/workScheduler.js'
import type { Lock, LockTable } from '../core/index.js'
import { type Fences, highestNextFence } from '../log/fences.js'
import type { Log, Membership } from '../log/log.js'
import type { LogStatus } from '../observability/logStatus.js'
import type { LockCounters } from '../observability/observer.js'
import type { Environment } from '../platform/environment.js'
import type { RemainingTimes } from '../protocol/encodeLockInfo.js'
import { encodeDraining } from '../protocol/encodeSessionMessages.js'
import { QuietStart } from './deadlineHandler.js'
import { find, type KeySelection, type QueryRows } from './queries.js'
import { type BrokerComponents, type BrokerDeps, wireBroker } from './wiring.js'

export class Broker {
  readonly #environment: Environment
  readonly #log: Log
  readonly #membership: Membership | undefined
  readonly #fences: Fences
  readonly #components: BrokerComponents
  #isServing = false
  #isDraining = false

  /** Resolves when the broker begins to serve clients; undefined if the broker serves at once. */
  readonly ready: undefined | Promise<void>

  constructor(deps: BrokerDeps) {
    const { settings, environment, log, fences, onFailure } = deps
    this.#environment = environment
    this.#log = log
    this.#fences = fences
    this.#membership = log.membership
    this.#components = wireBroker(deps, {
      onServe: () => this.#serve(),
      onResign: () => this.#resign(),
      onFailure: (error) => {
        this.#closeAll(closeCodes.internal)
        // Closing the log lets the other brokers take over the sessions of this broker.
        if (this.#membership !== undefined) void log.close()
        onFailure?.(error)
      },
    })
    this.ready = this.#startLog(settings.quietStart)
  }

  /**
   * Starts the command log, which first restores the lock table from the stored commands.
   *
   * @param quietStart How long the broker grants only requests that steal a lock, in ms. This
   *   protects clients whose locks the broker lost in a restart. Always 0 in a cluster, whose log
   *   keeps the locks.
   */
  #startLog(quietStart: number): undefined | Promise<void> {
    const starting = this.#log.start(this.#components.stateMachine)
    // In a cluster, the state machine calls `onServe` when this broker has become a member.
    if (this.#membership !== undefined) return starting
    // A log that returns no promise has started already.
    if (starting === undefined) this.#onLogStarted(quietStart)
    return starting?.then(() => this.#onLogStarted(quietStart))
  }

  /** Begins to serve, after the start of a command log that only this broker uses. */
  #onLogStarted(quietStart: number): void {
    // A broker that cannot reserve fences (the numbers of grants) must fail when it starts, and not
    // later when it grants the first lock.
    this.#fences.reserve(highestNextFence(this.table))
    const at = this.#environment.clock.wall()
    // Suspends all sessions that the log restored: `formerOwner: undefined` means every session in
    // the table, and clients cannot open new sessions before `#serve`. Without a cluster, the name
    // of the owner broker is ''.
    this.#log.submit({ type: 'restart', formerOwner: undefined, ownerBroker: '', at })
    this.#serve()
    if (quietStart > 0) {
      this.#log.submit({ type: 'quiet', quiet: true, at })
      const quiet = new QuietStart(quietStart)
      this.#components.time.setTimer(quiet, quiet.ms)
    } else if (this.table.quiet) {
      // The former process of this broker stopped during its quiet start.
      this.#log.submit({ type: 'quiet', quiet: false, at })
    }
  }

  /** Raises the next fence above all fences from before the start. Then accepts clients. */
  #serve(): void {
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'raiseFenceFloor', fence: this.#fences.floor, at })
    this.#isServing = !this.#isDraining
  }

  /**
   * Closes all connections, because this broker is no longer a member of its cluster. Also drops
   * the pending handshakes, and the unfinished keys (keys with more waiters than one command could
   * grant).
   */
  #resign(): void {
    this.#components.handshake.clear()
    this.#components.unfinishedKeys.clear()
    this.#closeAll(closeCodes.restart)
  }

  #closeAll(closeCode: CloseCode): void {
    this.#isServing = false
    this.#components.connections.closeAll(closeCode)
  }

  /** Accepts a new connection. Closes the connection at once if the broker does not serve. */
  connect(socket: Socket): SocketListener {
    const { allConnections, connections, connectionDeps } = this.#components
    const connection = new Connection(socket, connectionDeps)
    allConnections.add(connection)
    // `membership.isLive` is not checked here, because the connection checks it for each frame.
    if (this.#isServing && !this.#isFounding) connections.admit(connection)
    else connections.close(connection, closeCodes.restart)
    return connection
  }

  /**
   * Shares the work budget of each turn of the event loop between the connections and the upgrades
   * (HTTP requests with which WebSockets begin).
   */
  get scheduler(): WorkScheduler {
    return this.#components.scheduler
  }

  /**
   * Whether the broker accepts clients. False while the broker drains (prepares its end). In a
   * cluster also false while this broker is not a member, and while too few brokers have joined a
   * new log.
   */
  get isServing(): boolean {
    // `isLive` comes before `#isServing`, because it may find that the membership has ended. The
    // broker then resigns at once, which clears `#isServing`.
    const isLive = this.#membership === undefined || this.#membership.isLive()
    return isLive && this.#isServing && !this.#isFounding
  }

  /** Whether this broker shares a new log that too few brokers have joined so far. */
  get #isFounding(): boolean {
    return this.#membership?.isFounding ?? false
  }

  /** All connections whose sockets are not closed yet, in order of arrival. */
  get connections(): ReadonlySet<Connection> {
    return this.#components.allConnections
  }

  /** The lock table. The caller may read the table, but must not change it. */
  get table(): Omit<LockTable, 'apply'> {
    return this.#components.liveTable.current
  }

  /** The state of the command log; undefined unless other brokers share the log. */
  get logStatus(): LogStatus | undefined {
    return this.#membership?.status
  }

  /** Memory that clients make the broker use, and the limit of this memory, in bytes. */
  get memory(): { readonly usedBytes: number; readonly limitBytes: number } {
    return this.#components.memory
  }

  /** The counters since the start, and the numbers of records that the table has now. */
  counters(): LockCounters {
    return this.#components.statistics.counters(this.table)
  }

  /** The counters, and the newest refused deadlocks with their keys and session names. */
  stats(): LockStats {
    return this.#components.statistics.snapshot(this.table)
  }

  /** Searches the lock table. Returns at most `limit` locks and `limit` requests. */
  find(selection: KeySelection, limit: number): QueryRows {
    return find(this.table, selection, limit)
  }

  /**
   * How much time is left of a lock's ttl, and of its longest hold. Each of the two times is
   * undefined if the lock has no such limit, or if only another broker of the cluster knows the
   * time. Returns undefined if the lock has neither limit.
   */
  remainingTimesOf(lock: Lock): RemainingTimes | undefined {
    return this.#components.lockTimes.remainingTimesOf(lock)
  }

  /** Handles all deadlines that have passed. Returns the number of locks that expired. */
  cleanExpiredLocks(): number {
    const expiredBefore = this.#components.statistics.expired
    this.#components.time.run()
    return this.#components.statistics.expired - expiredBefore
  }

  /**
   * Prepares the end of the broker: accepts no new connection, and sends `draining` to all clients.
   * Refuses new requests for locks and new calls at barriers, unless another broker can take over
   * the session.
   *
   * @param withinMs The time until the broker stops, in ms. `draining` tells the clients this time.
   */
  startDraining(withinMs: number): void {
    this.#isServing = false
    this.#isDraining = true
    this.#components.inbound.startDraining()
    for (const connection of this.#components.allConnections)
      connection.send(encodeDraining(withinMs))
  }

  /** Closes a connection because the broker stops. */
  dismiss(connection: Connection): void {
    this.#components.connections.close(connection, closeCodes.restart)
  }

  /** Stops all timers and the command log. Call this method after all connections are closed. */
  async stop(): Promise<void> {
    this.#components.time.stop()
    this.#components.scheduler.stop()
    await this.#log.close()
  }
}
