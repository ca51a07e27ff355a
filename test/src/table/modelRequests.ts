/**
 * Turns the commands `lock` and `lockAll` into requests, which the model of the lock table grants,
 * queues or refuses. Fields that only other kinds of requests use are undefined.
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
  const ownFields = { session: session.id, id, ttl, timeout, metadata, since: at, maxHold, notify }
  const unusedFields = { set: undefined, once: undefined, upgradeOf: undefined }
  const kindFields = { permits, capacity, election, scope, ...unusedFields }
  return { ...ownFields, key, mode, ...kindFields }
}

/** The requests for the keys of a set. The first request has the deadlines of the set. */
export function setRequests(
  session: ModelSession,
  { id, items, ttl, timeout, metadata, at, extras }: Extract<Command, { type: 'lockAll' }>,
): PlainRequest[] {
  const maxHold = shortestOf(extras?.maxHold, session.limits.maxHold)
  const ownFields = { session: session.id, id, metadata, since: at, set: keysOf(items) }
  const common = { ...ownFields, maxHold, notify: extras?.notify }
  return items.map(({ key, mode, permits, capacity }, i) => {
    const deadlines = i === 0 ? { ttl, timeout } : { ttl: undefined, timeout: undefined }
    const unusedFields = { once: undefined, election: undefined, upgradeOf: undefined }
    const kindFields = { permits, capacity, scope: extras?.scope, ...unusedFields }
    return { ...common, ...deadlines, key, mode, ...kindFields }
  })
}
