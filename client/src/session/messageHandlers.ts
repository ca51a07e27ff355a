/**
 * Handles the messages of the broker. A table has one handler for each message type, except three
 * types (see `MessageHandlers`). The handlers change the parts of the session. The compiler refuses
 * a table that lacks a type.
 *
 * The lease is the time for which the broker keeps a session without hearing from the client. A
 * resume continues a session on a new connection. After a resume, the broker sends a snapshot: the
 * held locks and waiting requests of the session. A fence is the number of a granted lock.
 */
import { type Draining, type Expiring, maxReasonLength, type ServerMessage } from '@holdfast/shared'
import type { HeldLocks } from '../locks/heldLocks.js'
import type { Reconciler } from '../locks/reconciler.js'
import type { Scheduler } from '../platform/scheduler.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import type { Response } from '../requests/requests.js'
import type { Connection } from '../transport/connection.js'
import type { LeaseMonitor } from './leaseMonitor.js'
import type { SessionControllerListener } from './sessionEvents.js'
import type { Watches } from './watch.js'

/** The parts of a session that the handlers change. */
export interface MessageTargets {
  readonly scheduler: Scheduler
  readonly pendingRequests: PendingRequests
  readonly heldLocks: HeldLocks
  readonly watches: Watches
  readonly lease: LeaseMonitor
  readonly listener: SessionControllerListener
  /** Collects the parts of the snapshot during a resume; undefined at other times. */
  readonly reconciler: Reconciler | undefined
  /**
   * The message number of the newest `pong`: its position among all messages that the client sent
   * on the present connection. Undefined if this `pong` did not ask for the idle lease (twice the
   * ordinary lease).
   */
  readonly idlePongNumber: number | undefined
  /**
   * Handles a response to a request.
   *
   * @param isStored Whether the broker stores responses of this type until they are acknowledged.
   */
  onResponse(response: Response, connection: Connection, isStored: boolean): void
  /** Answers a `ping`. */
  sendPong(pingNumber: number): void
  /** Ends the resume. Called when all parts of the snapshot have arrived. */
  finishResume(connection: Connection): void
}

/**
 * One handler for each message type, except three types. The connection handles `welcome`. The
 * session controller handles `granted` and `unlocked`, which are so frequent that they bypass the
 * table.
 */
type MessageHandlers = {
  readonly [T in Exclude<ServerMessage['type'], 'welcome' | 'granted' | 'unlocked'>]: (
    message: Extract<ServerMessage, { type: T }>,
    connection: Connection,
  ) => void
}

/** The handlers by type. The type is a `string`, because a newer broker may send unknown types. */
export type MessageHandlersByType = ReadonlyMap<
  string,
  (message: ServerMessage, connection: Connection) => void
>

export function createMessageHandlers(targets: MessageTargets): MessageHandlersByType {
  const { scheduler, pendingRequests, heldLocks, watches, lease, listener } = targets
  /** Makes a handler that passes a response to its request. */
  const responseHandler = (isStored: boolean) => (response: Response, connection: Connection) =>
    targets.onResponse(response, connection, isStored)
  // For some types of responses, the broker stores a response until the client acknowledges it.
  const onStoredResponse = responseHandler(/* isStored */ true)
  const onUnstoredResponse = responseHandler(/* isStored */ false)
  const notifyListener = ({ type, within }: Draining | Expiring) =>
    listener.notify(type, { within })
  const handlers: MessageHandlers = {
    downgraded: onStoredResponse,
    scopeEnded: onStoredResponse,
    refreshed: onStoredResponse,
    proclaimed: onStoredResponse,
    revoked: onStoredResponse,
    passed: onStoredResponse,
    result: onStoredResponse,
    authenticated: onUnstoredResponse,
    found: onUnstoredResponse,
    stats: onUnstoredResponse,
    failed: (message, connection) => {
      // A watch is not a `Request`, so `watches` handles the refusal of a watch.
      // Every other refusal counts as stored, because the broker stores some refusals.
      if (!watches.onFailed(message)) onStoredResponse(message, connection)
    },
    watching: (message) => watches.onWatching(message),
    event: (message) => watches.onEvent(message),
    lost: ({ fence, reason, note }) => {
      // During a resume, the snapshot may still list the lost lock. The reconciler must then treat
      // that lock as lost.
      targets.reconciler?.lostFences.add(fence)
      const lock = heldLocks.get(fence)
      if (lock !== undefined) {
        // Callers may rely on a note of 1 to 256 characters, even if a faulty broker sends an empty
        // or a longer note.
        heldLocks.lose([lock], reason, note?.slice(0, maxReasonLength) || undefined)
      }
    },
    queued: ({ id, ahead, holders }) => pendingRequests.get(id)?.onQueued({ ahead, holders }),
    contended: ({ fence, waiting }) => heldLocks.get(fence)?.onContended({ waiting }),
    ping: ({ n: pingNumber }) => {
      targets.sendPong(pingNumber)
      // Runs due tasks, because a hidden tab delays timers by up to a minute, but does not delay
      // messages.
      scheduler.runDue()
    },
    ack: ({ n: receivedCount, at: receivedAt }, connection) => {
      // When the client sent message `receivedCount`; undefined if the broker is known to have
      // received a later message.
      const sentAt = connection.noteReceivedByBroker(receivedCount)
      pendingRequests.onReceiptConfirmed(receivedCount)
      if (sentAt === undefined) return
      heldLocks.clockSample = { sent: sentAt, received: receivedAt }
      if (receivedCount === targets.idlePongNumber) lease.extendByIdlePong(sentAt)
      else lease.extend(sentAt)
    },
    snapshot: (message, connection) => {
      // `add` returns true for the last part.
      if (targets.reconciler?.add(message)) targets.finishResume(connection)
    },
    draining: notifyListener,
    expiring: notifyListener,
  }
  return new Map(Object.entries(handlers)) as MessageHandlersByType
}
