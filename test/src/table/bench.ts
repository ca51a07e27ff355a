/**
 * A lock table under test. It builds commands from a few arguments, checks the invariants after
 * each, and returns the effects in the format of `plainValues.ts`. It numbers the requests of each
 * session, as a client does, and uses the session's present connection by default.
 */
import { type Command, LockTable, type SessionLimits } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import { Invariants } from './invariants.js'
import { formatEffect, plainEffect, plainState } from './plainValues.js'

const generousLimits: SessionLimits = { locks: 10_000, answers: 1_024, waitersPerKey: 100_000 }

/** Replaces a default: uses a former id, or a replaced connection. */
interface RequestOverrides {
  readonly id?: number
  readonly attachEpoch?: number
}

interface LockOptions extends RequestOverrides {
  readonly mode?: LockMode
  readonly ttl?: number
  readonly timeout?: number
  readonly steal?: boolean
  readonly metadata?: string
}

interface OpenOptions {
  readonly grace?: number
  readonly secret?: string
  readonly principal?: string
  readonly name?: string
  readonly ownerBroker?: string
  readonly limits?: Partial<SessionLimits>
}

interface ResumeOptions {
  readonly principal?: string
  readonly ownerBroker?: string
  readonly resumeAttempt?: number
}

export class Bench {
  readonly table: LockTable
  readonly #invariants: Invariants | undefined
  readonly #ids = new Map<string, number>()
  /** Wall time of the next command; rises by one with each command. */
  now = 1_000

  /** @param checked Whether to check the invariants, which examines the whole table each time. */
  constructor(checked = true, table = new LockTable()) {
    this.table = table
    this.#invariants = checked ? new Invariants(this.table) : undefined
  }

  /** A bench with these sessions, none of which has a grace. */
  static with(...sessions: string[]): Bench {
    const bench = new Bench()
    for (const session of sessions) bench.open(session)
    return bench
  }

  apply(command: Command): string[] {
    const effects = this.table.apply(command)
    this.#invariants?.check(command, effects)
    return effects.map((effect) => formatEffect(plainEffect(effect)))
  }

  /** The whole state, to check that nothing changed. */
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
    const { mode = 'exclusive', ttl, timeout, steal = false, metadata } = options
    const wanted = { key, mode, ttl, timeout, steal, metadata }
    return this.apply({ type: 'lock', ...this.#fromSession(session, options), ...wanted })
  }

  unlock(session: string, fence: number, options: RequestOverrides = {}): string[] {
    return this.apply({ type: 'unlock', ...this.#fromSession(session, options), fence })
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

  cancel(session: string, request: number, attachEpoch = this.#attach(session)): string[] {
    return this.apply({ type: 'cancel', at: this.now++, session, attachEpoch, request })
  }

  ack(session: string, ids: number[], attachEpoch = this.#attach(session)): string[] {
    return this.apply({ type: 'ack', at: this.now++, session, attachEpoch, ids })
  }

  confirm(session: string, attachEpoch = this.#attach(session)): string[] {
    return this.apply({ type: 'confirm', at: this.now++, session, attachEpoch })
  }

  suspend(session: string, options: { keep?: boolean; attachEpoch?: number } = {}): string[] {
    const { keep = false, attachEpoch = this.#attach(session) } = options
    return this.apply({ type: 'suspend', at: this.now++, session, attachEpoch, keep })
  }

  resume(
    session: string,
    proof: string,
    secret: string,
    { principal = 'anyone', ownerBroker = '', resumeAttempt }: ResumeOptions = {},
  ): string[] {
    const handshakeId = `resume ${session}`
    return this.apply({
      type: 'resume',
      at: this.now++,
      handshakeId,
      session,
      ownerBroker,
      principal,
      proof,
      resumeAttempt,
      secret,
    })
  }

  end(session: string, attachEpoch = this.#attach(session)): string[] {
    return this.apply({
      type: 'end',
      at: this.now++,
      session,
      attachEpoch,
      reason: 'goodbye',
    })
  }

  timeout(session: string, request: number): string[] {
    return this.apply({ type: 'timeout', at: this.now++, session, request })
  }

  expire(session: string, fence: number, generation = 0): string[] {
    return this.apply({ type: 'expire', at: this.now++, session, fence, generation })
  }

  raiseFenceFloor(fence: number): string[] {
    return this.apply({ type: 'raiseFenceFloor', at: this.now++, fence })
  }

  restart(formerOwner: string | undefined, ownerBroker: string): string[] {
    return this.apply({ type: 'restart', at: this.now++, formerOwner, ownerBroker })
  }

  quiet(quiet: boolean): string[] {
    return this.apply({ type: 'quiet', at: this.now++, quiet })
  }

  #fromSession(session: string, { id, attachEpoch }: RequestOverrides) {
    const next = (this.#ids.get(session) ?? 0) + 1
    if (id === undefined || id >= next) this.#ids.set(session, id ?? next)
    const { now: at } = this
    this.now++
    return { at, session, attachEpoch: attachEpoch ?? this.#attach(session), id: id ?? next }
  }

  #attach(session: string): number {
    return this.table.sessions.get(session)?.attachEpoch ?? 1
  }
}
