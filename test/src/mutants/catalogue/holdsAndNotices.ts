/**
 * Mutants (planted bugs) of the longest hold (`maxHold`), of notices, and of watches that show
 * queues. A notice (message `contended`) tells a holder that a request waits for its lock. In
 * `needs`, 0.5 is the probability with which a request of the simulation has the option.
 */
import type { Mutant } from '../mutant.js'

export const holdsAndNoticesMutants: readonly Mutant[] = [
  {
    name: 'refresh-prolongs-max-hold',
    in: 'Outbound.#startTtl',
    find: 'this.#deps.time.setClientDeadline($LOCK, $AT)',
    replace: 'this.#startDeadlinesOf($LOCK)',
    why: 'The broker starts the maxHold of a lock again with each refresh.',
    needs: { maxHold: 0.5 },
  },
  {
    name: 'end-of-hold-does-not-grant-waiters',
    in: 'LockTable.#expire',
    find: `$GRANTER.release($LOCK, 'maxHold', $AT)`,
    replace: `$GRANTER.removeLock($LOCK, 'maxHold')`,
    why: 'The table does not grant the waiters of a key when the maxHold of the lock is over.',
    needs: { maxHold: 0.5 },
  },
  {
    name: 'client-counts-max-hold-from-arrival',
    in: 'HeldLocks.hold',
    find: '$LOCK.startHold(this.#expiryOf($REQUEST, $MAX_HOLD, $AT))',
    replace: '$LOCK.startHold(expiryFrom(this.scheduler.now(), $MAX_HOLD))',
    why: 'The client counts maxHold from the arrival of the grant and not from the sending of the request.',
    needs: { maxHold: 0.5 },
  },
  {
    name: 'client-ignores-limit-of-max-hold',
    in: 'HeldLocks.#maxHoldOf',
    find: 'Math.min($OWN, $LIMIT)',
    replace: '$OWN',
    why: 'The client believes in a lock for longer than the limit of the operator.',
    needs: { maxHold: 0.5 },
  },
  {
    name: 'contended-for-every-request',
    in: 'Notices.#dueAt',
    find: '$LAST + $GAP',
    replace: '0',
    why: 'The broker sends a holder a notice for each waiting request, even several in a second.',
    needs: { notices: 0.5 },
  },
  {
    name: 'delayed-contended-forgotten',
    in: 'Notices.#continueRound',
    find: '$KEY.needsRound = true',
    replace: 'undefined',
    why: 'A holder that got a notice in the last second is not told of later requests.',
    needs: { notices: 0.5 },
  },
  {
    name: 'queue-watch-misses-withdrawals',
    in: 'WatchRegistry.notify',
    find: `this.#publishQueue('dequeued', $REQUEST, $EFFECT.reason)`,
    replace: '0',
    why: 'A watch of a queue does not learn that a request was cancelled or timed out.',
  },
  {
    name: 'queue-watch-repeats-listed-request',
    in: 'WatchRegistry.#publishQueue',
    find: '$SEARCH.willVisit($KEY)',
    replace: 'false',
    why: 'The broker sends a watch the event of a waiting request, and then lists this request too.',
    testFile: 'server/queueWatches',
  },
  {
    name: 'queue-events-for-plain-watches',
    in: 'WatchRegistry.add',
    find: 'if (!$WITH_QUEUE) return',
    replace: 'undefined',
    why: 'The broker sends events of queues to a watch that did not ask for them.',
    testFile: 'server/queueWatches',
  },
  {
    name: 'queue-watch-outlives-its-id',
    in: 'WatchRegistry.#remove',
    find: '[$LOCKS, $QUEUES]',
    replace: '[$LOCKS]',
    why: 'A watch of queues outlives its replacement by a watch without queues that has the same id.',
    testFile: 'server/queueWatches',
  },
  {
    name: 'queue-watch-ignores-permission',
    in: 'SessionWatches.publish',
    find: 'this.#isVisible?.($KEY) === false',
    replace: 'false',
    why: 'A watch shows a client the requests for keys that the client may not watch.',
    testFile: 'server/queueWatches',
  },
]
