/**
 * Answers the messages that read the lock table and do not change the table: `query`, `watch` and
 * `stats`. A client may see only the keys for which it has the permission, so each answer leaves
 * out all other keys.
 *
 * The result of a search is sent in chunks while the search continues. Such an answer blocks the
 * input: the next messages of the client wait until the last chunk is sent.
 */
import {
  maxQueryItems,
  type QueryRequest,
  type SessionInfo,
  type StatsRequest,
  type WatchRequest,
} from '@holdfast/shared'
import { type BrokerLimits, limitMessage } from '../config/limits.js'
import { costOfKeys } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionPolicy, Denial } from '../connection/connectionPolicy.js'
import type { PacedMessages } from '../connection/sendQueue.js'
import type { Session } from '../core/index.js'
import type { RefusalNotice } from '../observability/observer.js'
import {
  foundChunks,
  type PacedChunks,
  pageChunks,
  watchingChunks,
} from '../protocol/chunkedResponses.js'
import { encodeFailed, encodeFoundSession, encodeStats } from '../protocol/encodeAnswers.js'
import { recordChunks } from '../protocol/recordChunks.js'
import type { LockTimes } from './lockTimes.js'
import { type KeySelection, TableSearch } from './queries.js'
import { PageBuilder } from './queryPage.js'
import { type RecordTimers, searchRecords } from './recordSearch.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

/** The parts of the broker that these answers need. */
export interface QueryContext {
  readonly liveTable: LiveTable
  readonly statistics: Pick<Statistics, 'snapshot'>
  readonly watchRegistry: Pick<WatchRegistry, 'has' | 'countOf' | 'add'>
  readonly limits: Pick<BrokerLimits, 'watchesPerSession'>
  readonly time: RecordTimers
  readonly lockTimes: Pick<LockTimes, 'remainingTimesOf'>
  /** The connection of each session that is attached to this broker. */
  readonly attached: ReadonlyMap<Session, Connection>
  /** Tells the observer, if there is one, that a message was refused. */
  report(connection: Connection, notice: RefusalNotice): void
}

/** The permissions to see a key. */
type ReadOperation = 'query' | 'watch'

/**
 * Returns the permission check for messages that ask for the locks of a key. A message without a
 * key needs no permission here, because its answer contains only keys that the client may see.
 */
export function checkReadOfKey(
  operation: ReadOperation,
): (
  policy: ConnectionPolicy,
  message: { readonly key?: string | undefined },
) => Denial | undefined {
  return (policy, { key }) =>
    key === undefined ? undefined : policy.checkPermission(operation, key)
}

/** Sends what a query asks for: locks and their queues, barriers, kept results, or one session. */
export function answerQuery(
  context: QueryContext,
  connection: Connection,
  message: QueryRequest,
): void {
  const { liveTable, time, lockTimes } = context
  const { id, key, prefix, limit = maxQueryItems, after, afterFence, kind = 'locks' } = message
  if (kind === 'sessions') {
    // The validation of messages requires the field `session` for this kind.
    const info = visibleSession(context, connection, message.session!)
    connection.send(encodeFoundSession(id, info))
    return
  }
  const selection: KeySelection = { key, prefix, isVisible: keyFilterFor(connection, 'query') }
  if (kind !== 'locks') {
    const search = searchRecords(kind, liveTable.current, time, selection)
    const chunks = recordChunks(id, search, limit)
    connection.stream(endSearchOnClose(search, chunks), /* blocksInput */ true)
    return
  }
  const search = new TableSearch(liveTable.current, selection, lockTimes)
  const chunks =
    after === undefined
      ? foundChunks(id, search, limit)
      : pageChunks(id, search, new PageBuilder({ after, afterFence }, limit))
  connection.stream(endSearchOnClose(search, chunks), /* blocksInput */ true)
}

/**
 * Returns a session as the client of this connection may see it; undefined if the session does not
 * exist. The principal and the address are private, so they need the permission `inspect`.
 */
function visibleSession(
  { liveTable, attached }: QueryContext,
  { policy }: Connection,
  sessionId: string,
): SessionInfo | undefined {
  const session = liveTable.current.sessions.get(sessionId)
  if (session === undefined) return undefined
  const { lease, grace, principal } = session
  const info = { session: sessionId, lease, grace, connected: !session.suspended }
  // The permission `inspect` belongs to no key, so the key is ''. Without a policy, the client may
  // see everything.
  const mayInspect = policy?.may('inspect', '') ?? true
  return mayInspect ? { ...info, principal, address: attached.get(session)?.remoteAddress } : info
}

/**
 * Sends the present locks and requests, and adds the watch to the registry. From then on, the
 * client gets the events of the keys.
 */
export function answerWatch(
  { liveTable, watchRegistry, limits, lockTimes, report }: QueryContext,
  connection: Connection,
  { id, key, prefix, queue = false }: WatchRequest,
): void {
  const limit = limits.watchesPerSession
  // A watch with the id of an older watch replaces the older watch, so the count stays the same.
  if (!watchRegistry.has(connection, id) && watchRegistry.countOf(connection) >= limit) {
    connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', limitMessage('watchesPerSession', limit)))
    report(connection, { cause: 'watches_per_session', operation: 'watch', key })
    return
  }
  const selection: KeySelection = { key, prefix, isVisible: keyFilterFor(connection, 'watch') }
  // The stream is queued before any event. So the client first gets the present locks and requests,
  // and then the events.
  const search = new TableSearch(liveTable.current, selection, lockTimes)
  connection.stream(
    endSearchOnClose(search, watchingChunks(id, search, maxQueryItems, queue)),
    /* blocksInput */ true,
  )
  watchRegistry.add(connection, id, selection, search, queue)
}

/** Sends the counters and the newest refused deadlocks. Hides keys that the client may not see. */
export function answerStats(
  { statistics, liveTable }: QueryContext,
  connection: Connection,
  { id }: StatsRequest,
): void {
  const stats = statistics.snapshot(liveTable.current)
  const isVisible = keyFilterFor(connection, 'query')
  const cycleKeyCount = stats.deadlocks?.flatMap(({ cycle }) => cycle).length ?? 0
  // The connection pays for the permission checks, one for each key of the deadlocks.
  if (isVisible !== undefined)
    connection.charge(costOfKeys(cycleKeyCount, /* checksPermission */ true))
  connection.send(encodeStats(id, stats, isVisible))
}

/**
 * Returns a function that says whether the client may see a key, by the permissions that the client
 * has at the time of the call. Returns undefined if the client may see all keys.
 */
function keyFilterFor(
  connection: Connection,
  operation: ReadOperation,
): ((key: string) => boolean) | undefined {
  const { policy } = connection
  return policy === undefined ? undefined : (key) => policy.may(operation, key)
}

/**
 * Wraps the chunks of an answer, so that the search ends even if the connection closes before all
 * chunks are sent.
 */
function endSearchOnClose(search: { end(): void }, chunks: PacedChunks): PacedMessages {
  return {
    next: () => chunks.next(),
    return: () => {
      search.end()
      return { done: true, value: undefined }
    },
  }
}
