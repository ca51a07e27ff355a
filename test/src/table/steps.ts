/**
 * Random histories of a lock table. A history is a list of *steps*, each of them a few small
 * numbers that become a command only when it is their turn, by what the table is then. So a step
 * makes sense (names a lock that is held, a secret that is good) or, once in a while, misses on
 * purpose (names a fence, a connection, an id or a session from before); and a history with some
 * steps taken out is a history still, which is how a failing one is made short.
 */
import type { Command } from '@holdfast/server/core'
import fc from 'fast-check'
import type { PlainSession, PlainState } from './plain.js'

const kinds = [
  'lock',
  'unlock',
  'refresh',
  'revoke',
  'cancel',
  'timeout',
  'expire',
  'ack',
  'confirm',
  'suspend',
  'resume',
  'end',
  'open',
  'repeat',
  'raise',
  'quiet',
  'restart',
  'serve',
] as const

/** How often each kind comes, in the order of `kinds`. */
const weights = [40, 20, 9, 3, 5, 5, 6, 4, 3, 4, 6, 2, 4, 9, 1, 1, 2, 4]

export interface Step {
  readonly kind: (typeof kinds)[number]
  /** Which of the seats speaks. */
  readonly seat: number
  /** Chooses a key, a mode, a time, a lock, a request, …: any number. */
  readonly pick: number
  /**
   * 0 for a command that misses: from a former connection, for a former lock, by a wrong secret.
   */
  readonly aim: number
}

export const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    ...kinds.map((kind, i) => ({ arbitrary: fc.constant(kind), weight: weights[i]! })),
  ),
  seat: fc.nat(4),
  pick: fc.nat(0xffff),
  aim: fc.nat(9),
})

const keys = ['k', 'l', 'm']
/** Brokers that share the log. */
const homes = ['one', 'two', 'three']
/** Graces of the seats: some of the sessions can come back, some cannot. */
const graces = [5_000, 0, 5_000, 0, 5_000]
const limits = { locks: 5, answers: 10, waitersPerKey: 4 }

/** Turns steps into commands. A *seat* is a client, which has one session after another. */
export class Director {
  readonly #generations = graces.map(() => 0)
  #at = 0

