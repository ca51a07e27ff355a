/**
 * Mutants (planted bugs) in permits, where the locks of a key share a number of permits, and in
 * sets, where one lock has several keys. A fence is the number of a grant. `needs` has the actions
 * that the simulated clients must do.
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
    replace: `(reason === 'stolen' ? [lock] : $SET.locks.filter((member) => [...member.keyState.holders].includes(member)))`,
    why: 'A steal takes one key of a set, and the session keeps the other keys.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-release-serves-one-queue',
    in: 'Granter.removeLock',
    find: 'this.#worklist.add($KEY)',
    replace: 'undefined',
    why: 'The release of a set grants the waiters of its first key only.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-withdrawal-serves-one-queue',
    in: 'Granter.removeRequest',
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
