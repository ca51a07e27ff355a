/**
 * A lock table to try things on: sends it commands in few words, checks the invariants after each,
 * and answers in the lines of `plain.ts`. It counts request ids up for each session, as a client
 * does, and speaks on each session's present connection unless told otherwise.
 */
import { type Command, LockTable, type SessionLimits } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import { Invariants } from './invariants.js'
import { line, plainEffect, plainState } from './plain.js'

const roomy: SessionLimits = { locks: 10_000, answers: 1_024, waitersPerKey: 100_000 }

/** In place of what the bench would fill in: an id used before, a connection that was replaced. */
interface Spoken {
  readonly id?: number
  readonly attachEpoch?: number
}

interface LockOptions extends Spoken {
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
  readonly home?: string
  readonly limits?: Partial<SessionLimits>
}

interface ResumeOptions {
  readonly principal?: string
  readonly home?: string
  readonly try?: number
}

export class Bench {
  readonly table: LockTable
  readonly #invariants: Invariants | undefined
  readonly #ids = new Map<string, number>()
  /** Wall time of the next command; rises by one with each. */
  now = 1_000

  /** @param checked whether invariants are checked, which takes a look at everything each time. */
  constructor(checked = true, table = new LockTable()) {
    this.table = table
    this.#invariants = checked ? new Invariants(this.table) : undefined
  }

  /** A bench with these sessions on it, none of which has a grace. */
  static with(...sessions: string[]): Bench {
    const bench = new Bench()
    for (const session of sessions) bench.open(session)
    return bench
  }

  apply(command: Command): string[] {
    const effects = this.table.apply(command)
    this.#invariants?.check(command, effects)
    return effects.map((effect) => line(plainEffect(effect)))
  }

  /** Everything that can be seen of the table, to tell that nothing changed. */
  state(): string {
    return JSON.stringify(plainState(this.table))
  }

  open(session: string, options: OpenOptions = {}): string[] {
    const { grace = 0, secret, principal = 'anyone', name, limits, home = '' } = options
    return this.apply({
      type: 'open',
      at: this.now++,
      handshakeId: `open ${session}`,
      session,
      ownerBroker: home,
      principal,
      name,
      lease: 15_000,
      grace,
      secret: grace > 0 ? (secret ?? `${session}-1`) : undefined,
      limits: { ...roomy, ...limits },
    })
  }

  lock(session: string, key: string, options: LockOptions = {}): string[] {
    const { mode = 'exclusive', ttl, timeout, steal = false, metadata } = options
    const wanted = { key, mode, ttl, timeout, steal, metadata }
    return this.apply({ type: 'lock', ...this.#spoken(session, options), ...wanted })
  }

  unlock(session: string, fence: number, options: Spoken = {}): string[] {
    return this.apply({ type: 'unlock', ...this.#spoken(session, options), fence })
  }

  refresh(session: string, fence: number, options: Spoken & { ttl?: number } = {}): string[] {
    const { ttl } = options
    return this.apply({ type: 'refresh', ...this.#spoken(session, options), fence, ttl })
  }

  revoke(session: string, key: string, fence: number, options: Spoken = {}): string[] {
    const note = 'stuck'
    return this.apply({ type: 'revoke', ...this.#spoken(session, options), key, fence, note })
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
    { principal = 'anyone', home = '', try: number }: ResumeOptions = {},
  ): string[] {
    const attempt = `resume ${session}`
    return this.apply({
      type: 'resume',
      at: this.now++,
      handshakeId: attempt,
      session,
      ownerBroker: home,
      principal,
      proof,
      resumeAttempt: number,
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

  raise(fence: number): string[] {
    return this.apply({ type: 'raise', at: this.now++, fence })
  }

  restart(from: string | undefined, home: string): string[] {
    return this.apply({ type: 'restart', at: this.now++, formerOwner: from, ownerBroker: home })
  }

  quiet(quiet: boolean): string[] {
    return this.apply({ type: 'quiet', at: this.now++, quiet })
  }

  #spoken(session: string, { id, attachEpoch }: Spoken) {
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