  /** The command that this step is now; undefined if there is nothing for it to do. */
  direct(step: Step, state: PlainState): Command | undefined {
    const { kind, seat, pick, aim } = step
    this.#at++
    const missed = aim === 0
    const id = `${seat}.${this.#generations[seat]! - (missed && pick % 5 === 0 ? 1 : 0)}`
    const session = state.sessions.find((one) => one.id === id)
    if (kind === 'raise')
      return { type: 'raise', at: this.#at, fence: state.fence + (pick % 7) - 3 }
    if (kind === 'quiet') return { type: 'quiet', at: this.#at, quiet: pick % 3 === 0 }
    if (kind === 'serve') {
      return { type: 'serve', at: this.#at, keys: pick % 2 === 0 ? keys : [keys[pick % 3]!] }
    }
    if (kind === 'restart') {
      const from = pick % 4 === 0 ? undefined : homes[pick % homes.length]
      return {
        type: 'restart',
        at: this.#at,
        formerOwner: from,
        ownerBroker: homes[(pick >> 4) % homes.length]!,
      }
    }
    if (kind === 'open' || session === undefined) return this.#open(seat, session, pick)
    const before = { at: this.#at, session: id }
    const attachEpoch = session.attachEpoch - (missed && pick % 3 === 0 ? 1 : 0)
    const spoken = { ...before, attachEpoch }
    switch (kind) {
      case 'repeat':
        // An id from before: answered, waiting, acknowledged or passed over.
        return repeat(spoken, session, pick, state)
      case 'lock':
        return lock(spoken, session.lastId + 1 + (pick % 16 === 0 ? 2 : 0), pick)
      case 'unlock':
      case 'refresh': {
        const fence = pickFence(session, state, pick, missed)
        const request = { ...spoken, id: session.lastId + 1, fence }
        if (kind === 'unlock') return { type: 'unlock', ...request }
        return { type: 'refresh', ...request, ttl: pick % 2 === 0 ? undefined : pick + 1 }
      }
      case 'revoke': {
        // Mostly of a lock that is held, by whomever; its key mostly its own.
        const held = state.keys.flatMap((key) => key.holders)
        const lock = missed ? undefined : held[pick % Math.max(1, held.length)]
        const key = lock?.key ?? keys[pick % keys.length]!
        const fence = lock?.fence ?? Math.max(1, state.fence - (pick % 4))
        const note = `for ${pick % 9}`
        return { type: 'revoke', ...spoken, id: session.lastId + 1, key, fence, note }
      }
      case 'cancel':
        return { type: 'cancel', ...spoken, request: pickRequest(session, pick, missed) }
      case 'timeout':
        return { type: 'timeout', ...before, request: pickRequest(session, pick, missed) }
      case 'expire': {
        const fence = pickFence(session, state, pick, missed && pick % 2 === 0)
        const lock = state.keys.flatMap((key) => key.holders).find((one) => one.fence === fence)
        const generation = (lock?.generation ?? 0) - (missed ? 1 : 0)
        return { type: 'expire', ...before, fence, generation }
      }
      case 'ack': {
        const answered = session.answers?.map(([one]) => one) ?? []
        return { type: 'ack', ...spoken, ids: missed ? [pick % 40] : answered.slice(pick % 3) }
      }
      case 'confirm':
        return { type: 'confirm', ...spoken }
      case 'suspend':
        return { type: 'suspend', ...spoken, keep: pick % 2 === 0 }
      case 'end':
        return { type: 'end', ...spoken, reason: pick % 2 === 0 ? 'goodbye' : 'expired' }
      case 'resume':
        return this.#resume(session, pick, missed)
    }
  }

  #open(seat: number, session: PlainSession | undefined, pick: number): Command | undefined {
    if (session !== undefined) return undefined
    this.#generations[seat]!++
    const id = `${seat}.${this.#generations[seat]}`
    const grace = graces[seat]!
    return {
      type: 'open',
      at: this.#at,
      handshakeId: `open ${id}`,
      session: id,
      ownerBroker: homes[pick % homes.length]!,
      principal: `client ${seat}`,
      name: seat % 2 === 0 ? `name of ${seat}` : undefined,
      lease: 15_000,
      grace,
      secret: grace > 0 ? `${id} 1` : undefined,
      limits,
    }
  }

  #resume(session: PlainSession, pick: number, missed: boolean): Command {
    const good = (pick % 2 === 0 ? session.nextSecret : session.secret) ?? session.secret
    const proof = missed ? `${session.id} ${pick % 4}` : (good ?? '')
    const seat = pick % 20 === 1 ? 'else' : session.id.split('.')[0]
    return {
      type: 'resume',
      at: this.#at,
      handshakeId: `resume ${session.id} at ${this.#at}`,
      session: session.id,
      ownerBroker: pick % 3 === 0 ? homes[(pick >> 4) % homes.length]! : session.home,
      principal: `client ${seat}`,
      proof,
      resumeAttempt: pick % 5 === 0 ? undefined : (pick >> 3) % 4 || 1,
      secret: `${session.id} ${session.attachEpoch + 1} ${this.#at}`,
    }
  }
}

function lock(
  spoken: { at: number; session: string; attachEpoch: number },
  id: number,
  pick: number,
): Command {
  return {
    type: 'lock',
    ...spoken,
    id,
    key: keys[pick % keys.length]!,
    mode: pick % 5 < 3 ? 'exclusive' : 'shared',
    ttl: pick % 4 === 0 ? (pick % 1_000) + 1 : undefined,
    timeout: pick % 7 === 0 ? 0 : pick % 7 === 1 ? 100 : undefined,
    steal: pick % 5 < 3 && pick % 11 === 0,
    metadata: pick % 6 === 0 ? `"${pick}"` : undefined,
  }
}

const requestOf = { unlocked: 'unlock', refreshed: 'refresh', revoked: 'revoke' } as const

/** A request with an id from before: mostly of the type that its stored answer is for. */
function repeat(
  spoken: { at: number; session: string; attachEpoch: number },
  session: PlainSession,
  pick: number,
  state: PlainState,
): Command {
  const id = Math.max(1, session.lastId - (pick % 6))
  const fence = Math.max(1, state.fence - (pick % 4))
  const answer = session.answers?.find(([one]) => one === id)?.[1]
  const any = (['unlock', 'refresh', 'revoke', 'lock'] as const)[(pick >> 5) % 4]!
  const isMissed = (pick >> 7) % 4 === 0
  const isHeldOff = answer?.kind === 'failed' && answer.code === 'LOCK_NOT_HELD'
  const first = requestOf[answer?.kind as keyof typeof requestOf] ?? (isHeldOff ? any : 'lock')
  switch (isMissed ? any : first) {
    case 'unlock':
      return { type: 'unlock', ...spoken, id, fence }
    case 'refresh':
      return { type: 'refresh', ...spoken, id, fence, ttl: undefined }
    case 'revoke':
      return { type: 'revoke', ...spoken, id, key: keys[pick % keys.length]!, fence, note: 'n' }
    case 'lock':
      return lock(spoken, id, pick)
  }
}

/** A fence of the session, or one that never was, is over, or is another's. */
function pickFence(session: PlainSession, state: PlainState, pick: number, missed: boolean) {
  const { held } = session
  if (missed || held.length === 0) return Math.max(1, state.fence + 1 - (pick % 12))
  return held[pick % held.length]!
}

/** A request that waits, or one that does not (any more). */
function pickRequest({ waiting, lastId }: PlainSession, pick: number, missed: boolean): number {
  if (missed || waiting.length === 0) return Math.max(1, lastId + 1 - (pick % 8))
  return waiting[pick % waiting.length]!
}
