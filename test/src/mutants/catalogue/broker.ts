/**
 * Mutants (planted bugs) of the broker around its lock table: connections, deadlines, answers and
 * watches. A lease is how long the broker keeps a silent session. A grace is how long the broker
 * keeps a session after its connection dropped. A ttl is how long a lock lasts without a refresh.
 * The idle lease, twice the lease, is for a session that holds nothing and waits for nothing.
 *
 * A paused frame was too large for one turn of the event loop: the broker handles the rest in the
 * next turns. In a pause of the broker, its process stands still. The broker notices a pause by a
 * timer that is late by more than a tolerance. A broker that takes over a session starts the
 * deadlines of its locks again, in several turns. In a pattern, `$NAME` stands for any expression.
 * `mutant.ts` explains all fields.
 */
import type { Mutant } from '../mutant.js'

const connections: Mutant[] = [
  {
    name: 'ack-covers-unhandled-messages',
    in: 'Connection.#handleFrame',
    find: '$QUEUE.addRest($TEXT, $AT, $ELEMENTS, $NEXT)',
    replace:
      '($ELEMENTS.slice($NEXT).map(() => this.acks.countMessage($AT)), $QUEUE.addRest($TEXT, $AT, $ELEMENTS, $NEXT))',
    why: 'The broker acknowledges messages of a paused frame that are not handled yet.',
  },
  {
    name: 'rest-of-paused-frame-lost',
    in: 'InputQueue.addRest',
    find: '$NEXT < $ELEMENTS.length',
    replace: 'false',
    why: 'The broker loses the rest of a frame that is too large for one turn of the event loop.',
  },
  {
    name: 'rest-of-paused-frame-reversed',
    in: 'Connection.#handleFrame',
    find: '$QUEUE.addRest($TEXT, $AT, $ELEMENTS, $NEXT)',
    replace: '$QUEUE.addRest($TEXT, $AT, $ELEMENTS.slice($NEXT).reverse(), 0)',
    why: 'The broker handles the remaining messages of a paused frame in reverse order.',
  },
  {
    name: 'frames-do-not-renew-lease',
    in: 'server/Connection.onFrame',
    find: 'this.#receivedAt = $AT',
    replace: 'undefined',
    why: 'The broker does not renew the lease of a session when its client sends a frame.',
  },
  {
    name: 'aborted-connection-ends-its-session',
    in: 'Connections.onAborted',
    find: 'this.#suspendSession($CONNECTION, true)',
    replace: 'this.#suspendSession($CONNECTION, false)',
    why: 'When the broker aborts a connection, it keeps the session only for the grace, not for the lease.',
  },
  {
    name: 'overtaken-resume-wins',
    in: 'isSupersededAttempt',
    find: '$ATTEMPT <= $LAST_ATTEMPT',
    replace: 'false',
    brokers: 3,
    why: 'A resume that the client has given up takes the session from a newer connection.',
  },
]

const deadlines: Mutant[] = [
  {
    name: 'lease-counted-by-wall-clock',
    in: 'Timekeeper.#realNow',
    find: '$CLOCK.monotonic()',
    replace: '$CLOCK.wall()',
    why: 'The broker counts leases by the wall clock, which may be set forward or back.',
  },
  {
    name: 'pause-not-compensated',
    in: 'Timekeeper.#realNow',
    find: 'this.#pausedMs += $LATE_MS',
    replace: 'undefined',
    why: 'The broker counts the time of its own pause as silence of its clients.',
  },
  {
    name: 'compensated-time-goes-back',
    in: 'Timekeeper.now',
    find: 'Math.max($NEWEST, $COMPENSATED)',
    replace: '$COMPENSATED',
    testFile: 'server/timekeeper',
    why: 'The time in messages goes back when the lateness of a timer exceeds the tolerance.',
  },
  {
    name: 'lease-ends-in-announced-time',
    in: 'Timekeeper.hasPassed',
    find: '$REAL_NOW - this.#pausedMs',
    replace: 'this.now()',
    testFile: 'server/timekeeper',
    why: 'The broker checks leases by the time in messages, which may count a part of a pause as elapsed.',
  },
  {
    name: 'deadlines-before-input',
    in: 'Timekeeper.#onTimer',
    find: 'this.#endOfTurn($HANDLE_DUE)',
    replace: '$HANDLE_DUE()',
    why: 'After a pause the broker handles deadlines before the input that arrived during the pause.',
  },
  {
    name: 'lease-ends-early',
    in: 'leaseOf',
    find: '$SESSION.lease * ($HAS_IDLE_LEASE ? idleLeaseFactor : 1)',
    replace: '$SESSION.lease * ($HAS_IDLE_LEASE ? idleLeaseFactor : 1) * 0.9',
    why: 'The broker ends a silent session before its lease is over, and grants its locks to others.',
  },
  {
    name: 'ping-despite-pong',
    in: 'onPong',
    find: 'schedulePing($TIME, $CONNECTION)',
    replace: 'undefined',
    testFile: 'server/connection',
    why: 'The broker sends a ping to a client that sends pongs by itself.',
  },
  {
    name: 'idle-lease-outlives-request',
    in: 'Inbound.handle',
    find: 'endIdleLease($TIME, $CONNECTION)',
    replace: 'undefined',
    testFile: 'server/connection',
    why: 'The broker keeps the idle lease after a request, so a dead holder keeps its locks for longer.',
  },
  {
    name: 'idle-lease-for-holder',
    in: 'onPong',
    find: '$SESSION.lockCount === 0',
    replace: 'true',
    testFile: 'server/connection',
    why: 'The broker keeps the locks of a silent client for twice its lease.',
  },
  {
    name: 'ping-late-for-holder',
    in: 'schedulePing',
    find: '$LOCK_COUNT > 0',
    replace: 'false',
    testFile: 'server/connection',
    why: 'The broker pings a session that holds a lock as seldom as an idle session.',
  },
  {
    name: 'paused-connection-counts-as-silent',
    in: 'DeadlineHandler.#endIfSilent',
    find: '$CONNECTION.isPaused',
    replace: 'false',
    why: 'The broker ends a session as silent although the broker itself has paused its connection.',
  },
  {
    name: 'grace-halved',
    in: 'Outbound.#onSuspended',
    find: '$NOW + $SESSION.grace',
    replace: '$NOW + $SESSION.grace / 2',
    why: 'The broker keeps a disconnected session for only half of its grace.',
  },
  {
    name: 'ttl-ends-early',
    in: 'Outbound.#startTtl',
    find: '$NOW + $LOCK.ttl',
    replace: '$NOW + $LOCK.ttl * 0.85',
    why: 'The broker expires a lock before its ttl is over.',
  },
]

