/**
 * The commands that several small worlds try (see `smallWorlds.ts`). Most functions make commands
 * of one session from its plain state. Such a command comes on the present connection of the
 * session and has the next id, unless the caller overrides these fields.
 */
import type { Command, SetItem } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import type { PlainSession, PlainState } from './plainValues.js'

/** Limits that a session reaches with a few commands. */
export const limits = { locks: 3, answers: 3, waitersPerKey: 2, barriers: 2 }

/**
 * The command that opens a session. Only a session with a grace has a secret. In these worlds, a
 * secret is the name of the session and the number of the connection (`attachEpoch`): `a1`, `a2`.
 */
export function openCommand(session: string, grace: number): Command {
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

/** A request of a session for a lock. */
export function lock(
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

/** A request of a session for `wanted` of the `capacity` permits of the key k. */
export function permits(session: PlainSession, wanted: number, capacity: number, timeout?: number) {
  const request = lock(session, 'k', 'permits', timeout === undefined ? {} : { timeout })
  return { ...request, extras: { permits: wanted, capacity } } as Command
}

/** A request of a session for a set: one lock on several keys. */
export function lockAll(
  session: PlainSession,
  items: readonly SetItem[],
  timeout?: number,
): Command {
  const { id, attachEpoch, lastId } = session
  const fields = { at: 0, session: id, attachEpoch, id: lastId + 1 }
  return { type: 'lockAll', ...fields, items, ttl: undefined, timeout, metadata: undefined }
}

/** An item of a set: an exclusive lock on the key. */
export const exclusive = (key: string): SetItem => ({ key, mode: 'exclusive' })
/** An item of a set: a shared lock on the key. */
export const shared = (key: string): SetItem => ({ key, mode: 'shared' })

/**
 * Commands that end a session, its oldest or its newest lock, or its oldest or its newest waiting
 * request.
 */
export function endings(session: PlainSession): Command[] {
  const { id, attachEpoch, lastId, held, waiting, ownerEpoch } = session
  const fields = { at: 0, session: id, attachEpoch }
  return [
    { type: 'end', ...fields, reason: 'goodbye' },
    ...definedValues(held[0]).map(
      (fence): Command => ({ type: 'unlock', ...fields, id: lastId + 1, fence }),
    ),
    ...definedValues(held.at(-1)).map(
      (fence): Command => ({
        type: 'expire',
        at: 0,
        session: id,
        fence,
        // Has an effect until the first refresh of the lock.
        generation: 0,
        ownerEpoch,
      }),
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
 * Returns the distinct values that are defined, such as fences or ids of requests. With one
 * argument, returns one value or none.
 */
export function definedValues(...values: (number | undefined)[]): number[] {
  return [...new Set(values.filter((value) => value !== undefined))]
}

/**
 * Returns the used sessions, and of all unused sessions with the same grace only the first. The
 * others differ from the first only by their names, so their commands would show nothing new.
 */
export function distinctSessions({ sessions }: PlainState): PlainSession[] {
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
