/**
 * Random histories of a lock table. A history is a list of *steps*; a step consists of a few small
 * numbers. A step becomes a command only when the step runs, depending on the state of the table.
 * So a step can refer to a held lock or to a valid secret. For the same reason, a test can remove
 * any steps to shorten a failing history: the other steps still become valid commands. Some steps
 * deliberately use a fence (the number of a grant), a connection or an id that is out of date.
 *
 * `pick` is a random number. As in `stepRequests.ts`, expressions such as `pick % 5 === 0` only set
 * how frequent a choice is.
 */
import type { Command } from '@holdfast/server/core'
import fc from 'fast-check'
import type { PlainSession, PlainState } from './plainValues.js'
import {
  barrier,
  campaign,
  complete,
  keys,
  lock,
  lockAll,
  once,
  permits,
  type SessionFields,
  sharedLock,
} from './stepRequests.js'

const kinds = [
  'lock',
  'permits',
  'campaign',
  'proclaim',
  'lockAll',
  'once',
  'complete',
  'forgetResult',
  'upgrade',
  'downgrade',
  'endScope',
  'unlock',
  'refresh',
  'revoke',
  'barrier',
  'cancel',
  'timeout',
  'expire',
  'endHold',
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
const weights = [
  // From `lock` to `forgetResult`.
  ...[30, 10, 12, 16, 12, 28, 20, 2],
  // From `upgrade` to `barrier`.
  ...[18, 6, 6, 20, 9, 3, 14],
  // From `cancel` to `confirm`.
  ...[5, 5, 6, 4, 4, 3],
  // From `suspend` to `repeat`.
  ...[4, 6, 2, 4, 16],
  // From `raiseFenceFloor` to `grantUnfinishedKeys`.
  ...[1, 1, 2, 4],
]

export interface Step {
  readonly kind: (typeof kinds)[number]
  /**
   * The index, from 0 to 4, of the seat that sends the command. A *seat* is a client, which opens
   * one session after another.
   */
  readonly seat: number
  /** Any number. The number chooses a key, a mode, a time, a lock, a request and so on. */
  readonly pick: number
  /**
   * From 0 to 9. With 0, the command may be wrong or out of date. For instance, the command may
   * then name a former connection, a former lock or a wrong secret.
   */
  readonly wrongIfZero: number
}

export const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    ...kinds.map((kind, i) => ({ arbitrary: fc.constant(kind), weight: weights[i]! })),
  ),
  seat: fc.nat(4),
  pick: fc.nat(0xffff),
  wrongIfZero: fc.nat(9),
})

/** The names of the brokers that share the table. */
const brokers = ['one', 'two', 'three']
/**
 * The grace of the sessions of each seat, in ms: how long a session survives without a connection.
 * A session with grace 0 has no secret, so it cannot resume.
 */
const graces = [5_000, 0, 5_000, 0, 5_000]
/** Limits of a session, so low that a history reaches the limits. */
const limits = {
  locks: 8,
  answers: 10,
  waitersPerKey: 4,
  barriers: 2,
  keptResults: 2,
  keptResultBytes: 3_000,
}
/**
 * The longest `maxHold` of a lock of each seat, in ms. A `maxHold` limits how long a lock lasts,
 * even with refreshes.
 */
const maxHoldLimits = [undefined, undefined, 500, 500, undefined]

/** Makes a command of each step. Most commands fit the state of the table. */
export class CommandMaker {
  /** How many sessions each seat has opened. */
  readonly #sessionCounts = graces.map(() => 0)
  #now = 0