const messages: Mutant[] = [
  {
    name: 'stolen-lock-not-reported',
    in: 'Outbound.#onReleased',
    find: `$OTHERS || $REASON === 'stolen'`,
    replace: '$OTHERS',
    why: 'The broker does not tell a holder that its lock was stolen.',
  },
  {
    name: 'snapshot-without-held-locks',
    in: 'Outbound.#welcome',
    find: 'snapshotChunks($HELD, $WAITING)',
    replace: 'snapshotChunks([], $WAITING)',
    why: 'A resumed session gets a snapshot without its locks.',
  },
  {
    name: 'snapshot-without-waiting-requests',
    in: 'Outbound.#welcome',
    find: 'snapshotChunks($HELD, $WAITING)',
    replace: 'snapshotChunks($HELD, [])',
    why: 'A resumed session gets a snapshot without its waiting requests.',
  },
  {
    name: 'paused-query-skips-key',
    in: 'keysOf',
    find: 'yield $SEARCH.costPerStep + $SKIPPED_COST;',
    replace: '{ yield $SEARCH.costPerStep + $SKIPPED_COST; $SEARCH.next() }',
    why: 'A query that continues in a later turn of the event loop leaves out one key.',
  },
  {
    name: 'only-last-equal-watch-told',
    in: 'WatchGroup.idsFor',
    find: '[...$SINCE.keys()].join()',
    replace: '[...$SINCE.keys()].slice(-1).join()',
    why: 'Of several equal watches of a session, the broker sends events to only one watch.',
  },
  {
    name: 'narrow-watch-not-indexed-again',
    in: 'SessionWatches.#removeGroup',
    find: 'this.#setCoveredIndexed($GROUP, $PLACE, true)',
    replace: 'undefined',
    why: 'After a wider watch has ended, a narrower watch of the same session gets no events.',
  },
  {
    name: 'watch-told-of-older-events',
    in: 'WatchGroup.idsFor',
    find: '$SEQUENCE > $SINCE && $ID !== $EXCLUDED_ID',
    replace: '$ID !== $EXCLUDED_ID',
    why: 'The broker sends a watch an event that is older than the watch.',
  },
]

const restartedDeadlines: Mutant[] = [
  {
    name: 'restarted-ttl-runs-from-later-turn',
    in: 'DeadlineRestarts.#startLock',
    find: 'time.setClientDeadline($LOCK, $AT)',
    replace: 'time.setClientDeadline($LOCK, time.now() + lock.ttl)',
    why: 'A ttl runs from the turn that starts its deadline, and not from the takeover.',
  },
  {
    name: 'resume-before-deadlines-start',
    in: 'Outbound.#attach',
    find: '$RESTARTS.finish($SESSION)',
    replace: '0',
    why: 'The broker resumes a session before it has started the deadlines of its locks.',
  },
  {
    name: 'deadline-of-ended-lock-starts',
    in: 'DeadlineRestarts.#startLock',
    find: '$LOCK.session.held.get($FENCE) !== $LOCK',
    replace: 'false',
    why: 'The broker starts the deadline of a lock that has ended.',
  },
  {
    name: 'restarted-deadlines-in-one-turn',
    in: 'DeadlineRestarts.#workOn',
    find: '$VISITED < $COUNT && $USED < $UNITS',
    replace: '$VISITED < $COUNT',
    why: 'The broker starts all deadlines of a session in one turn of the event loop.',
  },
].map((mutant) => ({ ...mutant, testFile: 'server/deadlineRestarts' }))

export const brokerMutants: readonly Mutant[] = [
  ...connections,
  ...deadlines,
  ...messages,
  ...restartedDeadlines,
]
