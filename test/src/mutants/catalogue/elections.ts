/**
 * Mutants (planted bugs) of elections: the value of a leader, and the leaders that an observer of
 * the election sees. A client that campaigns requests the lock of the election. The leader holds
 * this lock, and publishes a value. The simulation catches these mutants only with clients that
 * campaign.
 */
import type { Mutant } from '../mutant.js'

export const electionMutants: readonly Mutant[] = [
  {
    name: 'proclaimed-value-not-kept',
    in: 'server/proclaim',
    find: '$ELECTION.value = $VALUE',
    replace: 'undefined',
    why: 'The table reports the new value of a leader but keeps the former value.',
    needs: { actions: ['campaign'] },
  },
  {
    name: 'leader-value-not-shown',
    in: 'server/heldFields',
    find: '$EXTRAS.election?.value',
    replace: 'undefined',
    why: 'The broker shows a leader without its value.',
    needs: { actions: ['campaign'] },
  },
  {
    name: 'observer-repeats-leader',
    in: 'client/Observation.#change',
    find: 'isSameLeadership($LEADER, this.#newestLeader)',
    replace: 'false',
    why: 'After a reconnect the client yields a leader that it has yielded already.',
    needs: { actions: ['campaign'] },
  },
  {
    name: 'plain-holder-observed-as-leader',
    in: 'client/Observation.#onEvent',
    find: 'if ($EVENT.election) this.#change($EVENT)',
    replace: 'this.#change($EVENT)',
    why: 'The client yields the holder of a plain lock as a leader.',
    needs: { actions: ['campaign'] },
  },
]
