/**
 * Mutants (planted bugs) of permits and sets. With permits, several locks share the capacity of one
 * key. A set has a lock for each of several keys, and all its locks are granted and end together. A
 * fence is the number of a grant. `needs` has the actions of simulated clients without which the
 * simulation cannot show the bug.
 */
import type { Mutant } from '../mutant.js'

export const permitsAndSetsMutants: readonly Mutant[] = [
  {
    name: 'permits-exceed-capacity',
    in: 'KeyPermits.hasRoomFor',
    find: 'this.used + $PERMITS <= this.capacity',
    replace: 'this.used < this.capacity',
    why: 'The table grants two permits although only one permit is left.',
    needs: { actions: ['permits'] },
  },
  {
    name: 'permits-stay-used-after-release',
    in: 'removePermits',
    find: '$KEY.extras.permits.used -= $TERMS.permits',
    replace: 'undefined',
    why: 'The table counts the permits of a released lock as used while the key has other users.',
    needs: { actions: ['permits'] },
  },
  {
    name: 'permits-accept-another-capacity',
    in: 'capacityMismatch',
    find: '$KEY_EXTRAS?.permits?.capacity',
    replace: 'undefined',
    why: 'The table mixes requests with different capacities at one key.',
    needs: { actions: ['permits'] },
  },
  {
    name: 'set-granted-while-one-key-is-held',
    in: 'Granter.#isReady',
    find: '$SET === undefined || canGrantSet($SET)',
    replace: 'true',
    why: 'The table grants a waiting set when its first key is free, and does not look at the other keys.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-steal-takes-one-key',
    in: 'Granter.removeLock',
    find: '$SET.locks',
    // After a steal, the set still lists the stolen lock, which a later release must skip.
    replace: `(reason === 'stolen' ? [lock] : $SET.locks.filter((member) => [...member.keyState.holders].includes(member)))`,
    why: 'A steal takes one key of a set, and the session keeps the other keys.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-release-serves-one-queue',
    in: 'Granter.removeLock',
    // The worklist has the keys whose waiters will be granted. The callers themselves grant the
    // waiters of the first key.
    find: 'this.#worklist.add($KEY)',
    replace: 'undefined',
    why: 'The release of a set grants the waiters of its first key only.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-withdrawal-serves-one-queue',
    in: 'Granter.removeRequest',
    // A withdrawn set was waiting. The callers themselves grant the waiters of its first key.
    find: 'this.#worklist.add($KEY)',
    replace: 'undefined',
    why: 'A set that gives up leaves requests waiting for its other keys, although these keys are free.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-gets-former-fence',
    in: 'Granter.#grantSet',
    find: 'this.grant($KEY, $SESSION, $REQUEST, $EXTRAS, $FENCE, $AT, $REQUEST)',
    replace: 'this.grant($KEY, $SESSION, $REQUEST, $EXTRAS, $FENCE - 1, $AT, $REQUEST)',
    why: 'A set that waited gets the fence of the grant before it, and no new fence.',
    needs: { actions: ['lockAll'] },
  },
]
