/**
 * The broker: one straight pipe from a socket to the table and back.
 *
 *   socket -> connection -> inbound -> log -> table -> outbound -> connection -> socket
 *
 * This file joins the pieces and keeps the connections. It knows no `ws`, no HTTP and no real
 * clock.
 */
import {
  type ClientMessage,
  type CloseCode,
  closeCodes,
  type Hello,
  type HoldfastError,
  type LockStats,
} from '@holdfast/shared'
import { ConnectionAdmission } from '../access/connectionAdmission.js'
import { SessionQuota } from '../access/sessionQuota.js'
import { TokenExpiry } from '../access/tokenExpiry.js'
import type { BrokerSettings } from '../config/options.js'
import { Connection, type ConnectionOwner } from '../connection/connection.js'
import type { InvalidRequest } from '../connection/invalidRequest.js'
import { OutputFlusher } from '../connection/outputFlusher.js'
import type { Socket, SocketListener } from '../connection/socket.js'
import { WorkScheduler } from '../connection/workScheduler.js'
import type { Command, LockTable, Session } from '../core/index.js'
import { type Fences, highestNext } from '../log/fences.js'
import type { Log, LogStatus, Membership } from '../log/log.js'
import type { Observer, RefusalCause } from '../observability/observer.js'
import type { Environment } from '../platform/environment.js'
import { encodeDraining } from '../protocol/encode.js'
import { DeadlineHandler, QuietStart } from './deadlineHandler.js'
import { Handshake } from './handshake.js'
import { Inbound } from './inbound.js'
import { MemoryAccount } from './memoryAccount.js'
import { type BrokerTime, Outbound, type OwnerBroker } from './outbound.js'
import { find, type QueryRows, type Scope, Search } from './queries.js'
import { BrokerStateMachine } from './stateMachine.js'
import { Statistics } from './statistics.js'
import { Timekeeper } from './timekeeper.js'
import { UnfinishedKeys } from './unfinishedKeys.js'
import { WatchRegistry } from './watchRegistry.js'

/** How long a closing handshake may take before the socket is dropped, in ms. */
const closingMs = 1_000

/** Locks and requests up to which their release together is no work worth a turn of its own. */
const releasedAtOnce = 100

export interface BrokerDeps {
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly log: Log
  readonly fences: Fences
  /** The log or the fences cannot go on: nothing is granted any more, and all were sent away. */
  readonly onFailure?: ((error: HoldfastError) => void) | undefined
  /** Whoever watches the broker. */
  readonly observer?: Observer | undefined
}

export class Broker implements ConnectionOwner {
  readonly #environment: Environment
  readonly #log: Log
  readonly #membership: Membership | undefined
  readonly #fences: Fences
  readonly #replica: BrokerStateMachine
  readonly #time: BrokerTime
  readonly #handshake: Handshake
  readonly #inbound: Inbound
  readonly #statistics = new Statistics()
  readonly #watchers = new WatchRegistry()
  readonly #memory: MemoryAccount
  readonly #observer: Observer | undefined
  readonly #admission: ConnectionAdmission
  readonly #flusher: OutputFlusher
  readonly #unfinished: UnfinishedKeys
  readonly #connections = new Set<Connection>()
  readonly #attached = new Map<Session, Connection>()
  readonly scheduler: WorkScheduler
  readonly workPerSecond: number
  #isServing = false
  #isDraining = false

  /** Once resolved, or at once if undefined, it serves; before that connections are sent away. */
  readonly ready: undefined | Promise<void>

