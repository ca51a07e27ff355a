/**
 * Mutants (planted bugs) of the client: which locks the client regards as held, what the client
 * requests, and what it unlocks. A lease is how long the broker keeps a silent session. A grace is
 * how long the broker keeps a session after its connection dropped. A ttl is how long a lock lasts
 * without a refresh. The idle lease, twice the lease, is for a session that holds nothing and waits
 * for nothing. A heartbeat is a `pong` that answers no `ping`. After a resume, the reconciler
 * compares the locks and requests of the client with those that the broker lists. In a pattern,
 * `$NAME` stands for any expression.
 */
import type { Mutant } from '../mutant.js'

const clocks: Mutant[] = [
  {
    name: 'client-ignores-wall-clock',
    in: 'Scheduler.runExpired',
    find: 'this.#expiriesByMonotonic.popDue($MONOTONIC) ?? this.#expiriesByWall.popDue($WALL)',
    replace: 'this.#expiriesByMonotonic.popDue($MONOTONIC)',
    why: 'After the sleep of its machine, a holder believes that no time has passed.',
  },
  {
    name: 'client-trusts-only-wall-clock',
    in: 'Scheduler.runExpired',
    find: 'this.#expiriesByMonotonic.popDue($MONOTONIC) ?? this.#expiriesByWall.popDue($WALL)',
    replace: 'this.#expiriesByWall.popDue($WALL)',
    why: 'A wall clock that is set back gives a holder more time than its lease.',
  },
  {
    name: 'client-expiry-without-margin',
    in: 'expiryFrom',
    find: 'safeDuration($MS)',
    replace: '$MS',
    why: 'A holder counts the whole lease or ttl by its own clock, which may be slower than the clock of the broker.',
  },
  {
    name: 'client-ttl-half-a-second-late',
    in: 'expiryBySample',
    find: '$AT - $RECEIVED + $TTL',
    replace: '$AT - $RECEIVED + 500 + $TTL',
    why: 'A holder believes in a lock half a second longer than its ttl allows.',
  },
  {
    name: 'client-lease-from-receipt',
    in: 'LeaseMonitor.extend',
    find: 'expiryFrom($SENT, $LEASE)',
    replace: 'expiryFrom(this.#scheduler.now(), $LEASE)',
    why: 'A holder counts its lease from the receipt of an ack, not from the sending of the message that the ack confirms.',
  },
  {
    name: 'client-lease-check-never-moves-forward',
    in: 'LeaseMonitor.#setExpiry',
    find: '!isEarlyEnough',
    replace: 'scheduled === undefined',
    testFile: 'client/holding',
    why: 'The check of the lease never moves to an earlier time, so a session with a long lease outlives its grace.',
  },
  {
    name: 'client-sends-no-heartbeat',
    in: 'LeaseMonitor.#checkHeartbeat',
    find: '$LISTENER.sendPong()',
    replace: 'undefined',
    testFile: 'client/heartbeat',
    why: 'The client sends a pong only as the answer to a ping.',
  },
  {
    name: 'client-heartbeat-ignores-locks',
    in: 'LeaseMonitor.#heartbeatMs',
    find: '$LISTENER.isIdle',
    replace: 'true',
    testFile: 'client/heartbeat',
    why: 'A client with a lock sends heartbeats as seldom as an idle client.',
  },
  {
    name: 'client-idle-lease-when-busy',
    in: 'LeaseMonitor.extendByIdlePong',
    find: '!$LISTENER.isIdle',
    replace: 'false',
    testFile: 'client/heartbeat',
    why: 'The client relies on the idle lease although it has requested a lock since its pong.',
  },
  {
    name: 'client-asks-for-idle-lease-when-busy',
    in: 'SessionController.sendPong',
    find: 'this.isIdle',
    replace: 'true',
    testFile: 'client/heartbeat',
    why: 'The client asks for the idle lease although it holds or waits for a lock.',
  },
  {
    name: 'client-refresh-counts-late',
    in: 'TtlExpiry.confirmRefresh',
    find: 'expiryFrom($SENT, $TTL)',
    replace: 'expiryFrom({ monotonic: $SENT.monotonic + 300, wall: $SENT.wall + 300 }, $TTL)',
    why: 'A holder counts a refreshed ttl from 300 ms after it sent the refresh.',
  },
]