  /**
   * Returns the command of this step; undefined for an `open` while the session is open already.
   */
  commandOf(step: Step, state: PlainState): Command | undefined {
    const { kind, seat, pick, wrongIfZero } = step
    this.#now++
    const isWrong = wrongIfZero === 0
    // A wrong step sometimes names the former session of the seat.
    const id = `${seat}.${this.#sessionCounts[seat]! - (isWrong && pick % 5 === 0 ? 1 : 0)}`
    const session = state.sessions.find((candidate) => candidate.id === id)
    if (kind === 'raiseFenceFloor')
      // From 3 below the present fence to 3 above.
      return { type: 'raiseFenceFloor', at: this.#now, fence: state.fence + (pick % 7) - 3 }
    // In a quiet start, the table grants only requests that steal the lock.
    if (kind === 'quiet') return { type: 'quiet', at: this.#now, quiet: pick % 3 === 0 }
    // A key is unfinished if an earlier command reached its limit of grants. Waiters that can get
    // the key still wait.
    if (kind === 'grantUnfinishedKeys') {
      return {
        type: 'grantUnfinishedKeys',
        at: this.#now,
        keys: pick % 2 === 0 ? keys : [keys[pick % 3]!],
      }
    }
    if (kind === 'forgetResult') {
      const kept = state.keptResults[pick % Math.max(1, state.keptResults.length)]
      const fence = (kept?.fence ?? 1) + (isWrong ? 1 : 0)
      return { type: 'forgetResult', at: this.#now, key: kept?.key ?? 'k', fence }
    }
    // A broker takes over the sessions of a broker that has ended. Or, after its own restart, a
    // broker takes over all sessions.
    if (kind === 'restart') {
      const formerOwner = pick % 4 === 0 ? undefined : brokers[pick % brokers.length]
      return {
        type: 'restart',
        at: this.#now,
        formerOwner,
        ownerBroker: brokers[(pick >> 4) % brokers.length]!,
      }
    }
    // If the table does not have the session, the seat opens a new one.
    if (session === undefined) return this.#open(seat, pick)
    if (kind === 'open') return undefined
    /** The fields of a timer's command. */
    const timerFields = { at: this.#now, session: id }
    const ownerEpoch = ownerEpochOf(session, pick)
    // A wrong step sometimes names an earlier connection.
    const attachEpoch = session.attachEpoch - (isWrong && pick % 3 === 0 ? 1 : 0)
    /** The fields of a client's command. */
    const fields = { ...timerFields, attachEpoch }
    switch (kind) {
      case 'repeat':
        // The request with the repeated id may wait, or have an answer, acknowledged or not. Or
        // the client has skipped this id.
        return repeat(fields, session, pick, state)
      case 'lock':
        // Sometimes skips two ids.
        return lock(fields, session.lastId + 1 + (pick % 16 === 0 ? 2 : 0), pick)
      case 'permits':
        return permits(fields, session.lastId + 1, pick)
      case 'campaign':
        return campaign(fields, session.lastId + 1, pick)
      case 'proclaim':
        return proclaim(fields, session, pick, isWrong, state)
      case 'lockAll':
        return lockAll(fields, session.lastId + 1, pick)
      case 'once':
        return once(fields, session.lastId + 1, pick)
      case 'complete': {
        const fence = pickFenceOfRun(session, state, pick, isWrong)
        return complete(fields, session.lastId + 1, fence, pick)
      }
      case 'upgrade':
      case 'downgrade': {
        // A downgrade of a shared lock changes nothing. If the session has no shared lock,
        // `pickFence` can choose an exclusive lock, which a downgrade does change.
        const sharedFence = isWrong ? undefined : pickSharedFence(session, state)
        // Without a shared lock to upgrade, the step requests a shared lock of the first key. So
        // several sessions share this key, and later upgrades must wait.
        if (kind === 'upgrade' && !isWrong && sharedFence === undefined)
          return sharedLock(fields, session.lastId + 1)
        const fence = sharedFence ?? pickFence(session, state, pick, isWrong)
        const request = { ...fields, id: session.lastId + 1, fence }
        if (kind === 'downgrade') return { type: 'downgrade', ...request }
        const timeout = pick % 7 === 0 ? 0 : pick % 7 === 1 ? 100 : undefined
        return { type: 'upgrade', ...request, timeout }
      }
      case 'endScope':
        // Requests have the scope 1, 2 or none, so the scope 3 does not exist.
        return { type: 'endScope', ...fields, id: session.lastId + 1, scope: 1 + (pick % 3) }
      case 'unlock':
      case 'refresh': {
        const fence = pickFence(session, state, pick, isWrong)
        const request = { ...fields, id: session.lastId + 1, fence }
        if (kind === 'unlock') return { type: 'unlock', ...request }
        return { type: 'refresh', ...request, ttl: pick % 2 === 0 ? undefined : pick + 1 }
      }
      case 'revoke': {
        // Mostly chooses a lock that some session holds, and the key of this lock.
        const held = state.keys.flatMap((key) => key.holders)
        const target = isWrong ? undefined : held[pick % Math.max(1, held.length)]
        const key = target?.key ?? keys[pick % keys.length]!
        const fence = target?.fence ?? Math.max(1, state.fence - (pick % 4))
        const note = `for ${pick % 9}`
        return { type: 'revoke', ...fields, id: session.lastId + 1, key, fence, note }
      }
      case 'barrier':
        return barrier(fields, session.lastId + 1, pick)
      case 'cancel':
        return { type: 'cancel', ...fields, request: pickRequest(session, pick, isWrong) }
      case 'timeout':
        return { type: 'timeout', ...timerFields, request: pickRequest(session, pick, isWrong) }
      case 'expire': {
        const fence = pickFence(session, state, pick, isWrong && pick % 2 === 0)
        const target = state.keys.flatMap((key) => key.holders).find((held) => held.fence === fence)
        const generation = (target?.generation ?? 0) - (isWrong ? 1 : 0)
        return { type: 'expire', ...timerFields, fence, generation, ownerEpoch }
      }
      case 'endHold':
        return {
          type: 'endHold',
          ...timerFields,
          fence: pickFence(session, state, pick, isWrong),
          ownerEpoch,
        }
      case 'ack': {
        const answeredIds = session.answers?.map(([answeredId]) => answeredId) ?? []
        return { type: 'ack', ...fields, ids: isWrong ? [pick % 40] : answeredIds.slice(pick % 3) }
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

  #open(seat: number, pick: number): Command {
    this.#sessionCounts[seat]!++
    const id = `${seat}.${this.#sessionCounts[seat]}`
    const grace = graces[seat]!
    return {
      type: 'open',
      at: this.#now,
      handshakeId: `open ${id}`,
      session: id,
      ownerBroker: brokers[pick % brokers.length]!,
      principal: `client ${seat}`,
      name: seat % 2 === 0 ? `name of ${seat}` : undefined,
      lease: 15_000,
      grace,
      secret: grace > 0 ? `${id} 1` : undefined,
      limits: { ...limits, maxHold: maxHoldLimits[seat] },
    }
  }

  #resume(session: PlainSession, pick: number, isWrong: boolean): Command {
    // Undefined for a session with grace 0. `nextSecret` is defined only between a resume and the
    // first message of the client after the resume.
    const validSecret = (pick % 2 === 0 ? session.nextSecret : session.secret) ?? session.secret
    const proof = isWrong ? `${session.id} ${pick % 4}` : (validSecret ?? '')
    const [seat] = session.id.split('.')
    const principal = pick % 20 === 1 ? 'client unknown' : `client ${seat}`
    return {
      type: 'resume',
      at: this.#now,
      handshakeId: `resume ${session.id} at ${this.#now}`,
      session: session.id,
      ownerBroker: pick % 3 === 0 ? brokers[(pick >> 4) % brokers.length]! : session.ownerBroker,
      principal,
      proof,
      // From 1 to 3, or undefined.
      resumeAttempt: pick % 5 === 0 ? undefined : (pick >> 3) % 4 || 1,
      secret: `${session.id} ${session.attachEpoch + 1} ${this.#now}`,
    }
  }
}

/**
 * Proclaims the value of a leadership, which is a lock that a campaign won. The command comes from
 * the leader, even if the step has another session. If `isWrong`, or if there is no leader, the
 * command comes from the session of the step, for a lock that is mostly no leadership.
 */
function proclaim(
  fields: SessionFields,
  session: PlainSession,
  pick: number,
  isWrong: boolean,
  state: PlainState,
): Command {
  const value = pick % 4 === 0 ? undefined : `${pick}`
  const leaderships = state.keys
    .flatMap(({ holders }) => holders)
    .filter(({ election }) => election !== undefined)
  const leadership = leaderships[pick % Math.max(1, leaderships.length)]
  const leader = state.sessions.find(({ id }) => id === leadership?.session)
  if (isWrong || leadership === undefined || leader === undefined) {
    const fence = pickFence(session, state, pick, isWrong)
    return { type: 'proclaim', ...fields, id: session.lastId + 1, fence, value }
  }
  const { id, attachEpoch, lastId } = leader
  const { fence } = leadership
  return { type: 'proclaim', at: fields.at, session: id, attachEpoch, id: lastId + 1, fence, value }
}

/**
 * The types of commands that a client sends as a request with an id. `unlock` also stands for
 * `complete`, and `lock` also stands for `lockAll` and `once`.
 */
const requestTypes = [
  ...(['unlock', 'refresh', 'revoke', 'lock', 'barrier', 'proclaim'] as const),
  ...(['upgrade', 'downgrade', 'endScope'] as const),
] as const

/** For each kind of answer, the type of the request that has this answer. */
const requestTypeByAnswer = {
  upgraded: 'upgrade',
  downgraded: 'downgrade',
  scopeEnded: 'endScope',
  unlocked: 'unlock',
  refreshed: 'refresh',
  revoked: 'revoke',
  proclaimed: 'proclaim',
  passed: 'barrier',
} as const

/**
 * Returns a request with an earlier id. The type of the request mostly fits the stored answer to
 * this id.
 */
function repeat(
  fields: SessionFields,
  session: PlainSession,
  pick: number,
  state: PlainState,
): Command {
  // Sometimes repeats a `once` call that was answered with a result.
  const isResult = ([, answer]: readonly [number, { kind: string }]) => answer.kind === 'result'
  const resultId = pick % 4 === 0 ? session.answers?.find(isResult)?.[0] : undefined
  const id = resultId ?? Math.max(1, session.lastId - (pick % 6))
  const fence = Math.max(1, state.fence - (pick % 4))
  const answer = session.answers?.find(([answeredId]) => answeredId === id)?.[1]
  const anyType = requestTypes[(pick >> 5) % requestTypes.length]!
  const takesAnyType = (pick >> 7) % 4 === 0
  const isNotHeld = answer?.kind === 'failed' && answer.code === 'LOCK_NOT_HELD'
  // Requests of several types can have the answer LOCK_NOT_HELD.
  const likelyType =
    requestTypeByAnswer[answer?.kind as keyof typeof requestTypeByAnswer] ??
    (isNotHeld ? anyType : 'lock')
  switch (takesAnyType ? anyType : likelyType) {
    case 'unlock':
      if (pick % 5 === 1) return complete(fields, id, fence, pick)
      return { type: 'unlock', ...fields, id, fence }
    case 'upgrade':
      return { type: 'upgrade', ...fields, id, fence, timeout: undefined }
    case 'downgrade':
      return { type: 'downgrade', ...fields, id, fence }
    case 'endScope':
      return { type: 'endScope', ...fields, id, scope: 1 + (pick % 3) }
    case 'refresh':
      return { type: 'refresh', ...fields, id, fence, ttl: undefined }
    case 'revoke':
      return { type: 'revoke', ...fields, id, key: keys[pick % keys.length]!, fence, note: 'n' }
    case 'lock':
      if (pick % 5 === 1) return once(fields, id, pick)
      return pick % 3 === 0 ? lockAll(fields, id, pick) : lock(fields, id, pick)
    case 'barrier':
      return barrier(fields, id, pick)
    case 'proclaim':
      return { type: 'proclaim', ...fields, id, fence, value: undefined }
  }
}

/** Mostly the present owner epoch of the session; sometimes another one. */
function ownerEpochOf({ ownerEpoch }: PlainSession, pick: number): number {
  return pick % 7 === 0 ? pick % 3 : ownerEpoch
}

/**
 * Returns the fence of a lock that the session holds. If `isWrong`, or if the session holds no
 * lock, returns a fence near the newest fence, which may belong to another session or to no lock.
 */
function pickFence(session: PlainSession, state: PlainState, pick: number, isWrong: boolean) {
  const { held: fences } = session
  if (isWrong || fences.length === 0) return Math.max(1, state.fence + 1 - (pick % 12))
  return fences[pick % fences.length]!
}

/**
 * Returns the fence of a lock that lets the session run the function of a `once` call. If
 * `isWrong`, or if the session has no such lock, returns what {@link pickFence} returns.
 */
function pickFenceOfRun(session: PlainSession, state: PlainState, pick: number, isWrong: boolean) {
  const runs = state.keys
    .flatMap(({ holders }) => holders)
    .filter((lock) => lock.once && lock.session === session.id)
  return isWrong || runs.length === 0
    ? pickFence(session, state, pick, isWrong)
    : runs[pick % runs.length]!.fence
}

/**
 * Returns the fence of a shared lock of the session; undefined if the session has none. Prefers a
 * lock of a key where an upgrade waits.
 */
function pickSharedFence(session: PlainSession, state: PlainState): number | undefined {
  const locks = [...state.keys]
    .sort((a, b) => Number(b.upgrade !== undefined) - Number(a.upgrade !== undefined))
    .flatMap(({ holders }) => holders)
    .filter((lock) => lock.session === session.id && lock.mode === 'shared')
  return locks[0]?.fence
}

/**
 * Returns the id of a request or barrier call that waits. If `isWrong`, or if none waits, returns
 * an earlier id or the next unused id.
 */
function pickRequest(session: PlainSession, pick: number, isWrong: boolean): number {
  const waiting = [...session.waiting, ...session.barrierCalls]
  if (isWrong || waiting.length === 0) return Math.max(1, session.lastId + 1 - (pick % 8))
  return waiting[pick % waiting.length]!
}
