/**
 * Tries every order of a few commands in small worlds. After each command, compares the table with
 * the model, which is a second, simpler implementation. A small world has the commands that open a
 * few sessions, and the moves: the commands to try in each state (see `smallWorlds.ts`).
 */
import type { Command, SetItem } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import type { PlainSession, PlainState } from './plainValues.js'
import { explore, type World } from './smallWorlds.js'

/** Limits that a session reaches with a few commands. */
const limits = { locks: 3, answers: 3, waitersPerKey: 2, barriers: 2 }

/**
 * The command that opens a session. Only a session with a grace has a secret. In these worlds, a
 * secret is the name of the session and the number of the connection (`attachEpoch`): `a1`, `a2`.
 */
function openCommand(session: string, grace: number): Command {
  const secret = grace > 0 ? `${session}1` : undefined
  const identity = {
    session,
    ownerBroker: 'one',
    principal: 'p',
    name: session,
    handshakeId: 'open',
  }
  return { type: 'open', at: 0, ...identity, lease: 15_000, grace, secret, limits }
}

/** A request of a session for a lock, under the next id of the session. */
function lock(
  { id: session, attachEpoch, lastId }: PlainSession,
  key: string,
  mode: LockMode,
  overrides: {
    ttl?: number
    timeout?: number
    steal?: boolean
    id?: number
    attachEpoch?: number
  } = {},
): Command {
  const lockFields = { key, mode, ttl: undefined, timeout: undefined, metadata: undefined }
  const fields = { at: 0, session, attachEpoch, id: lastId + 1 }
  return { type: 'lock', ...fields, ...lockFields, steal: false, ...overrides }
}

/** Returns the distinct values that are defined. With one argument: one value or none. */
function definedValues(...values: (number | undefined)[]): number[] {
  return [...new Set(values.filter((value) => value !== undefined))]
}

/**
 * Returns the sessions that were used, and the first unused session of each grace. The other unused
 * sessions differ from these only by their names, so their commands would show nothing new.
 */
function distinctSessions({ sessions }: PlainState): PlainSession[] {
  const isUnused = ({ lastId, attachEpoch, suspended }: PlainSession) =>
    lastId === 0 && attachEpoch === 1 && !suspended
  const gracesOfUnused = new Set<number>()
  return sessions.filter((session) => {
    if (!isUnused(session)) return true
    if (gracesOfUnused.has(session.grace)) return false
    gracesOfUnused.add(session.grace)
    return true
  })
}

/**
 * Three sessions without a grace that compete for two keys. A session without a grace
 * ends when its connection drops, unless the broker itself has closed the connection (`keep`).
 */
const contention: World = {
  start: ['a', 'b', 'c'].map((session) => openCommand(session, 0)),
  moves: (state) =>
    distinctSessions(state).flatMap((session) => {
      const { id, attachEpoch, lastId, held, waiting } = session
      const fields = { at: 0, session: id, attachEpoch }
      const moves: Command[] = [
        lock(session, 'k', 'exclusive'),
        lock(session, 'k', 'shared'),
        lock(session, 'l', 'exclusive'),
        lock(session, 'k', 'shared', { timeout: 0 }),
        lock(session, 'k', 'exclusive', { steal: true }),
        { type: 'suspend', ...fields, keep: false },
        { type: 'suspend', ...fields, keep: true },
        { type: 'end', ...fields, reason: 'goodbye' },
      ]
      // 1 is the fence (grant number) of the first lock of the table. In some states this session
      // holds that lock. In other states another session holds the lock, or the lock has ended.
      for (const fence of definedValues(held[0], held.at(-1), 1)) {
        moves.push({ type: 'unlock', ...fields, id: lastId + 1, fence })
      }
      for (const request of definedValues(waiting[0]))
        moves.push({ type: 'cancel', ...fields, request })
      for (const request of definedValues(waiting.at(-1))) {
        moves.push({ type: 'timeout', at: 0, session: id, request })
      }
      for (const fence of definedValues(held[0])) {
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 0 })
      }
      return moves
    }),
}

