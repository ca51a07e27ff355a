/**
 * The broker: one straight pipe from a socket to the table and back.
 *
 *   socket -> connection -> inbound -> log -> table -> outbound -> connection -> socket
 *
 * This file joins the pieces, keeps the connections, and judges what is overdue. It knows no `ws`,
 * no HTTP and no real clock.
 */
import {
  type ClientMessage,
  type CloseCode,
  closeCodes,
  type Hello,
  type HoldfastError,
  type LockStats,
} from '@holdfast/shared'
import { Connection, type ConnectionOwner } from '../connection/connection.js'
import type { Socket, SocketListener } from '../connection/socket.js'
import { type Command, Lock, LockTable, Request, restore, Session } from '../core/index.js'
import type { Environment } from '../environment.js'
import type { Fences } from '../fences.js'
import type { Log } from '../log/log.js'
import type { BrokerSettings } from '../options.js'
import { encodeDraining } from './encode.js'
import { Inbound } from './inbound.js'
import { find, type Scope } from './inspect.js'
import { Outbound } from './outbound.js'
import type { Findings } from './parts.js'
import { Readers } from './readers.js'
import { Reception } from './reception.js'
import { Statistics } from './statistics.js'
import { Timekeeper } from './timekeeper.js'
import { Watchers } from './watchers.js'

/** How long a closing handshake may take before the socket is dropped, in ms. */
const closingMs = 1_000

export interface BrokerParts {
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly log: Log
  readonly fences: Fences
  /** The log cannot go on: nothing is granted any more, and everybody was sent away. */
  readonly onFailure?: ((error: HoldfastError) => void) | undefined
}

export class Broker implements ConnectionOwner {
  readonly #settings: BrokerSettings
  readonly #environment: Environment
  readonly #log: Log
  readonly #fences: Fences
  #table = new LockTable()
  readonly #time: Timekeeper<Lock | Session | Connection, Request | Connection | 'quietOver'>
  readonly #reception: Reception
  readonly #inbound: Inbound
  readonly #outbound: Outbound
  readonly #readers: Readers
  readonly #statistics = new Statistics()
  readonly #watchers = new Watchers()
  readonly #connections = new Set<Connection>()
  readonly #attached = new Map<Session, Connection>()
  #unflushed: Connection[] = []
  #isServing = false

  /** Once resolved, or at once if undefined, it serves; before that connections are sent away. */
  readonly ready: undefined | Promise<void>

