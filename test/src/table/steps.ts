/**
 * Random histories of a lock table. A history is a list of *steps*, each of a few small numbers. A
 * step becomes a command only when it runs, depending on the state of the table. A step can thus
 * name a held lock or a valid secret, or sometimes deliberately a fence, connection or id that is
 * out of date. A history is still valid without some of its steps, so that a failing one can be
 * shortened.
 */
import type { Command } from '@holdfast/server/core'
import fc from 'fast-check'
import type { PlainSession, PlainState } from './plainValues.js'

const kinds = [
  'lock',
  'unlock',
  'refresh',
  'revoke',
  'barrier',
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
  'raiseFenceFloor',
  'quiet',
  'restart',
  'grantUnfinishedKeys',
] as const

/** The relative frequency of each kind, in the order of `kinds`. */
const weights = [40, 20, 9, 3, 14, 5, 5, 6, 4, 3, 4, 6, 2, 4, 9, 1, 1, 2, 4]

export interface Step {
  readonly kind: (typeof kinds)[number]
  /** Which seat sends the command. */
  readonly seat: number
  /** Chooses a key, a mode, a time, a lock, a request and so on: any number. */
  readonly pick: number
  /** 0 for a command that is out of date or wrong: a former connection or lock, a wrong secret. */
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
/** The brokers that share the log. */
const brokers = ['one', 'two', 'three']
/** The graces of the seats: some of the sessions can resume, some cannot. */
const graces = [5_000, 0, 5_000, 0, 5_000]
const limits = { locks: 5, answers: 10, waitersPerKey: 4, barriers: 2 }

/** Converts steps to commands. A *seat* is a client, which has one session after another. */
export class StepRunner {
  readonly #generations = graces.map(() => 0)
  #at = 0