/** Two sessions that can resume. The moves contain valid and invalid resumes. */
const resumes: World = {
  start: ['a', 'b'].map((session) => openCommand(session, 5_000)),
  moves: (state) =>
    distinctSessions(state).flatMap((session) => {
      const { id, attachEpoch, lastId, held, waiting, answers } = session
      const fields = { at: 0, session: id, attachEpoch }
      const formerFields = { at: 0, session: id, attachEpoch: attachEpoch - 1 }
      const identity = { session: id, handshakeId: 'try', principal: 'p' } as const
      const resume = { type: 'resume', at: 0, ownerBroker: 'one', ...identity } as const
      const secret = `${id}${attachEpoch + 1}`
      const moves: Command[] = [
        lock(session, 'k', 'exclusive'),
        lock(session, 'l', 'shared'),
        // These two requests repeat the last id. In most states, the earlier request with this id
        // was no unlock.
        lock(session, 'k', 'exclusive', { id: lastId }),
        { type: 'unlock', ...fields, id: lastId, fence: 1 },
        lock(session, 'k', 'exclusive', { attachEpoch: attachEpoch - 1 }),
        { type: 'ack', ...fields, ids: answers?.map(([answeredId]) => answeredId) ?? [] },
        { type: 'confirm', ...fields },
        { type: 'suspend', ...fields, keep: false },
        { type: 'suspend', ...formerFields, keep: false },
        { type: 'end', ...fields, reason: 'expired' },
        { type: 'end', ...formerFields, reason: 'expired' },
      ]
      // A proof is the secret that the client presents. `${id}1` is the first secret.
      for (const proof of new Set([session.secret, session.nextSecret, `${id}1`])) {
        if (proof === undefined) continue
        for (const resumeAttempt of [undefined, 1, 2])
          moves.push({ ...resume, proof, resumeAttempt, secret })
      }
      // `state.fence + 1` is the fence of the next grant, so no lock has this fence yet.
      for (const fence of definedValues(held[0], state.fence + 1)) {
        moves.push({ type: 'unlock', ...fields, id: lastId + 1, fence })
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 0 })
      }
      // A refresh raises the generation of a lock, so only some of these expiries have the present
      // generation.
      for (const fence of definedValues(held[0])) {
        moves.push({ type: 'refresh', ...fields, id: lastId + 1, fence, ttl: 7 })
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 1 })
      }
      for (const request of definedValues(waiting[0])) {
        moves.push({ type: 'cancel', ...fields, request })
        moves.push({ type: 'timeout', at: 0, session: id, request })
      }
      return moves
    }),
}

/**
 * Two sessions at three brokers. The owner broker of a session runs the session's timers. When the
 * owner broker ends, another broker becomes the owner. One session can resume.
 */
const ownerBrokers: World = {
  start: [openCommand('a', 5_000), openCommand('b', 0)],
  moves: (state) => [
    { type: 'restart', at: 0, formerOwner: 'one', ownerBroker: 'two' },
    { type: 'restart', at: 0, formerOwner: 'two', ownerBroker: 'three' },
    // Without a former owner, the broker takes over all sessions.
    { type: 'restart', at: 0, formerOwner: undefined, ownerBroker: 'one' },
    ...state.sessions.flatMap((session): Command[] => {
      const { id, attachEpoch, held, waiting } = session
      const fields = { at: 0, session: id, attachEpoch }
      const timeLimits = { ttl: 60_000, timeout: 60_000 }
      const moves: Command[] = [
        lock(session, 'k', 'exclusive', timeLimits),
        { type: 'end', ...fields, reason: 'expired' },
      ]
      for (const proof of new Set([session.nextSecret, session.secret])) {
        if (proof === undefined) continue
        const secret = `${id}${attachEpoch + 1}`
        const identity = { session: id, handshakeId: 'try', principal: 'p' } as const
        const resume = { type: 'resume', at: 0, ...identity, proof, secret } as const
        moves.push({ ...resume, ownerBroker: 'one', resumeAttempt: 1 })
        moves.push({ ...resume, ownerBroker: 'two', resumeAttempt: 2 })
      }
      // A change of the owner broker raises the generation of a lock. An expiry with a lower
      // generation comes from a former owner.
      for (const fence of definedValues(held[0])) {
        for (const generation of [0, 1, 2]) {
          moves.push({ type: 'expire', at: 0, session: id, fence, generation })
        }
      }
      for (const request of definedValues(waiting[0])) {
        moves.push({ type: 'timeout', at: 0, session: id, request })
      }
      return moves
    }),
  ],
}

