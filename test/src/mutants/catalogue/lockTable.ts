/**
 * Mutants (planted bugs) of the lock table. They change which session holds a lock, which session
 * waits, and which commands the table applies. A fence is the number of a grant. A grace is how
 * long a session survives without a connection. A ttl is how long a lock lasts without a refresh.
 *
 * The first call of `once` runs a function. The calls that come during this run are its followers,
 * and get its value. A kept result is a value for calls that come later. One command answers a
 * limited number of followers, and a later command answers the rest. Calls wait at a barrier until
 * their number reaches the number of parties. A gradual snapshot has the state of the table when
 * the snapshot began, and is read while the table executes commands. `needs` has the actions and
 * options that the simulation needs to show the bug.
 */
import type { Mutant } from '../mutant.js'

const granting: Mutant[] = [
  {
    name: 'shared-lock-beside-exclusive',
    in: 'KeyState.admits',
    find: `$MODE !== $HOLDER.mode || $MODE === 'exclusive'`,
    replace: `($MODE !== 'shared' && $MODE !== $HOLDER.mode) || $MODE === 'exclusive'`,
    why: 'The table grants a shared lock while another session holds the key exclusively.',
  },
  {
    name: 'lock-with-ttl-does-not-exclude',
    in: 'RequestHandler.#requestLock',
    find: '$KEY.admits($MODE)',
    replace: '($KEY.admits($MODE) || $KEY.holders.first?.ttl !== undefined)',
    why: 'The table grants a key to a second session before the ttl of the holder is over.',
  },
  {
    name: 'shared-request-overtakes-exclusive',
    in: 'RequestHandler.#requestLock',
    find: '$KEY.admits($TERMS) && ($FREE || $STEAL)',
    replace: `$KEY.admits($TERMS) && ($FREE || ($TERMS.mode === 'shared' && !this.#granter.quiet) || $STEAL)`,
    why: 'The table grants a shared request ahead of an exclusive request that has waited longer.',
  },
  {
    name: 'quiet-broker-grants',
    in: 'RequestHandler.#requestLock',
    find: '$FREE && !this.#granter.quiet',
    replace: '$FREE',
    why: 'A broker that lost its table grants locks before the locks of the lost table have ended.',
  },
  {
    name: 'fence-not-raised-for-waiter',
    in: 'Granter.#grantWaitersOf',
    find: '++this.#fence',
    replace: 'this.#fence',
    why: 'The table grants a waiter a lock with the fence of the previous grant.',
  },
  {
    name: 'fences-start-at-zero',
    in: 'startFromClock',
    find: 'Math.floor($WALL_MS) * $PER_MS',
    replace: '0',
    why: 'A restarted broker gives new grants fences from before the restart.',
  },
  {
    name: 'unlock-with-old-fence-releases-other-lock',
    in: 'LockTable.#heldLock',
    find: '$SESSION.held.get($COMMAND.fence)',
    replace: '($SESSION.held.get($COMMAND.fence) ?? $SESSION.held.values()[0])',
    why: 'An unlock with an old fence releases another lock of the session.',
  },
  {
    name: 'refresh-does-not-void-expiry',
    in: 'LockTable.#refresh',
    find: '$LOCK.generation++',
    replace: 'undefined',
    why: 'An expiry that the broker proposed before a refresh still ends the refreshed lock.',
    // Half of the requests have a ttl. The log delays each command by up to 80 ms.
    needs: { ttl: 0.5, logMs: 80 },
  },
]

