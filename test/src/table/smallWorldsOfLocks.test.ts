/**
 * Small worlds of exclusive and shared locks: sessions that compete for keys, a quiet table, a
 * limited number of grants for each command, and holds of limited time. The test tries every order
 * of a few commands, and compares the table with the model after each command (see
 * `smallWorlds.ts`).
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
  shared,
} from './smallWorldCommands.js'
import { testSmallWorld, type World } from './smallWorlds.js'

/**
 * Three sessions without a grace that compete for two keys. A session without a grace
 * ends when its connection drops, unless the broker itself has closed the connection (`keep`).
 */
const contention: World = {
  start: ['a', 'b', 'c'].map((session) => openCommand(session, 0)),
  moves: (state) =>
    distinctSessions(state).flatMap((session) => {
      const { id, attachEpoch, lastId, held, waiting, ownerEpoch } = session
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
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 0, ownerEpoch })
      }
      return moves
    }),
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
    // The broker takes over all sessions, and so suspends them.
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

/**
 * Three sessions, one with a grace, that hold locks for a limited time (`maxHold`), at two brokers.
 * Session b may hold a lock for at most 7 ms, although some requests ask for 9 ms. A refresh does
 * not prolong a hold. The table ignores an `endHold` with another owner epoch.
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
      const lockRequest = lock(session, 'k', 'exclusive', { ttl: 60_000 })
      const setRequest = lockAll(session, [exclusive('k'), shared('l')])
      return [
        { ...lockRequest, extras: { maxHold: 9, notify: ['queued'] } } as Command,
        { ...setRequest, extras: { maxHold: 5, notify: ['contended'] } } as Command,
        lock(session, 'l', 'shared'),
        lock(session, 'l', 'exclusive', { timeout: 0 }),
        ...endings(session),
        ...definedValues(held[0], held.at(-1), 1).flatMap((fence): Command[] => [
          { type: 'endHold', at: 0, session: id, fence, ownerEpoch: session.ownerEpoch },
          { type: 'endHold', at: 0, session: id, fence, ownerEpoch: 7 },
          { type: 'refresh', ...fields, fence, ttl: 3 },
        ]),
      ]
    }),
  ],
}

describe('table: small worlds of locks', () => {
  testSmallWorld('three sessions and two keys', contention, quickOrFull(3, 5))
  testSmallWorld('two sessions on a sometimes quiet table', quietTimes, quickOrFull(3, 5))
  testSmallWorld(
    'four sessions and one grant for each command',
    oneGrantPerCommand,
    quickOrFull(4, 6),
  )
  testSmallWorld('three sessions that hold for a limited time', limitedHolds, quickOrFull(3, 4))
})