/**
 * Two sessions without a grace on a table that is sometimes quiet. A quiet table grants only
 * steals.
 */
const quietTimes: World = {
  start: [...contention.start.slice(0, 2), { type: 'quiet', at: 0, quiet: true }],
  moves: (state) => [{ type: 'quiet', at: 0, quiet: !state.quiet }, ...contention.moves(state)],
}

/**
 * Four sessions that lock one key. Each command grants only one waiter. `grantUnfinishedKeys`
 * continues with keys that have further waiters to grant.
 */
const oneGrantPerCommand: World = {
  grantsPerCommand: 1,
  start: ['a', 'b', 'c', 'd'].map((session) => openCommand(session, 0)),
  moves: (state) => [
    { type: 'grantUnfinishedKeys', at: 0, keys: ['k'] },
    { type: 'restart', at: 0, formerOwner: undefined, ownerBroker: 'one' },
    ...distinctSessions(state).flatMap((session): Command[] => {
      const { id, attachEpoch, lastId, held, waiting } = session
      const fields = { at: 0, session: id, attachEpoch }
      return [
        lock(session, 'k', 'exclusive'),
        lock(session, 'k', 'shared'),
        lock(session, 'k', 'shared', { timeout: 0 }),
        { type: 'end', ...fields, reason: 'goodbye' },
        ...definedValues(held[0]).flatMap((fence): Command[] => [
          { type: 'unlock', ...fields, id: lastId + 1, fence },
          { type: 'revoke', ...fields, id: lastId + 1, key: 'k', fence, note: '' },
        ]),
        ...definedValues(waiting[0]).map(
          (request): Command => ({ type: 'cancel', ...fields, request }),
        ),
      ]
    }),
  ],
}

/** Three sessions, one with a grace, at two barriers. */
const gathering: World = {
  start: [openCommand('a', 5_000), openCommand('b', 0), openCommand('c', 0)],
  moves: (state) =>
    distinctSessions(state).flatMap((session): Command[] => {
      const { id, attachEpoch, lastId, barrierCalls } = session
      const fields = { at: 0, session: id, attachEpoch }
      const call = (key: string, parties: number, timeout?: number): Command => {
        return { type: 'barrier', ...fields, id: lastId + 1, key, parties, timeout }
      }
      return [
        call('k', 2),
        call('k', 3),
        call('k', 3, 0),
        call('l', 2, 9),
        // Repeats the last id. In some states, the first call with this id had other fields.
        { type: 'barrier', ...fields, id: lastId, key: 'k', parties: 2, timeout: undefined },
        { type: 'suspend', ...fields, keep: true },
        { type: 'end', ...fields, reason: 'goodbye' },
        ...definedValues(...barrierCalls).flatMap((request): Command[] => [
          { type: 'cancel', ...fields, request },
          { type: 'timeout', at: 0, session: id, request },
        ]),
      ]
    }),
}

/** A request of a session for `wanted` of the `capacity` permits of the key k. */
function permits(session: PlainSession, wanted: number, capacity: number, timeout?: number) {
  const request = lock(session, 'k', 'permits', timeout === undefined ? {} : { timeout })
  return { ...request, extras: { permits: wanted, capacity } } as Command
}