const queues: Mutant[] = [
  {
    name: 'queue-served-from-its-end',
    in: 'Granter.#grantWaitersOf',
    find: '$KEY.queue.first',
    replace: '$KEY.queue.last',
    why: 'The table grants the last waiter of a queue first.',
  },
  {
    name: 'unlock-does-not-grant-waiters',
    in: 'LockTable.#unlock',
    find: `$GRANTER.release($LOCK, 'unlocked', $AT)`,
    replace: `($GRANTER.removeLock($LOCK, 'unlocked'), $GRANTER.markIdleIfUnused($LOCK.keyState))`,
    why: 'The table does not grant the waiters of a key when the holder unlocks it.',
  },
  {
    name: 'expiry-does-not-grant-waiters',
    in: 'LockTable.#expire',
    find: `$GRANTER.release($LOCK, 'expired', $AT)`,
    replace: `$GRANTER.removeLock($LOCK, 'expired')`,
    why: 'The table does not grant the waiters of a key when the lock expires.',
  },
  {
    name: 'withdrawal-does-not-grant-waiters',
    in: 'Granter.withdraw',
    find: 'this.grantWaiters($$$ARGUMENTS)',
    replace: 'undefined',
    why: 'When the first waiter of a queue gives up, shared waiters behind it are not granted.',
  },
  {
    name: 'release-grants-only-first-waiter',
    in: 'Granter.#grantWaitersOf',
    find: 'this.grant($$$ARGUMENTS)',
    replace: 'return this.grant($$$ARGUMENTS)',
    why: 'A release that admits many shared waiters grants only the first waiter.',
  },
  {
    name: 'cancelled-request-stays-queued',
    in: 'RequestHandler.cancel',
    find: `$GRANTER.withdraw($REQUEST, 'aborted', $AT)`,
    replace: 'undefined',
    why: 'A cancelled request stays in its queue, and the table grants it later.',
  },
  {
    name: 'timed-out-request-stays-queued',
    in: 'RequestHandler.timeOut',
    find: `$GRANTER.withdraw($REQUEST, 'timeout', $AT)`,
    replace: 'undefined',
    why: 'A request that timed out stays in its queue, and the table grants it later.',
  },
  {
    name: 'ended-session-stays-queued',
    in: 'SessionTable.#endSession',
    find: 'this.#withdrawAll($SESSION)',
    replace: 'new Set()',
    why: 'The requests of a session that ended stay in their queues.',
  },
  {
    name: 'suspended-session-loses-its-places',
    in: 'SessionTable.#suspendSession',
    find: '$SESSION.answers === undefined',
    replace: 'true',
    why: 'A session that has a grace loses its places in the queues when its connection drops.',
  },
]

const sessions: Mutant[] = [
  {
    name: 'session-without-grace-survives-its-connection',
    in: 'SessionTable.suspend',
    find: '$SESSION.grace === 0',
    replace: '$SESSION.grace < 0',
    why: 'The table keeps a session without a grace when its connection drops.',
  },
  {
    name: 'replaced-connection-still-counts',
    in: 'SessionTable.#attachedSession',
    find: '$SESSION?.attachEpoch === $COMMAND.attachEpoch',
    replace: '$SESSION !== undefined',
    why: 'The table still applies the commands of a replaced connection.',
  },
  {
    name: 'former-secret-stays-valid',
    in: 'confirmNextSecret',
    find: '$SESSION.secret = $SESSION.nextSecret',
    replace: '$SESSION.secret = $SESSION.secret',
    why: 'The former secret resumes a session although its client has used the new secret.',
  },
  {
    name: 'former-secret-void-too-early',
    in: 'SessionTable.resume',
    find: '$SESSION.nextSecret = $SECRET',
    replace: '$SESSION.secret = $SECRET',
    why: 'The former secret is invalid although the client may not have the new secret yet.',
  },
  {
    name: 'granted-answer-not-stored',
    in: 'Granter.grant',
    find: 'storeAnswer($$$ARGUMENTS)',
    replace: '0',
    why: 'The table stores no answer to a granted request for a client that repeats the request.',
  },
  {
    name: 'repeated-request-granted-twice',
    in: 'Responder.#answerIfRepeat',
    find: '$ID > $SESSION.lastId',
    replace: `$ID > $SESSION.lastId || $SESSION.answers?.get($ID)?.kind === 'granted'`,
    why: 'The table grants a request again when the client sends it again.',
  },
  {
    name: 'acknowledged-answers-stay-counted',
    in: 'forgetAnswers',
    find: '$BYTES += $ANSWER_BYTES + $MEMORY_PER_BYTE * $HOLDER_BYTES',
    replace: '$BYTES += $ANSWER_BYTES',
    why: 'The table counts memory for acknowledged answers that it no longer keeps.',
  },
]

