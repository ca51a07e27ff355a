/**
 * Small worlds of the other kinds of locks, beside ordinary locks: permits, sets, `once`, elections
 * and upgrades. One world has barriers, which are no locks. The test tries every order of a few
 * commands, and compares the table with the model after each command (see `smallWorlds.ts`).
 */
import type { Command } from '@holdfast/server/core'
import { quickOrFull } from '../support/counts.js'
import {
  definedValues,
  distinctSessions,
  endings,
  exclusive,
  limits,
  lock,
  lockAll,
  openCommand,
  permits,
  shared,
} from './smallWorldCommands.js'
import { testSmallWorld, type World } from './smallWorlds.js'

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
      // Revokes an own lock, or nothing if the lock is on another key.
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
    // The broker takes over all sessions, and so suspends them.
    { type: 'restart', at: 0, formerOwner: undefined, ownerBroker: 'one' },
    ...lockedSets.moves(state),
  ],
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
          // Revokes the newest grant of the table, whichever session holds this lock.
          { type: 'revoke', ...fields, key: 'k', fence: state.fence, note: '' },
        ]),
        ...endings(session),
      ]
    }),
}

/** The world `upgrading` on a table that is sometimes quiet, and then grants only steals. */
const quietUpgrading: World = {
  ...upgrading,
  moves: (state) => [{ type: 'quiet', at: 0, quiet: !state.quiet }, ...upgrading.moves(state)],
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

describe('table: small worlds of other kinds of locks', () => {
  testSmallWorld('three sessions that share permits', sharedPermits, quickOrFull(3, 5))
  testSmallWorld('three sessions with sets', lockedSets, quickOrFull(3, 4))
  testSmallWorld(
    'three sessions with sets and one grant for each command',
    setsOneByOne,
    quickOrFull(3, 4),
  )
  testSmallWorld('three sessions that call `once`', callingOnce, quickOrFull(3, 4))
  testSmallWorld('three sessions that campaign', electing, quickOrFull(3, 4))
  testSmallWorld('three sessions that upgrade', upgrading, quickOrFull(4, 5))
  testSmallWorld(
    'three sessions that upgrade on a sometimes quiet table',
    quietUpgrading,
    quickOrFull(4, 5),
  )
  testSmallWorld('three sessions and two barriers', gathering, quickOrFull(4, 5))
})