/** A request of a session for a set: one lock on several keys. */
function lockAll(session: PlainSession, items: readonly SetItem[], timeout?: number): Command {
  const { id, attachEpoch, lastId } = session
  const fields = { at: 0, session: id, attachEpoch, id: lastId + 1 }
  return { type: 'lockAll', ...fields, items, ttl: undefined, timeout, metadata: undefined }
}

/** Commands that end a session, a lock of the session, or a waiting request of the session. */
function endings({ id, attachEpoch, lastId, held, waiting }: PlainSession): Command[] {
  const fields = { at: 0, session: id, attachEpoch }
  return [
    { type: 'end', ...fields, reason: 'goodbye' },
    ...definedValues(held[0]).map(
      (fence): Command => ({ type: 'unlock', ...fields, id: lastId + 1, fence }),
    ),
    ...definedValues(held.at(-1)).map(
      (fence): Command => ({ type: 'expire', at: 0, session: id, fence, generation: 0 }),
    ),
    ...definedValues(waiting[0]).map(
      (request): Command => ({ type: 'cancel', ...fields, request }),
    ),
    ...definedValues(waiting.at(-1)).map(
      (request): Command => ({ type: 'timeout', at: 0, session: id, request }),
    ),
  ]
}

/**
 * Three sessions, one with a grace, that send `once` or request plain locks. The first caller of
 * `once` does the work, and the other callers get its result. Each command grants or answers one
 * waiter, and the table keeps one result.
 */
const callingOnce: World = {
  grantsPerCommand: 1,
  start: [openCommand('a', 5_000), openCommand('b', 0), openCommand('c', 0)].map((command) => {
    return { ...command, limits: { ...limits, keptResults: 1, keptResultBytes: 10_000 } } as Command
  }),
  moves: (state) => [
    { type: 'grantUnfinishedKeys', at: 0, keys: ['k'] },
    { type: 'restart', at: 0, formerOwner: 'one', ownerBroker: 'two' },
    ...state.keptResults.map(({ key, fence }): Command => {
      return { type: 'forgetResult', at: 0, key, fence }
    }),
    ...distinctSessions(state).flatMap((session): Command[] => {
      const { id, attachEpoch, lastId, held } = session
      const fields = { at: 0, session: id, attachEpoch }
      const once = (key: string, timeout?: number): Command => {
        const terms = { key, ttl: undefined, timeout, metadata: undefined }
        return { type: 'once', ...fields, id: lastId + 1, ...terms }
      }
      return [
        once('k'),
        once('k', 0),
        once('l'),
        lock(session, 'k', 'exclusive'),
        lock(session, 'k', 'exclusive', { steal: true }),
        { type: 'suspend', ...fields, keep: true },
        ...endings(session),
        ...definedValues(held[0], held.at(-1)).flatMap((fence): Command[] => [
          { type: 'complete', ...fields, id: lastId + 1, fence, value: '1', keep: undefined },
          { type: 'complete', ...fields, id: lastId + 1, fence, value: undefined, keep: 9 },
        ]),
      ]
    }),
  ],
}

/** Three sessions that share three permits, beside exclusive and shared requests. */
const sharedPermits: World = {
  start: ['a', 'b', 'c'].map((session) => openCommand(session, 0)),
  moves: (state) =>
    distinctSessions(state).flatMap((session) => [
      permits(session, 1, 3),
      permits(session, 2, 3),
      permits(session, 3, 3),
      // Another capacity than that of the other requests.
      permits(session, 1, 2),
      permits(session, 1, 3, 0),
      lock(session, 'k', 'exclusive'),
      lock(session, 'k', 'shared'),
      lock(session, 'k', 'exclusive', { steal: true }),
      ...endings(session),
    ]),
}