const losses: Mutant[] = [
  {
    name: 'client-frames-before-deadlines',
    in: 'SessionController.onFrame',
    find: '$SCHEDULER.runExpired()',
    replace: 'undefined',
    why: 'A client that wakes up handles waiting frames first and checks its deadlines later.',
  },
  {
    name: 'client-held-ignores-clock',
    in: 'client/Lock.held',
    find: '$GRANTED_LOCK.runExpired()',
    replace: 'undefined',
    why: 'The property `held` is still true after the expiry if no timer has run.',
  },
  {
    name: 'client-ignores-lost',
    in: 'createMessageHandlers',
    find: '$HELD_LOCKS.lose([$LOCK], $$$REASON)',
    replace: 'undefined',
    why: 'A holder believes in a lock although the broker has reported its loss.',
  },
  {
    name: 'client-signal-not-aborted',
    in: 'client/Lock.onLost',
    find: '$CONTROLLER?.abort($ERROR)',
    replace: 'undefined',
    why: 'The client does not abort the signal of a lock when the lock is lost.',
  },
  {
    name: 'client-locks-outlive-lease',
    in: 'SessionController.onLeaseOver',
    find: '$HELD_LOCKS.loseAll($$$REASON)',
    replace: 'undefined',
    why: 'A holder believes in its locks although the lease of its session is over.',
  },
  {
    name: 'client-locks-outlive-connection',
    in: 'SessionController.onDisconnected',
    find: 'this.#endSession($$$ARGUMENTS)',
    replace: 'undefined',
    why: 'A holder without a grace believes in its locks although its connection has dropped.',
  },
  {
    name: 'client-resume-keeps-lost-locks',
    in: 'Reconciler.settle',
    find: '$HELD_LOCKS.lose($GONE)',
    replace: 'undefined',
    why: 'After a resume, a holder believes in locks that the broker no longer lists.',
  },
]

const requests: Mutant[] = [
  {
    name: 'client-abort-sends-no-cancel',
    in: 'PendingRequests.abandon',
    find: 'this.#sendCancel($REQUEST)',
    replace: 'undefined',
    why: 'The client sends no cancel for a request that its caller gave up, so the request stays queued.',
  },
  {
    name: 'client-resume-sends-nothing-again',
    in: 'PendingRequests.startSending',
    find: '$REQUEST.brokerStoresResponse && !$WAITS',
    replace: '$REQUEST.brokerStoresResponse && !$WAITS && $REQUEST.sentOn === undefined',
    why: 'After a resume, the client does not repeat a request that never arrived.',
  },
  {
    name: 'client-keeps-late-grant',
    in: 'LockRequest.onResponse',
    find: '$KEEPER.unlockFence($FENCE)',
    replace: 'undefined',
    why: 'The client does not unlock a lock that is granted after its caller gave up.',
  },
  {
    name: 'client-resume-keeps-unwanted-locks',
    in: 'Reconciler.settle',
    find: '$HELD_LOCKS.unlockFence($FENCE)',
    replace: 'undefined',
    why: 'After a resume, the client does not unlock locks that no caller wants.',
  },
  {
    name: 'client-connect-timeout-never-grows',
    in: 'connectTimeoutFor',
    find: '$MS * 2 ** $ROUNDS',
    replace: '$MS',
    brokers: 3,
    why: 'A client gives up every attempt to connect after the same time, just before the welcome comes.',
  },
]

export const clientMutants: readonly Mutant[] = [...clocks, ...losses, ...requests]