const once: Mutant[] = [
  {
    name: 'once-delivers-to-later-calls',
    in: 'ResultTable.addFollower',
    find: '$EXTRAS.followers ??= new FollowerGroup()',
    replace: '$EXTRAS.followers ??= $EXTRAS.delivery ?? new FollowerGroup()',
    why: 'A call that comes after the end of a run gets the value of this run.',
    brokers: 3,
    needs: { actions: ['once'] },
  },
  {
    name: 'once-forgets-followers-beyond-the-limit',
    in: 'Granter.#answerFollowers',
    find: 'this.#unfinished.add($KEY)',
    replace: 'void $KEY',
    why: 'Some followers wait for ever if they are too many for one command.',
    needs: { actions: ['once'] },
  },
  {
    name: 'once-ignores-kept-result',
    in: 'RequestHandler.once',
    find: '$RESULTS.kept.get($KEY)',
    replace: '(this.#granter.keys.get($KEY) === undefined ? $RESULTS.kept.get($KEY) : undefined)',
    why: 'A caller waits behind a lock of the key, although a kept result exists.',
    needs: { actions: ['once'] },
  },
  {
    name: 'once-keeps-newest-result-out',
    in: 'ResultTable.complete',
    find: 'this.#kept.values()',
    replace: '[...this.#kept.values()].reverse()',
    why: 'The table forgets the newest kept result instead of the oldest.',
    needs: { actions: ['once'] },
  },
  {
    name: 'once-accepts-ordinary-lock',
    in: 'LockTable.#complete',
    find: '$LOCK?.extras?.once === undefined',
    replace: '$LOCK === undefined',
    why: 'The table accepts a value for a lock that was not granted to a call of once.',
    needs: { actions: ['once'] },
  },
  {
    name: 'kept-result-stays-with-ended-broker',
    in: 'ResultTable.takeOwnership',
    find: '$KEPT.ownerBroker = $OWNER',
    replace: 'void $OWNER',
    why: 'No broker ends a kept result in time after the owner broker of the result has ended.',
    brokers: 3,
    needs: { actions: ['once'] },
  },
]

const barriers: Mutant[] = [
  {
    name: 'barrier-opens-one-party-early',
    in: 'BarrierTable.arrive',
    find: '$COUNT + 1 === $PARTIES',
    replace: '$COUNT + 2 >= $PARTIES',
    why: 'The table lets the calls pass the barrier when one party is still missing.',
    needs: { actions: ['barrier'] },
  },
  {
    name: 'barrier-counts-ended-session',
    in: 'BarrierTable.endCallsOf',
    find: 'this.#depart($$$ARGUMENTS)',
    replace: 'undefined',
    why: 'The table still counts a waiting call after the session of the call has ended.',
    needs: { actions: ['barrier'] },
  },
  {
    name: 'barrier-accepts-another-number-of-parties',
    in: 'BarrierTable.arrive',
    find: '$BARRIER.parties !== $PARTIES',
    replace: 'false',
    why: 'The table mixes calls with different numbers of parties at one barrier.',
    needs: { actions: ['barrier'] },
  },
]

const gradualSnapshots: Mutant[] = [
  {
    name: 'snapshot-misses-key-that-changed-before',
    in: 'GradualSnapshot.beforeKeyChange',
    find: 'this.#keys.copy($KEY_STATE)',
    replace: 'undefined',
    why: 'A gradual snapshot has the new state of a key that changed before the snapshot read it.',
  },
  {
    name: 'snapshot-misses-session-of-a-waiter',
    in: 'Granter.#dequeue',
    find: 'this.#responder.changeListener?.beforeSessionChange($SESSION)',
    replace: 'undefined',
    why: 'A gradual snapshot has the answer of a waiter that was granted after the snapshot began.',
  },
]

export const lockTableMutants: readonly Mutant[] = [
  ...granting,
  ...queues,
  ...sessions,
  ...barriers,
  ...once,
  ...gradualSnapshots,
]
