/**
 * Drives a lock table in tests. Each method makes a command, applies the command, checks the
 * invariants of the table, and returns the effects as short texts (see `formatEffect`): `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence is the
 * number of a grant. The driver numbers the requests of each session, as a client does. By default,
 * the session sends each command on its present connection.
 */
import { type Command, LockTable, type SessionLimits, type SetItem } from '@holdfast/server/core'
import type { LockMode, NoticeType } from '@holdfast/shared'
import { expect } from 'chai'
import { formatEffect } from './effectText.js'
import { Invariants } from './invariants.js'
import { plainEffect, plainState } from './tableToPlain.js'

/** The default limits. A test of a limit sets a lower limit. */
const generousLimits: SessionLimits = { locks: 10_000, answers: 1_024, waitersPerKey: 100_000 }

interface ConnectionOptions {
  /**
   * The number of a connection among those of the session. Default: the present connection. A
   * lower number stands for an earlier connection.
   */
  readonly attachEpoch?: number
}

/** Replaces the defaults of a request. */
interface RequestOverrides extends ConnectionOptions {
  /** Default: the next id of the session. A test repeats a request by an earlier id. */
  readonly id?: number
}

interface LockOptions extends RequestOverrides {
  readonly mode?: LockMode
  /** How long the lock lasts after its grant or its last refresh, in ms. Default: no limit. */
  readonly ttl?: number
  readonly timeout?: number
  readonly steal?: boolean
  readonly metadata?: string
  /** The number of permits to request. Default 1; ignored without `capacity`. */
  readonly permits?: number
  /** The number of permits that the key has. If set, the mode of the lock is `permits`. */
  readonly capacity?: number
  /** How long the lock lasts after its grant, whether refreshed or not, in ms. */
  readonly maxHold?: number
  readonly notify?: readonly NoticeType[]
  /** The number of the scope (a logical task of the client) to which the request belongs. */
  readonly scope?: number
}

/** A key for an exclusive lock, or an item of a set. */
export type ItemOrKey = string | SetItem

interface OpenOptions {
  /** How long a broker keeps the session after its connection dropped, in ms. Default 0. */
  readonly grace?: number
  /** The first secret of a session with a grace. Default `a-1` for the session `a`. */
  readonly secret?: string
  readonly principal?: string
  readonly name?: string
  readonly ownerBroker?: string
  readonly limits?: Partial<SessionLimits>
}

interface ResumeOptions {
  /** The secret that the client presents. */
  readonly secret: string
  /** The new secret, for the next resume. */
  readonly newSecret: string
  readonly principal?: string
  readonly ownerBroker?: string
  readonly resumeAttempt?: number
}

interface DriverOptions {
  /** The table to drive. Default: a new table. */
  readonly table?: LockTable
  /** Whether to check the invariants of the whole table after each command. Default: true. */
  readonly checksInvariants?: boolean
}

export class TableDriver {
  readonly table: LockTable
  readonly #invariants: Invariants | undefined
  readonly #lastIds = new Map<string, number>()
  /** The wall time of the next command, in ms. Each method that makes a command adds 1. */
  now = 1_000

  constructor({ table = new LockTable(), checksInvariants = true }: DriverOptions = {}) {
    this.table = table
    this.#invariants = checksInvariants ? new Invariants(this.table) : undefined
  }

  /** Returns a driver of a new table with these sessions, all without a grace. */
  static withSessions(...sessions: string[]): TableDriver {
    const driver = new TableDriver()
    for (const session of sessions) driver.open(session)
    return driver
  }

  /** Applies a command, and returns its effects as short texts. */
  apply(command: Command): string[] {
    const effects = this.table.apply(command)
    this.#invariants?.check(command, effects)
    return effects.map((effect) => formatEffect(plainEffect(effect)))
  }

  /** Returns the whole state as text, to check that a command changed nothing. */
  state(): string {
    return JSON.stringify(plainState(this.table))
  }

  open(session: string, options: OpenOptions = {}): string[] {
    const { grace = 0, secret, principal = 'anyone', name, limits, ownerBroker = '' } = options
    return this.apply({
      type: 'open',
      at: this.now++,
      handshakeId: `open ${session}`,
      session,
      ownerBroker,
      principal,
      name,
      lease: 15_000,
      grace,
      secret: grace > 0 ? (secret ?? `${session}-1`) : undefined,
      limits: { ...generousLimits, ...limits },
    })
  }