/** Three sessions, one with a grace, that campaign for one key beside plain locks. */
const electing: World = {
  start: [openCommand('a', 5_000), openCommand('b', 0), openCommand('c', 0)],
  moves: (state) =>
    distinctSessions(state).flatMap((session) => {
      const { id, attachEpoch, lastId, held } = session
      const fields = { at: 0, session: id, attachEpoch }
      const request = lock(session, 'k', 'exclusive')
      return [
        { ...request, extras: { election: { value: `"${id}"` } } } as Command,
        { ...request, timeout: 0, extras: { election: {} } } as Command,
        request,
        lock(session, 'k', 'exclusive', { steal: true }),
        { type: 'suspend', ...fields, keep: true } as Command,
        // Repeats the last id. 1 is the fence of the first lock of the table, whichever session
        // has or had this lock.
        { type: 'proclaim', ...fields, id: lastId, fence: 1, value: undefined } as Command,
        ...definedValues(held[0], 1).flatMap((fence): Command[] => [
          { type: 'proclaim', ...fields, id: lastId + 1, fence, value: '"next"' },
          { type: 'proclaim', ...fields, id: lastId + 1, fence, value: undefined },
        ]),
        ...endings(session),
      ]
    }),
}

/** Three sessions that upgrade and downgrade their locks on one key. */
const upgrading: World = {
  start: ['a', 'b', 'c'].map((session) => openCommand(session, session === 'a' ? 5_000 : 0)),
  moves: (state) =>
    distinctSessions(state).flatMap((session): Command[] => {
      const { id, attachEpoch, lastId, held } = session
      const fields = { at: 0, session: id, attachEpoch, id: lastId + 1 }
      return [
        lock(session, 'k', 'shared'),
        lock(session, 'k', 'exclusive', { steal: true }),
        ...definedValues(held[0]).flatMap((fence): Command[] => [
          { type: 'upgrade', ...fields, fence, timeout: undefined },
          { type: 'downgrade', ...fields, fence },
          // The fence of the newest grant of the table, whichever session holds the lock.
          { type: 'revoke', ...fields, key: 'k', fence: state.fence, note: '' },
        ]),
        ...endings(session),
      ]
    }),
}

/** The world `upgrading` on a table that is sometimes quiet. */
const quietUpgrading: World = {
  ...upgrading,
  moves: (state) => [{ type: 'quiet', at: 0, quiet: !state.quiet }, ...upgrading.moves(state)],
}

const exclusive = (key: string): SetItem => ({ key, mode: 'exclusive' })
const shared = (key: string): SetItem => ({ key, mode: 'shared' })

/** Three sessions that request sets of two keys, beside locks on single keys. */
const lockedSets: World = {
  start: ['a', 'b', 'c'].map((session) => {
    const command = openCommand(session, 0)
    return { ...command, limits: { locks: 5, answers: 3, waitersPerKey: 2 } } as Command
  }),
  moves: (state) => [
    ...distinctSessions(state).flatMap((session) => [
      lockAll(session, [exclusive('k'), exclusive('l')]),
      lockAll(session, [exclusive('l'), exclusive('m')]),
      lockAll(session, [shared('m'), shared('k')]),
      lockAll(session, [exclusive('m'), shared('k')], 0),
      lock(session, 'k', 'exclusive'),
      lock(session, 'l', 'shared'),
      lock(session, 'l', 'exclusive', { steal: true }),
      ...endings(session),
      ...definedValues(session.held[0]).map((fence): Command => {
        const { id, attachEpoch, lastId } = session
        const fields = { at: 0, session: id, attachEpoch, id: lastId + 1 }
        return { type: 'revoke', ...fields, key: 'k', fence, note: '' }
      }),
    ]),
  ],
}

/** The world `lockedSets`, but each command grants only one waiting request, which may be a set. */
const setsOneByOne: World = {
  ...lockedSets,
  grantsPerCommand: 1,
  moves: (state) => [
    { type: 'grantUnfinishedKeys', at: 0, keys: ['k'] },
    { type: 'grantUnfinishedKeys', at: 0, keys: ['m', 'l'] },
    { type: 'restart', at: 0, formerOwner: undefined, ownerBroker: 'one' },
    ...lockedSets.moves(state),
  ],
}