  /** The command of this step; undefined if there is nothing to do. */
  commandOf(step: Step, state: PlainState): Command | undefined {
    const { kind, seat, pick, aim } = step
    this.#at++
    const isWrong = aim === 0
    const id = `${seat}.${this.#generations[seat]! - (isWrong && pick % 5 === 0 ? 1 : 0)}`
    const session = state.sessions.find((candidate) => candidate.id === id)
    if (kind === 'raiseFenceFloor')
      return { type: 'raiseFenceFloor', at: this.#at, fence: state.fence + (pick % 7) - 3 }
    if (kind === 'quiet') return { type: 'quiet', at: this.#at, quiet: pick % 3 === 0 }
    if (kind === 'grantUnfinishedKeys') {
      return {
        type: 'grantUnfinishedKeys',
        at: this.#at,
        keys: pick % 2 === 0 ? keys : [keys[pick % 3]!],
      }
    }
    if (kind === 'restart') {
      const formerOwner = pick % 4 === 0 ? undefined : brokers[pick % brokers.length]
      return {
        type: 'restart',
        at: this.#at,
        formerOwner,
        ownerBroker: brokers[(pick >> 4) % brokers.length]!,
      }
    }
    if (kind === 'open' || session === undefined) return this.#open(seat, session, pick)
    const base = { at: this.#at, session: id }
    const attachEpoch = session.attachEpoch - (isWrong && pick % 3 === 0 ? 1 : 0)
    const fields = { ...base, attachEpoch }
    switch (kind) {
      case 'repeat':
        // An earlier id: answered, waiting, acknowledged or skipped.
        return repeat(fields, session, pick, state)
      case 'lock':
        return lock(fields, session.lastId + 1 + (pick % 16 === 0 ? 2 : 0), pick)
      case 'unlock':
      case 'refresh': {
        const fence = pickFence(session, state, pick, isWrong)
        const request = { ...fields, id: session.lastId + 1, fence }
        if (kind === 'unlock') return { type: 'unlock', ...request }
        return { type: 'refresh', ...request, ttl: pick % 2 === 0 ? undefined : pick + 1 }
      }
      case 'revoke': {
        // Mostly a lock that some session holds, with its own key.
        const held = state.keys.flatMap((key) => key.holders)
        const lock = isWrong ? undefined : held[pick % Math.max(1, held.length)]
        const key = lock?.key ?? keys[pick % keys.length]!
        const fence = lock?.fence ?? Math.max(1, state.fence - (pick % 4))
        const note = `for ${pick % 9}`
        return { type: 'revoke', ...fields, id: session.lastId + 1, key, fence, note }
      }
      case 'barrier':
        return barrier(fields, session.lastId + 1, pick)
      case 'cancel':
        return { type: 'cancel', ...fields, request: pickRequest(session, pick, isWrong) }
      case 'timeout':
        return { type: 'timeout', ...base, request: pickRequest(session, pick, isWrong) }
      case 'expire': {
        const fence = pickFence(session, state, pick, isWrong && pick % 2 === 0)
        const lock = state.keys.flatMap((key) => key.holders).find((held) => held.fence === fence)
        const generation = (lock?.generation ?? 0) - (isWrong ? 1 : 0)
        return { type: 'expire', ...base, fence, generation }
      }
      case 'ack': {
        const answered = session.answers?.map(([answeredId]) => answeredId) ?? []
        return { type: 'ack', ...fields, ids: isWrong ? [pick % 40] : answered.slice(pick % 3) }
      }
      case 'confirm':
        return { type: 'confirm', ...fields }
      case 'suspend':
        return { type: 'suspend', ...fields, keep: pick % 2 === 0 }
      case 'end':
        return { type: 'end', ...fields, reason: pick % 2 === 0 ? 'goodbye' : 'expired' }
      case 'resume':
        return this.#resume(session, pick, isWrong)
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
      ownerBroker: brokers[pick % brokers.length]!,
      principal: `client ${seat}`,
      name: seat % 2 === 0 ? `name of ${seat}` : undefined,
      lease: 15_000,
      grace,
      secret: grace > 0 ? `${id} 1` : undefined,
      limits,
    }
  }

  #resume(session: PlainSession, pick: number, isWrong: boolean): Command {
    const valid = (pick % 2 === 0 ? session.nextSecret : session.secret) ?? session.secret
    const proof = isWrong ? `${session.id} ${pick % 4}` : (valid ?? '')
    const seat = pick % 20 === 1 ? 'else' : session.id.split('.')[0]
    return {
      type: 'resume',
      at: this.#at,
      handshakeId: `resume ${session.id} at ${this.#at}`,
      session: session.id,
      ownerBroker: pick % 3 === 0 ? brokers[(pick >> 4) % brokers.length]! : session.ownerBroker,
      principal: `client ${seat}`,
      proof,
      resumeAttempt: pick % 5 === 0 ? undefined : (pick >> 3) % 4 || 1,
      secret: `${session.id} ${session.attachEpoch + 1} ${this.#at}`,
    }
  }
}

function lock(
  fields: { at: number; session: string; attachEpoch: number },
  id: number,
  pick: number,
): Command {
  return {
    type: 'lock',
    ...fields,
    id,
    key: keys[pick % keys.length]!,
    mode: pick % 5 < 3 ? 'exclusive' : 'shared',
    ttl: pick % 4 === 0 ? (pick % 1_000) + 1 : undefined,
    timeout: pick % 7 === 0 ? 0 : pick % 7 === 1 ? 100 : undefined,
    steal: pick % 5 < 3 && pick % 11 === 0,
    metadata: pick % 6 === 0 ? `"${pick}"` : undefined,
  }
}

const requestOf = {
  unlocked: 'unlock',
  refreshed: 'refresh',
  revoked: 'revoke',
  passed: 'barrier',
} as const

function barrier(
  fields: { at: number; session: string; attachEpoch: number },
  id: number,
  pick: number,
): Command {
  const key = keys[pick % 2]!
  const parties = pick % 8 === 7 ? 3 : 2
  const timeout = pick % 5 === 0 ? 0 : pick % 5 === 1 ? 100 : undefined
  return { type: 'barrier', ...fields, id, key, parties, timeout }
}

/** A request with an earlier id: mostly of the type of its stored answer. */
function repeat(
  fields: { at: number; session: string; attachEpoch: number },
  session: PlainSession,
  pick: number,
  state: PlainState,
): Command {
  const id = Math.max(1, session.lastId - (pick % 6))
  const fence = Math.max(1, state.fence - (pick % 4))
  const answer = session.answers?.find(([answeredId]) => answeredId === id)?.[1]
  const any = (['unlock', 'refresh', 'revoke', 'lock', 'barrier'] as const)[(pick >> 5) % 5]!
  const isWrong = (pick >> 7) % 4 === 0
  const isNotHeld = answer?.kind === 'failed' && answer.code === 'LOCK_NOT_HELD'
  const first = requestOf[answer?.kind as keyof typeof requestOf] ?? (isNotHeld ? any : 'lock')
  switch (isWrong ? any : first) {
    case 'unlock':
      return { type: 'unlock', ...fields, id, fence }
    case 'refresh':
      return { type: 'refresh', ...fields, id, fence, ttl: undefined }
    case 'revoke':
      return { type: 'revoke', ...fields, id, key: keys[pick % keys.length]!, fence, note: 'n' }
    case 'lock':
      return lock(fields, id, pick)
    case 'barrier':
      return barrier(fields, id, pick)
  }
}

/** A fence of the session, or an unknown, released or foreign one. */
function pickFence(session: PlainSession, state: PlainState, pick: number, isWrong: boolean) {
  const { held } = session
  if (isWrong || held.length === 0) return Math.max(1, state.fence + 1 - (pick % 12))
  return held[pick % held.length]!
}

/** A waiting request, or a former or unknown one. */
function pickRequest(session: PlainSession, pick: number, isWrong: boolean): number {
  const waiting = [...session.waiting, ...session.barrierCalls]
  if (isWrong || waiting.length === 0) return Math.max(1, session.lastId + 1 - (pick % 8))
  return waiting[pick % waiting.length]!
}
