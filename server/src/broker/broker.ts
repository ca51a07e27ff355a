/**
 * The broker, without its sockets: takes connections and the commands of its log, and serves them
 * with the parts that `wiring.ts` puts together. A message goes one way:
 *
 *   socket -> connection -> inbound -> log -> lock table -> outbound -> connection -> socket
 *
 * The broker knows neither `ws` nor HTTP, and no real clock.
 */
import { type CloseCode, closeCodes, type LockStats } from '@holdfast/shared'
import { Connection } from '../connection/connection.js'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { LockTable } from '../core/index.js'
import { type Fences, highestNext } from '../log/fences.js'
import type { Log, Membership } from '../log/log.js'
import type { LogStatus } from '../observability/logStatus.js'
import type { Environment } from '../platform/environment.js'
import { encodeDraining } from '../protocol/encode.js'
import { QuietStart } from './deadlineHandler.js'
import { find, type QueryRows, type Scope } from './queries.js'
import { type BrokerDeps, type BrokerParts, wireBroker } from './wiring.js'

export class Broker {
  readonly #environment: Environment
  readonly #log: Log
  readonly #membership: Membership | undefined
  readonly #fences: Fences
  readonly #parts: BrokerParts
  #isServing = false
  #isDraining = false

  /** Resolves when the broker begins to serve clients; undefined if it serves at once. */
  readonly ready: undefined | Promise<void>

  constructor(deps: BrokerDeps) {
    const { settings, environment, log, fences, onFailure } = deps
    this.#environment = environment
    this.#log = log
    this.#fences = fences
    this.#membership = log.membership
    this.#parts = wireBroker(deps, {
      onServe: () => this.#serve(),
      onResign: () => this.#resign(),
      onFailure: (error) => {
        this.#closeAll(closeCodes.internal)
        // Otherwise the other brokers would wait for the sessions of this one for ever.
        if (this.#membership !== undefined) void log.close()
        onFailure?.(error)
      },
    })
    this.ready = this.#start(settings.quietStart)
  }

  /** Starts the log, which first brings back the commands of the past. */
  #start(quietStart: number): undefined | Promise<void> {
    const starting = this.#log.start(this.#parts.stateMachine)
    if (this.#membership !== undefined) return starting
    if (starting === undefined) this.#begin(quietStart)
    return starting?.then(() => this.#begin(quietStart))
  }

  /** A log that only this broker uses has started. */
  #begin(quietStart: number): void {
    // A broker without fences must fail at its start, not at its first lock.
    this.#fences.reserve(highestNext(this.table))
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'restart', formerOwner: undefined, ownerBroker: '', at })
    this.#serve()
    if (quietStart > 0) {
      this.#log.submit({ type: 'quiet', quiet: true, at })
      const quiet = new QuietStart(quietStart)
      this.#parts.time.setTimer(quiet, quiet.ms)
    } else if (this.table.quiet) {
      // The broker before this one stopped during its quiet start.
      this.#log.submit({ type: 'quiet', quiet: false, at })
    }
  }

  #serve(): void {
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'raiseFenceFloor', fence: this.#fences.start, at })
    this.#isServing = !this.#isDraining
  }

  /** This broker is not a member of its cluster any more. */
  #resign(): void {
    this.#parts.handshake.forgetAll()
    this.#parts.unfinished.clear()
    this.#closeAll(closeCodes.restart)
  }

  #closeAll(row: CloseCode): void {
    this.#isServing = false
    this.#parts.connections.closeAll(row)
  }

  /** Takes on a new connection. */
  connect(socket: Socket): SocketListener {
    const { all, connections, connectionDeps } = this.#parts
    const connection = new Connection(socket, connectionDeps)
    all.add(connection)
    if (this.#isServing) connections.admit(connection)
    else connections.close(connection, closeCodes.restart)
    return connection
  }

  /** Whether the broker takes new clients: not while it drains, nor while it is not a member. */
  get isServing(): boolean {
    // Asked first, because a broker that learns here that it is not a member stops serving.
    const isLive = this.#membership === undefined || this.#membership.isLive()
    return isLive && this.#isServing
  }

  /** The open connections, in order of arrival. */
  get connections(): ReadonlySet<Connection> {
    return this.#parts.all
  }

  /** The lock table, for reading only. */
  get table(): Omit<LockTable, 'apply'> {
    return this.#parts.table.current
  }

  /** How the log is doing, if it is shared with other brokers. */
  get logStatus(): LogStatus | undefined {
    return this.#membership?.status
  }

  /** What the broker takes of its memory for clients, and how much it may, in bytes. */
  get memory(): { readonly usedBytes: number; readonly limitBytes: number } {
    return this.#parts.memory
  }

  stats(): LockStats {
    return this.#parts.statistics.snapshot(this.table.heldCount)
  }

  find(scope: Scope, limit: number): QueryRows {
    return find(this.table, scope, limit)
  }

  /** Handles all deadlines that are due. Returns how many locks expired. */
  cleanExpiredLocks(): number {
    const before = this.#parts.statistics.expired
    this.#parts.time.run()
    return this.#parts.statistics.expired - before
  }

  /**
   * From now on: takes no new connection, and refuses new requests of sessions that no other broker
   * can take over. Tells all clients.
   */
  startDraining(withinMs: number): void {
    this.#isServing = false
    this.#isDraining = true
    this.#parts.inbound.startDraining()
    for (const connection of this.#parts.all) connection.send(encodeDraining(withinMs))
  }

  /** Closes one connection because the broker goes away. */
  dismiss(connection: Connection): void {
    this.#parts.connections.close(connection, closeCodes.restart)
  }

  /** Stops all timers and the log; to be called when all connections are closed. */
  async stop(): Promise<void> {
    this.#parts.time.stop()
    this.#parts.scheduler.stop()
    await this.#log.close()
  }
}
