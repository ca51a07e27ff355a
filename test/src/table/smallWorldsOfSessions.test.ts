/**
 * Small worlds in which sessions resume, end and change their owner broker. The test tries every
 * order of a few commands, and compares the table with the model after each command (see
 * `smallWorlds.ts`).
 */
import type { Command } from '@holdfast/server/core'
import { quickOrFull } from '../support/counts.js'
import { definedValues, distinctSessions, lock, openCommand } from './smallWorldCommands.js'
import { testSmallWorld, type World } from './smallWorlds.js'

/** Two sessions that can resume. The moves contain valid and invalid resumes. */
const resumes: World = {
  start: ['a', 'b'].map((session) => openCommand(session, 5_000)),
  moves: (state) =>
    distinctSessions(state).flatMap((session) => {
      const { id, attachEpoch, lastId, held, waiting, answers, ownerEpoch } = session
      const fields = { at: 0, session: id, attachEpoch }
      const formerConnection = { at: 0, session: id, attachEpoch: attachEpoch - 1 }
      const identity = { session: id, handshakeId: 'try', principal: 'p' } as const
      const resume = { type: 'resume', at: 0, ownerBroker: 'one', ...identity } as const
      const newSecret = `${id}${attachEpoch + 1}`
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
        { type: 'suspend', ...formerConnection, keep: false },
        { type: 'end', ...fields, reason: 'expired' },
        { type: 'end', ...formerConnection, reason: 'expired' },
      ]
      // A proof is the secret that the client presents. `${id}1` is the first secret.
      for (const proof of new Set([session.secret, session.nextSecret, `${id}1`])) {
        if (proof === undefined) continue
        for (const resumeAttempt of [undefined, 1, 2])
          moves.push({ ...resume, proof, resumeAttempt, secret: newSecret })
      }
      // `state.fence + 1` is the fence of the next grant, so no lock has this fence yet.
      for (const fence of definedValues(held[0], state.fence + 1)) {
        moves.push({ type: 'unlock', ...fields, id: lastId + 1, fence })
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 0, ownerEpoch })
      }
      // A refresh raises the generation of a lock. So only one of the expiries with the generations
      // 0 (above) and 1 can have the present generation.
      for (const fence of definedValues(held[0])) {
        moves.push({ type: 'refresh', ...fields, id: lastId + 1, fence, ttl: 7 })
        moves.push({ type: 'expire', at: 0, session: id, fence, generation: 1, ownerEpoch })
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
 * owner broker ends, another broker takes over the session (`restart`). One session can resume.
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
        const newSecret = `${id}${attachEpoch + 1}`
        const identity = { session: id, handshakeId: 'try', principal: 'p' } as const
        const resume = { type: 'resume', at: 0, ...identity, proof, secret: newSecret } as const
        moves.push({ ...resume, ownerBroker: 'one', resumeAttempt: 1 })
        moves.push({ ...resume, ownerBroker: 'two', resumeAttempt: 2 })
      }
      // The table ignores an expiry from a broker that is not the present owner.
      for (const fence of definedValues(held[0])) {
        for (const ownerEpoch of [0, 1, 2]) {
          moves.push({ type: 'expire', at: 0, session: id, fence, generation: 0, ownerEpoch })
        }
      }
      for (const request of definedValues(waiting[0])) {
        moves.push({ type: 'timeout', at: 0, session: id, request })
      }
      return moves
    }),
  ],
}

describe('table: small worlds of sessions', () => {
  testSmallWorld('two sessions that resume', resumes, quickOrFull(3, 5))
  testSmallWorld('two sessions at three brokers', ownerBrokers, quickOrFull(4, 6))
})