  lock(session: string, key: string, options: LockOptions = {}): string[] {
    const { capacity, permits = 1, ttl, timeout, steal = false, metadata } = options
    const { maxHold, notify, scope } = options
    const permitsTerms = capacity === undefined ? undefined : { permits, capacity }
    const hasExtras = [capacity, maxHold, notify, scope].some((term) => term !== undefined)
    const extras = hasExtras ? { ...permitsTerms, maxHold, notify, scope } : undefined
    const mode = capacity === undefined ? (options.mode ?? 'exclusive') : 'permits'
    const lockFields = { key, mode, ttl, timeout, steal, metadata, extras }
    return this.apply({ type: 'lock', ...this.#fromSession(session, options), ...lockFields })
  }

  lockAll(session: string, itemsOrKeys: readonly ItemOrKey[], options: LockOptions = {}): string[] {
    const { ttl, timeout, metadata, maxHold, notify, scope } = options
    const items = itemsOrKeys.map(
      (item): SetItem => (typeof item === 'string' ? { key: item, mode: 'exclusive' } : item),
    )
    const lockFields = { items, ttl, timeout, metadata, extras: { maxHold, notify, scope } }
    return this.apply({ type: 'lockAll', ...this.#fromSession(session, options), ...lockFields })
  }

  once(session: string, key: string, options: LockOptions = {}): string[] {
    const { ttl, timeout, metadata } = options
    const fields = this.#fromSession(session, options)
    return this.apply({ type: 'once', ...fields, key, ttl, timeout, metadata })
  }

  complete(
    session: string,
    fence: number,
    options: RequestOverrides & { value?: string; keep?: number } = {},
  ): string[] {
    const { value, keep } = options
    const fields = this.#fromSession(session, options)
    return this.apply({ type: 'complete', ...fields, fence, value, keep })
  }

  forgetResult(key: string, fence: number): string[] {
    return this.apply({ type: 'forgetResult', at: this.now++, key, fence })
  }

  grantUnfinishedKeys(...keys: string[]): string[] {
    return this.apply({ type: 'grantUnfinishedKeys', at: this.now++, keys })
  }

  /**
   * Requests the leadership of an election: an exclusive lock whose holder is the leader.
   *
   * @param options `value`, as JSON text, is what the leader publishes first.
   */
  campaign(session: string, key: string, options: LockOptions & { value?: string } = {}): string[] {
    const { timeout, metadata, value } = options
    const lockFields = { key, mode: 'exclusive', ttl: undefined, timeout, steal: false } as const
    const extras = { election: { value } }
    const fields = this.#fromSession(session, options)
    return this.apply({ type: 'lock', ...fields, ...lockFields, metadata, extras })
  }

  proclaim(
    session: string,
    fence: number,
    value: string | undefined,
    options: RequestOverrides = {},
  ): string[] {
    return this.apply({ type: 'proclaim', ...this.#fromSession(session, options), fence, value })
  }

  unlock(session: string, fence: number, options: RequestOverrides = {}): string[] {
    return this.apply({ type: 'unlock', ...this.#fromSession(session, options), fence })
  }

  upgrade(
    session: string,
    fence: number,
    options: RequestOverrides & { timeout?: number } = {},
  ): string[] {
    const { timeout } = options
    const fields = this.#fromSession(session, options)
    return this.apply({ type: 'upgrade', ...fields, fence, timeout })
  }

  endScope(session: string, scope: number, options: RequestOverrides = {}): string[] {
    return this.apply({ type: 'endScope', ...this.#fromSession(session, options), scope })
  }

  downgrade(session: string, fence: number, options: RequestOverrides = {}): string[] {
    return this.apply({ type: 'downgrade', ...this.#fromSession(session, options), fence })
  }

  refresh(
    session: string,
    fence: number,
    options: RequestOverrides & { ttl?: number } = {},
  ): string[] {
    const { ttl } = options
    return this.apply({ type: 'refresh', ...this.#fromSession(session, options), fence, ttl })
  }

  revoke(session: string, key: string, fence: number, options: RequestOverrides = {}): string[] {
    const note = 'stuck'
    return this.apply({ type: 'revoke', ...this.#fromSession(session, options), key, fence, note })
  }

  barrier(
    session: string,
    key: string,
    parties: number,
    options: RequestOverrides & { timeout?: number } = {},
  ): string[] {
    const { timeout } = options
    const fields = this.#fromSession(session, options)
    return this.apply({ type: 'barrier', ...fields, key, parties, timeout })
  }

  cancel(session: string, request: number, options: ConnectionOptions = {}): string[] {
    const { attachEpoch = this.#attachEpochOf(session) } = options
    return this.apply({ type: 'cancel', at: this.now++, session, attachEpoch, request })
  }

  ack(session: string, ids: number[], options: ConnectionOptions = {}): string[] {
    const { attachEpoch = this.#attachEpochOf(session) } = options
    return this.apply({ type: 'ack', at: this.now++, session, attachEpoch, ids })
  }

  /**
   * Reports a message of the client after a resume. The table then forgets the former secret,
   * because the client must have received the new one.
   */
  confirm(session: string, options: ConnectionOptions = {}): string[] {
    const { attachEpoch = this.#attachEpochOf(session) } = options
    return this.apply({ type: 'confirm', at: this.now++, session, attachEpoch })
  }

  /**
   * Reports that the connection of a session has dropped.
   *
   * @param options `keep`: whether the session survives for its lease, even without a grace. A
   * broker sets this field if the broker itself closed the connection.
   */
  suspend(session: string, options: ConnectionOptions & { keep?: boolean } = {}): string[] {
    const { keep = false, attachEpoch = this.#attachEpochOf(session) } = options
    return this.apply({ type: 'suspend', at: this.now++, session, attachEpoch, keep })
  }

  /** Resumes a session on a new connection. */
  resume(session: string, options: ResumeOptions): string[] {
    const { secret, newSecret, principal = 'anyone', ownerBroker = '', resumeAttempt } = options
    const handshakeId = `resume ${session}`
    return this.apply({
      type: 'resume',
      at: this.now++,
      handshakeId,
      session,
      ownerBroker,
      principal,
      proof: secret,
      resumeAttempt,
      secret: newSecret,
    })
  }

  /** Ends a session, as when its client says goodbye. */
  end(session: string, options: ConnectionOptions = {}): string[] {
    const { attachEpoch = this.#attachEpochOf(session) } = options
    return this.apply({
      type: 'end',
      at: this.now++,
      session,
      attachEpoch,
      reason: 'goodbye',
    })
  }

  /**
   * Proposes that a waiting request times out, as the timer of a broker does. The table ignores the
   * proposal if the request no longer waits.
   */
  timeOutRequest(session: string, request: number): string[] {
    return this.apply({ type: 'timeout', at: this.now++, session, request })
  }

  /**
   * Proposes that a lock expires. The lock need not have a ttl. The table ignores the proposal if
   * the lock is gone, or if the generation or the owner epoch differs.
   *
   * @param options `generation`: the generation of the lock when a broker set the timer. The
   * generation rises when a refresh starts the ttl again. Default 0. `ownerEpoch`: the owner
   * epoch of the session when the broker set the timer. Default: the present one.
   */
  expire(
    session: string,
    fence: number,
    options: { generation?: number; ownerEpoch?: number } = {},
  ): string[] {
    const { generation = 0, ownerEpoch = this.#ownerEpochOf(session) } = options
    return this.apply({ type: 'expire', at: this.now++, session, fence, generation, ownerEpoch })
  }

  /** Proposes that a lock ends because of its `maxHold`. */
  endHold(session: string, fence: number, options: { ownerEpoch?: number } = {}): string[] {
    const { ownerEpoch = this.#ownerEpochOf(session) } = options
    return this.apply({ type: 'endHold', at: this.now++, session, fence, ownerEpoch })
  }

  raiseFenceFloor(fence: number): string[] {
    return this.apply({ type: 'raiseFenceFloor', at: this.now++, fence })
  }

  /** Lets a broker take over the sessions of a broker that is gone (command `restart`). */
  takeOver(brokers: { formerOwner: string; ownerBroker: string }): string[] {
    return this.apply({ type: 'restart', at: this.now++, ...brokers })
  }

  /** Lets a broker take over the sessions of all brokers. */
  takeOverAll(ownerBroker: string): string[] {
    const formerOwner = undefined
    return this.apply({ type: 'restart', at: this.now++, formerOwner, ownerBroker })
  }

  /** Begins the quiet start, in which the table grants only requests that steal a lock. */
  beginQuietStart(): string[] {
    return this.apply({ type: 'quiet', at: this.now++, quiet: true })
  }

  endQuietStart(): string[] {
    return this.apply({ type: 'quiet', at: this.now++, quiet: false })
  }

  /** The owner epoch of a session; 0 if there is no such session. */
  #ownerEpochOf(session: string): number {
    return this.table.sessions.get(session)?.ownerEpoch ?? 0
  }

  /** Returns the fields that all requests of a session have. */
  #fromSession(session: string, { id, attachEpoch }: RequestOverrides) {
    // A new id becomes the last id of the session; a repeated id does not.
    const nextId = (this.#lastIds.get(session) ?? 0) + 1
    if (id === undefined || id >= nextId) this.#lastIds.set(session, id ?? nextId)
    return {
      at: this.now++,
      session,
      attachEpoch: attachEpoch ?? this.#attachEpochOf(session),
      id: id ?? nextId,
    }
  }

  #attachEpochOf(session: string): number {
    return this.table.sessions.get(session)?.attachEpoch ?? 1
  }
}

/**
 * Checks that a command leaves the state of the table unchanged. Returns the effects of the
 * command, for instance a refusal.
 */
export function expectUnchanged(driver: TableDriver, runCommand: () => string[]): string[] {
  const before = driver.state()
  const effects = runCommand()
  expect(driver.state()).to.equal(before)
  return effects
}

/** Checks that a command has no effects and leaves the state of the table unchanged. */
export function expectNoEffect(driver: TableDriver, runCommand: () => string[]): void {
  expect(expectUnchanged(driver, runCommand)).to.deep.equal([])
}