  constructor({ settings, environment, log, fences, observer, onFailure = () => {} }: BrokerDeps) {
    this.#environment = environment
    this.#log = log
    this.#fences = fences
    this.#observer = observer
    const { membership } = log
    this.#membership = membership
    const { limits } = settings
    const { clock, endOfTurn } = environment
    this.workPerSecond = limits.workPerSecond
    const scheduler = new WorkScheduler({ clock, endOfTurn })
    this.scheduler = scheduler
    const [attached, watchers, statistics] = [this.#attached, this.#watchers, this.#statistics]
    const ownerBroker: OwnerBroker = { name: '' }
    const sessionQuota = new SessionQuota(limits, settings.authenticate === undefined)
    const submit = (command: Command): void => log.submit(command)
    const wall = (): number => clock.wall()
    const refused = this.#report.bind(this)
    const close = this.#close.bind(this)
    const time: BrokerTime = new Timekeeper({
      clock,
      endOfTurn,
      onClientDeadline: (debtor) => deadlineHandler.onClientDeadline(debtor),
      onBrokerTimer: (claim) => deadlineHandler.onBrokerTimer(claim),
      done: () => this.effectCount,
    })
    this.#time = time
    const setClientDeadline = (connection: Connection, ms: number): void =>
      time.setClientDeadline(connection, time.now() + ms)
    const clearClientDeadline = (connection: Connection): void =>
      time.clearClientDeadline(connection)
    const { connections } = this
    const memory = new MemoryAccount({ limits, connections, watchers, table: () => this.table })
    this.#memory = memory
    const shared = { ownerBroker, membership, observer, memory }
    const handshakeDeps = { settings, environment, submit, sessionQuota, ...shared }
    const handshake = new Handshake(handshakeDeps)
    this.#handshake = handshake
    const tokenExpiry = new TokenExpiry({ settings, clock, time })
    const admissionDeps = { limits, tokenExpiry, setClientDeadline, close, refused, memory }
    this.#admission = new ConnectionAdmission(admissionDeps)
    const flushed = observer && (() => observer.onFlushed())
    const pace = { scheduler, endOfTurn, setClientDeadline, clearClientDeadline }
    this.#flusher = new OutputFlusher({ limits, memory, ...pace, refused, flushed })
    const flusher = this.#flusher
    const deadlineDeps = { time, tokenExpiry, flusher, attached, submit, wall, refused }
    const deadlineHandler = new DeadlineHandler(deadlineDeps)
    const renew = tokenExpiry.renew.bind(tokenExpiry)
    const beside = { watchers, limits, memory, membership, observer, renew }
    this.#inbound = new Inbound({ submit, wall, view: this, ...beside })
    const attachedTo = (connection: Connection): void => this.#admission.onAttached(connection)
    const effects = (): number => this.effectCount
    this.#unfinished = new UnfinishedKeys({ scheduler, submit, wall, effects })
    const unfinished = this.#unfinished
    const toTable = { time, handshake, attached, ownerBroker, submit, wall }
    const outbound = new Outbound({ ...toTable, unfinished, attachedTo, close })
    this.#replica = new BrokerStateMachine({
      ...{ fences, statistics, sessionQuota, outbound, watchers, ...shared },
      onServe: () => this.#serve(),
      onResign: () => this.#resign(),
      onFailure: (error) => {
        this.#sendAway(closeCodes.internal)
        // Or the others would wait for this one's sessions for ever.
        if (membership !== undefined) void log.close()
        onFailure(error)
      },
    })
    this.ready = this.#start(settings.quietStart)
  }

  // ------------------------------------------------------------------- the face to its host

  /** Takes up the log and what is in it. */
  #start(quietStart: number): undefined | Promise<void> {
    const starting = this.#log.start(this.#replica)
    if (this.#membership !== undefined) return starting
    if (starting === undefined) this.#begin(quietStart)
    return starting?.then(() => this.#begin(quietStart))
  }

  /** A log that is this broker's alone was taken up. */
  #begin(quietStart: number): void {
    // Whoever starts a broker that cannot have fences is told now.
    this.#fences.reserve(highestNext(this.table))
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'restart', formerOwner: undefined, ownerBroker: '', at })
    this.#serve()
    if (quietStart > 0) {
      this.#log.submit({ type: 'quiet', quiet: true, at })
      const quiet = new QuietStart(quietStart)
      this.#time.setTimer(quiet, quiet.ms)
    } else if (this.table.quiet) {
      // A broker that did not live to end what it had begun.
      this.#log.submit({ type: 'quiet', quiet: false, at })
    }
  }

  #serve(): void {
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'raise', fence: this.#fences.start, at })
    this.#isServing = !this.#isDraining
  }

  /** This broker counts no more among those that share the log. */
  #resign(): void {
    this.#handshake.forgetAll()
    this.#unfinished.clear()
    this.#sendAway(closeCodes.restart)
  }

  #sendAway(row: CloseCode): void {
    this.#isServing = false
    for (const connection of this.#connections) this.#close(connection, row)
  }

  /** Takes on a new connection. */
  connect(socket: Socket): SocketListener {
    const connection = new Connection(socket, this)
    this.#connections.add(connection)
    if (!this.#isServing) this.#close(connection, closeCodes.restart)
    else this.#admission.admit(connection)
    return connection
  }

  /** Whether new clients are taken on: not while draining, nor while this broker does not count. */
  get isServing(): boolean {
    // First, since whoever finds out that it stands no more serves no more.
    return this.isLive() && this.#isServing
  }

  /** The open connections, in order of arrival. */
  get connections(): ReadonlySet<Connection> {
    return this.#connections
  }

  /** The table, to be looked at and not touched. */
  get table(): Omit<LockTable, 'apply'> {
    return this.#replica.table
  }

  /** How the log is doing, if it is shared with other brokers. */
  get logStatus(): LogStatus | undefined {
    return this.#membership?.status
  }

  /** What the broker takes of its memory for clients, and how much it may, in bytes. */
  get memory(): { readonly usedBytes: number; readonly limitBytes: number } {
    return this.#memory
  }

  stats(): LockStats {
    return this.#statistics.snapshot(this.table.heldCount)
  }

  find(scope: Scope, limit: number): QueryRows {
    return find(this.table, scope, limit)
  }

  search(scope: Scope): Search {
    return new Search(this.table, scope)
  }

  /** Does at once what is due; returns how many locks that let expire. */
  cleanExpiredLocks(): number {
    const before = this.#statistics.expired
    this.#time.run()
    return this.#statistics.expired - before
  }

  /** From now on: no new connections, no new requests of who cannot move; all are told. */
  startDraining(withinMs: number): void {
    this.#isServing = false
    this.#isDraining = true
    this.#inbound.startDraining()
    for (const connection of this.#connections) connection.send(encodeDraining(withinMs))
  }

  /** Closes one connection because the broker goes away. */
  dismiss(connection: Connection): void {
    this.#close(connection, closeCodes.restart)
  }

  /** When everything is closed: leaves no timer behind. */
  async stop(): Promise<void> {
    this.#time.stop()
    this.scheduler.stop()
    await this.#log.close()
  }

  // ------------------------------------------------------------------------- connections

  now(): number {
    return this.#time.now()
  }

  get effectCount(): number {
    return this.#replica.effects
  }

  isLive(): boolean {
    return this.#membership === undefined || this.#membership.isLive()
  }

  onHello(connection: Connection, hello: Hello): void {
    this.#handshake.begin(connection, hello)
  }

  isLong({ session }: Connection, element: unknown): boolean {
    if (session === undefined || typeof element !== 'object' || element === null) return false
    const { type, steal, key } = element as Record<string, unknown>
    if (type === 'bye') return !isShort(session)
    if (steal !== true || typeof key !== 'string') return false
    return (this.table.keys.get(key)?.holders.length ?? 0) >= releasedAtOnce
  }

  onMessage(connection: Connection, message: ClientMessage | InvalidRequest): void {
    this.#inbound.handle(connection, message)
  }

  onOutput(connection: Connection): void {
    this.#flusher.add(connection)
  }

  onAborted(connection: Connection): void {
    this.#leave(connection, true)
    this.#time.setTimer(connection, closingMs)
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection)
    this.#leave(connection, false)
    this.#time.clearTimer(connection)
  }

  /** @param keep The client may not know, so its session has its lease. */
  #leave(connection: Connection, keep: boolean): void {
    this.#forget(connection)
    const { session, attachEpoch } = connection
    if (session === undefined || this.#attached.get(session) !== connection) return
    const suspend = (): number => {
      if (this.#attached.get(session) !== connection) return 0
      const before = this.effectCount
      const at = this.#environment.clock.wall()
      this.#log.submit({ type: 'suspend', session: session.id, attachEpoch, keep, at })
      return this.effectCount - before
    }
    // Where that may release thousands of locks, the other clients have their turn in between.
    if (isShort(session)) suspend()
    else this.scheduler.add({ work: suspend })
  }

  #close(connection: Connection, row: CloseCode): void {
    connection.close(row)
    this.#forget(connection)
    if (connection.state === 'closing') this.#time.setTimer(connection, closingMs)
  }

  /** Nothing is expected of it any more, and nothing promised. */
  #forget(connection: Connection): void {
    this.#time.clearClientDeadline(connection)
    this.#admission.forget(connection)
    this.#watchers.removeAll(connection)
    this.#memory.forget(connection)
  }

  #report(connection: Connection, cause: RefusalCause): void {
    const { remoteAddress, origin, session } = connection
    const { id, principal } = session ?? {}
    this.#observer?.onRefused({ cause, remoteAddress, origin, session: id, principal })
  }
}

/** Whether the end of this session releases few locks. */
function isShort({ held, waiting }: Session): boolean {
  return held.size + waiting.size < releasedAtOnce
}
