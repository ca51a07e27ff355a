/**
 * Turns the commands `lock` and `lockAll` into requests, which the model of the lock table grants,
 * queues or refuses. A request of one kind has the fields of all kinds. The fields of the other
 * kinds are undefined.
 */
import type { Command } from '@holdfast/server/core'
import { keysOf, type ModelSession, shortestOf } from './modelState.js'
import type { PlainRequest } from './plainValues.js'

/** A request for a lock on one key. */
export function lockRequest(
  session: ModelSession,
  command: Extract<Command, { type: 'lock' }>,
): PlainRequest {
  const { id, key, mode, ttl, timeout, metadata, at, extras } = command
  const { permits, capacity, notify, election, scope } = extras ?? {}
  const maxHold = shortestOf(extras?.maxHold, session.limits.maxHold)
  const commonFields = { session: session.id, id, key, mode, ttl, timeout, metadata, since: at }
  const extraFields = { permits, capacity, notify, election, scope, maxHold }
  const unusedFields = { set: undefined, once: undefined, upgradeOf: undefined }
  return { ...commonFields, ...extraFields, ...unusedFields }
}

/**
 * One request for each key of a set. The ttl and the timeout apply to the whole set, so only the
 * first request has them.
 */
export function setRequests(
  session: ModelSession,
  { id, items, ttl, timeout, metadata, at, extras }: Extract<Command, { type: 'lockAll' }>,
): PlainRequest[] {
  const maxHold = shortestOf(extras?.maxHold, session.limits.maxHold)
  const setFields = { session: session.id, id, metadata, since: at, set: keysOf(items) }
  const extraFields = { maxHold, notify: extras?.notify, scope: extras?.scope }
  return items.map(({ key, mode, permits, capacity }, i) => {
    const deadlines = i === 0 ? { ttl, timeout } : { ttl: undefined, timeout: undefined }
    const unusedFields = { once: undefined, election: undefined, upgradeOf: undefined }
    const itemFields = { key, mode, permits, capacity }
    return { ...setFields, ...extraFields, ...deadlines, ...itemFields, ...unusedFields }
  })
}
