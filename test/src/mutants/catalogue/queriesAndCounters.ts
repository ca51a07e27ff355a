/**
 * Mutants (planted bugs) of parts that the simulation does not check:
 * - queries for barriers, for kept results of `once`, and for sessions
 * - the counters of refused deadlocks
 * - the remaining times of locks
 *
 * Each list of mutants names the test file that must catch its mutants.
 */
import type { Mutant } from '../mutant.js'

const queries: Mutant[] = [
  {
    name: 'record-query-ignores-permission',
    in: 'TableRecordSearch.next',
    find: '$IS_VISIBLE?.($KEY) ?? true',
    replace: 'true',
    why: 'The broker shows a client barriers and kept results that the client may not query.',
  },
  {
    name: 'record-query-ignores-prefix',
    in: 'TableRecordSearch.next',
    find: '$KEY.startsWith($PREFIX)',
    replace: 'true',
    why: 'The broker lists barriers and kept results outside the prefix of the query.',
  },
  {
    name: 'record-query-counts-listed-items',
    in: 'recordChunks',
    find: '$COUNT += $ROWS.count',
    replace: '$COUNT = Math.min($COUNT + $ROWS.count, limit)',
    why: 'The broker counts only the barriers and results that it lists, and not all of them.',
  },
  {
    name: 'record-query-repeats-chunk',
    in: 'recordChunks',
    find: '$ITEMS = []',
    replace: 'undefined',
    why: 'Each part of a long answer repeats the items of the earlier parts.',
  },
  {
    name: 'record-query-lists-new-records',
    in: 'Walk.next',
    find: '$MEMBER.order > this.#lastOrder',
    replace: 'false',
    why: 'A paused query lists barriers that began after the query.',
  },
  {
    name: 'kept-result-shown-with-full-time',
    in: 'searchRecords',
    find: '$TIMERS.remainingOf($KEPT)',
    replace: '$KEPT.keep',
    why: 'The broker shows the whole keep time of a result as the remaining time.',
  },
].map((mutant) => ({ ...mutant, testFile: 'server/recordQueries' }))

const counters: Mutant[] = [
  {
    name: 'refused-deadlocks-not-counted',
    in: 'RefusedDeadlocks.add',
    find: 'this.#count++',
    replace: 'undefined',
    why: 'The broker does not count the deadlocks that it refuses.',
  },
  {
    name: 'first-deadlocks-shown-for-ever',
    in: 'RefusedDeadlocks.add',
    find: 'this.#kept.unshift($DEADLOCK)',
    replace: 'this.#kept.push($DEADLOCK)',
    why: 'The broker shows the first deadlocks that it refused, and not the newest.',
  },
  {
    name: 'refused-deadlocks-not-bounded-in-bytes',
    in: 'RefusedDeadlocks.add',
    find: 'this.#bytes > maxKeptBytes',
    replace: 'false',
    why: 'The broker keeps 20 refused deadlocks, however long their keys and names are.',
  },
  {
    name: 'refused-deadlocks-show-hidden-keys',
    in: 'visibleDeadlock',
    find: 'visibleCycle($CYCLE, $IS_VISIBLE)',
    replace: '$CYCLE',
    why: 'The statistics show a client keys and names that the client may not query.',
  },
].map((mutant) => ({ ...mutant, testFile: 'server/visibleKinds' }))

const lockTimes: Mutant[] = [
  {
    name: 'remaining-ttl-of-set-at-one-key',
    in: 'LockTimes.remainingTimesOf',
    find: 'time.clientDeadlineOf($PRIMARY)',
    replace: 'time.clientDeadlineOf(lock)',
    why: 'The broker shows the remaining ttl of a set at its first key only.',
  },
  {
    name: 'longest-hold-shown-with-time-of-ttl',
    in: 'LockTimes.remainingTimesOf',
    find: 'holdDeadlines.endOf($LOCK)',
    replace: 'time.clientDeadlineOf($LOCK)',
    why: 'The broker shows the remaining ttl of a lock as the rest of its longest hold, `maxHold`.',
  },
  {
    name: 'time-left-rounded-down',
    in: 'LockTimes.remainingTimesOf',
    find: 'Math.ceil($TIME)',
    replace: 'Math.floor($TIME)',
    why: 'The broker shows less time than is left.',
  },
].map((mutant) => ({ ...mutant, testFile: 'server/lockTimes' }))

const sessionQueries: Mutant[] = [
  {
    name: 'session-query-ignores-permission',
    in: 'visibleSession',
    find: `$POLICY?.may('inspect', '') ?? true`,
    replace: 'true',
    why: 'The broker shows every client the principals and the addresses of sessions.',
  },
  {
    name: 'authenticated-client-may-inspect',
    in: 'RequestPolicy.may',
    find: '!operatorOperations.includes($OPERATION)',
    replace: `$OPERATION !== 'revoke'`,
    why: 'A client with a token may inspect sessions although no rule allows this.',
  },
  {
    name: 'suspended-session-shown-as-connected',
    in: 'visibleSession',
    find: '!$SESSION.suspended',
    replace: 'true',
    why: 'The broker shows a session without a connection as connected.',
  },
].map((mutant) => ({ ...mutant, testFile: 'server/sessionQueries' }))

export const queriesAndCountersMutants: readonly Mutant[] = [
  ...queries,
  ...counters,
  ...lockTimes,
  ...sessionQueries,
]