  constructor({ settings, environment, log, fences, onFailure = () => {} }: BrokerParts) {
    this.#settings = settings
    this.#environment = environment
    this.#log = log
    this.#fences = fences
    this.#time = new Timekeeper({
      clock: environment.clock,
      endOfTurn: environment.endOfTurn,
      onOverdue: (debtor) => this.#onOverdue(debtor),
      onDue: (claim) => this.#onDue(claim),
    })
    const submit = (command: Command): void => log.submit(command)
    const wall = (): number => environment.clock.wall()
    this.#readers = new Readers(settings.limits, this.#time)
    this.#reception = new Reception(settings, environment, submit)
    this.#inbound = new Inbound({
      submit,
      wall,
      view: this,
      watchers: this.#watchers,
      watchesPerSession: settings.limits.watchesPerSession,
    })
    this.#outbound = new Outbound({
      time: this.#time,
      reception: this.#reception,
      attached: this.#attached,
      submit,
      wall,
      close: (connection, row) => this.#close(connection, row),
    })
    this.ready = this.#start(onFailure)
  }

  // ------------------------------------------------------------------- the face to its host

  /** Takes up the log and what is in it. */
  #start(onFailure: (error: HoldfastError) => void): undefined | Promise<void> {
    const starting = this.#log.start({
      restore: (items) => {
        this.#table = restore(items)
      },
      replay: (command) => {
        this.#table.apply(command)
      },
      apply: (command) => this.#apply(command),
      fail: (error) => {
        this.#isServing = false
        for (const connection of this.#connections) this.#close(connection, closeCodes.internal)
        onFailure(error)
      },
    })
    if (starting !== undefined) return starting.then(() => this.#begin())
    this.#begin()
    return undefined
  }

  #begin(): void {
    const at = this.#environment.clock.wall()
    const { quietStart } = this.#settings
    this.#log.submit({ type: 'restart', at })
    this.#log.submit({ type: 'raise', fence: this.#fences.start, at })
    if (quietStart > 0) {
      this.#log.submit({ type: 'quiet', quiet: true, at })
      this.#time.promise('quietOver', quietStart)
    }
    this.#isServing = true
  }

  /** Takes on a new connection. */
  connect(socket: Socket): SocketListener {
    const connection = new Connection(socket, this)
    this.#connections.add(connection)
    const { connections, helloMs } = this.#settings.limits
    if (!this.#isServing) this.#close(connection, closeCodes.restart)
    else if (this.#connections.size > connections) this.#close(connection, closeCodes.overloaded)
    else this.#time.expect(connection, this.now() + helloMs)
    return connection
  }

  /** The open connections, in order of arrival. */
  get connections(): ReadonlySet<Connection> {
    return this.#connections
  }

  /** The table, to be looked at and not touched. */
  get table(): Omit<LockTable, 'apply'> {
    return this.#table
  }

  stats(): LockStats {
    return this.#statistics.snapshot(this.#table.heldCount)
  }

  find(scope: Scope, limit: number): Findings {
    return find(this.#table, scope, limit)
  }

  /** Does at once what is due; returns how many locks that let expire. */
  cleanExpiredLocks(): number {
    const before = this.#statistics.expired
    this.#time.run()
    return this.#statistics.expired - before
  }

  /** From now on: no new connections, no new requests for locks; everybody is told. */
  startDraining(withinMs: number): void {
    this.#isServing = false
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
    await this.#log.close()
  }

  // ------------------------------------------------------------------------- connections

  now(): number {
    return this.#time.now()
  }

  onHello(connection: Connection, hello: Hello): void {
    this.#reception.receive(connection, hello)
  }

  onMessage(connection: Connection, message: ClientMessage): void {
    this.#inbound.take(connection, message)
  }

  onOutput(connection: Connection): void {
    if (this.#unflushed.push(connection) === 1) this.#environment.endOfTurn(this.#flush)
  }

  onCut(connection: Connection): void {
    this.#leave(connection, true)
    this.#time.promise(connection, closingMs)
  }

  onGone(connection: Connection): void {
    this.#connections.delete(connection)
    this.#leave(connection, false)
    this.#time.cancel(connection)
  }

  /** @param keep The client may not know, so its session has its lease. */
  #leave(connection: Connection, keep: boolean): void {
    this.#time.forgive(connection)
    this.#watchers.removeAll(connection)
    const { session, attach } = connection
    if (session === undefined || this.#attached.get(session) !== connection) return
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'suspend', session: session.id, attach, keep, at })
  }

  #close(connection: Connection, row: CloseCode): void {
    connection.close(row)
    this.#time.forgive(connection)
    this.#watchers.removeAll(connection)
    if (connection.state === 'closing') this.#time.promise(connection, closingMs)
  }

  readonly #flush = (): void => {
    const connections = this.#unflushed
    this.#unflushed = []
    for (const connection of connections) {
      connection.flush()
      this.#readers.judge(connection)
    }
  }

  // -------------------------------------------------------------------------------- table

  #apply(command: Command): void {
    // One command can grant to everyone who waits, and to the one who asks.
    this.#fences.reserve(this.#table.fence + this.#table.waitingCount + 1)
    for (const effect of this.#table.apply(command)) {
      this.#statistics.count(effect)
      this.#outbound.act(effect)
      this.#watchers.tell(effect)
    }
  }

  // --------------------------------------------------------------------------------- time

  /** A client has not done in time what it owes. */
  #onOverdue(debtor: Lock | Session | Connection): void {
    if (debtor instanceof Lock) this.#proposeExpiry(debtor)
    else if (debtor instanceof Session) this.#judgeSession(debtor)
    else if (debtor.state === 'open') this.#readers.overdue(debtor)
    else debtor.cut(closeCodes.noHello)
  }

  /** The broker must do what it promised. */
  #onDue(claim: Request | Connection | 'quietOver'): void {
    const at = this.#environment.clock.wall()
    if (claim === 'quietOver') this.#log.submit({ type: 'quiet', quiet: false, at })
    else if (claim instanceof Request) {
      this.#log.submit({ type: 'timeout', session: claim.session.id, request: claim.id, at })
    } else if (claim.state === 'open') {
      claim.ping()
      this.#time.promise(claim, claim.session!.ttl / 3)
    } else claim.terminate()
  }

  #proposeExpiry({ session, fence, generation }: Lock): void {
    const at = this.#environment.clock.wall()
    this.#log.submit({ type: 'expire', session: session.id, fence, generation, at })
  }

  #judgeSession(session: Session): void {
    const connection = this.#attached.get(session)
    if (connection !== undefined) {
      const endsAt = connection.receivedAt + session.ttl
      if (endsAt > this.now()) {
        this.#time.expect(session, endsAt)
        return
      }
      connection.fallSilent()
    }
    const at = this.#environment.clock.wall()
    const { id, attach } = session
    this.#log.submit({ type: 'end', session: id, attach, reason: 'expired', at })
  }
}
