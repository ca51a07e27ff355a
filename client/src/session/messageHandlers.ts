/**
 * The table of the broker's messages: one entry for each type, which says what the message does to
 * the session. The compiler refuses a table without an entry for a type.
 */
import { type Draining, type Expiring, maxReasonLength, type ServerMessage } from '@holdfast/shared'
import type { HeldLocks } from '../locks/heldLocks.js'
import type { Reconciler } from '../locks/reconciler.js'
import type { Scheduler } from '../platform/scheduler.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import type { Response } from '../requests/requests.js'
import type { ResponseRouter } from '../requests/responseRouter.js'
import type { Connection } from '../transport/connection.js'
import type { LeaseMonitor } from './leaseMonitor.js'
import type { SessionControllerListener } from './sessionEvents.js'
import type { Watches } from './watch.js'

/** The parts of a session that messages change. */
export interface MessageTargets {
  readonly scheduler: Scheduler
  readonly pendingRequests: PendingRequests
  readonly heldLocks: HeldLocks
  readonly watches: Watches
  readonly lease: LeaseMonitor
  readonly responseRouter: ResponseRouter
  readonly listener: SessionControllerListener
  /** Present while the session is being resumed. */
  readonly reconciler: Reconciler | undefined
  /** The last part of the snapshot has arrived. */
  finishResume(connection: Connection): void
}

/** A handler for every message but `welcome`, which the connection handles. */
export type MessageHandlers = {
  readonly [T in Exclude<ServerMessage['type'], 'welcome'>]: (
    message: Extract<ServerMessage, { type: T }>,
    connection: Connection,
  ) => void
}

export function createMessageHandlers(targets: MessageTargets): MessageHandlers {
  const { scheduler, pendingRequests, heldLocks, watches, lease, responseRouter, listener } =
    targets
  const respond = (isStored: boolean) => (response: Response, connection: Connection) => {
    const isResuming = targets.reconciler !== undefined
    const sentAt = responseRouter.route(response, connection, isStored, isResuming)
    if (sentAt !== undefined) lease.extend(sentAt)
  }
  /** The broker stores these responses until the client acknowledges them. */
  const stored = respond(true)
  const unstored = respond(false)
  const notify = ({ type, within }: Draining | Expiring) => listener.notify(type, { within })
  return {
    granted: stored,
    unlocked: stored,
    refreshed: stored,
    revoked: stored,
    authenticated: unstored,
    found: unstored,
    stats: unstored,
    failed: (message, connection) => {
      if (!watches.onFailed(message)) stored(message, connection)
    },
    watching: (message) => watches.onPart(message),
    event: (message) => watches.onEvent(message),
    lost: ({ fence, reason, note }) => {
      targets.reconciler?.lost.add(fence)
      const lock = heldLocks.get(fence)
      if (lock !== undefined) {
        heldLocks.lose([lock], reason, note?.slice(0, maxReasonLength) || undefined)
      }
    },
    ping: ({ n }, connection) => {
      pendingRequests.pong(n, connection)
      // A hidden tab delays the client's timer by up to a minute, but not a `ping`.
      scheduler.run()
    },
    ack: ({ n, at }, connection) => {
      const sent = connection.arrived(n)
      pendingRequests.onAck(n)
      if (sent === undefined) return
      heldLocks.clockSample = { sent, received: at }
      lease.extend(sent)
    },
    snapshot: (message, connection) => {
      if (targets.reconciler?.add(message)) targets.finishResume(connection)
    },
    draining: notify,
    expiring: notify,
  }
}