/**
 * Three sessions, one with a grace, that hold locks for a limited time (`maxHold`), at two brokers.
 * Session b may hold a lock for at most 7 ms, although some requests ask for 9 ms. A refresh does
 * not prolong a hold. The table ignores `endHold` of a broker that is not the owner of the session.
 */
const limitedHolds: World = {
  start: [
    openCommand('a', 5_000),
    { ...openCommand('b', 0), limits: { ...limits, maxHold: 7 } } as Command,
    openCommand('c', 0),
  ],
  moves: (state) => [
    { type: 'restart', at: 0, formerOwner: 'one', ownerBroker: 'two' },
    // Not `distinctSessions`: b and c have the same grace, but differ by the limit of b.
    ...state.sessions.flatMap((session): Command[] => {
      const { id, attachEpoch, lastId, held } = session
      const fields = { at: 0, session: id, attachEpoch, id: lastId + 1 }
      const limitedLock = lock(session, 'k', 'exclusive', { ttl: 60_000 })
      const limitedSet = lockAll(session, [exclusive('k'), shared('l')])
      return [
        { ...limitedLock, extras: { maxHold: 9, notify: ['queued'] } } as Command,
        { ...limitedSet, extras: { maxHold: 5, notify: ['contended'] } } as Command,
        lock(session, 'l', 'shared'),
        lock(session, 'l', 'exclusive', { timeout: 0 }),
        ...endings(session),
        ...definedValues(held[0], held.at(-1), 1).flatMap((fence): Command[] => [
          { type: 'endHold', at: 0, session: id, fence, ownerBroker: session.ownerBroker },
          { type: 'endHold', at: 0, session: id, fence, ownerBroker: 'another' },
          { type: 'refresh', ...fields, fence, ttl: 3 },
        ]),
      ]
    }),
  ],
}

describe('table: small worlds', () => {
  // The depth is the number of commands in the longest order. A full run goes deeper, but less
  // deep if the sessions differ, because such a world has several times as many orders.
  for (const [name, world, depth] of [
    ['three sessions and two keys', contention, quickOrFull(3, 5)],
    ['two sessions that resume', resumes, quickOrFull(3, 5)],
    ['two sessions on a sometimes quiet table', quietTimes, quickOrFull(3, 5)],
    ['two sessions at three brokers', ownerBrokers, quickOrFull(4, 6)],
    ['three sessions and two barriers', gathering, quickOrFull(4, 5)],
    ['four sessions and one grant for each command', oneGrantPerCommand, quickOrFull(4, 6)],
    ['three sessions that hold for a limited time', limitedHolds, quickOrFull(3, 4)],
    ['three sessions that call `once`', callingOnce, quickOrFull(3, 4)],
    ['three sessions that share permits', sharedPermits, quickOrFull(3, 5)],
    ['three sessions that campaign', electing, quickOrFull(3, 4)],
    ['three sessions that upgrade', upgrading, quickOrFull(4, 5)],
    ['three sessions that upgrade on a sometimes quiet table', quietUpgrading, quickOrFull(4, 5)],
    ['three sessions with sets', lockedSets, quickOrFull(3, 4)],
    ['three sessions with sets and one grant for each command', setsOneByOne, quickOrFull(3, 4)],
  ] as const) {
    it(`the table agrees with the model in every order of up to ${depth} commands of ${name}`, function () {
      this.timeout(quickOrFull(240_000, 1_200_000))
      const { states, commandCount } = explore(world, depth)
      this.test!.title += ` (${commandCount} commands, ${states} states)`
      // A world whose moves have no effect would have a few states only.
      expect(states).to.be.greaterThan(quickOrFull(50, 500))
    })
  }
})
