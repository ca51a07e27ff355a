/**
 * Mutants (planted bugs) of permits and sets. With permits, several locks share the capacity of one
 * key. A set has a lock for each of several keys, and all its locks are granted and end together. A
 * fence is the number of a grant. The table is the broker's table of keys, locks and waiting
 * requests. The simulation shows a bug only if its clients have the actions in `needs`.
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
    why: 'The table counts the permits of a released lock as used until no lock or request uses the key.',
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
    // After this steal, the set still lists the stolen lock. So a release must skip that lock.
    replace: `(reason === 'stolen' ? [lock] : $SET.locks.filter((member) => [...member.keyState.holders].includes(member)))`,
    why: 'A steal takes one key of a set, and the session keeps the other keys.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-release-serves-one-queue',
    in: 'Granter.removeLock',
    // The callers of `removeLock` grant the waiters of the first key. The waiters of the other keys
    // are granted only through the worklist.
    find: 'this.#worklist.add($KEY)',
    replace: 'undefined',
    why: 'The release of a set grants the waiters of its first key only.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-withdrawal-serves-one-queue',
    in: 'Granter.removeRequest',
    // The callers of `removeRequest` grant the waiters of the first key.
    find: 'this.#worklist.add($KEY)',
    replace: 'undefined',
    why: 'The withdrawal of a set grants the waiters of its first key only.',
    needs: { actions: ['lockAll'] },
  },
  {
    name: 'set-gets-former-fence',
    in: 'Granter.#grantSet',
    find: 'this.grant($KEY, $SESSION, $REQUEST, $EXTRAS, $FENCE, $AT, $REQUEST)',
    replace: 'this.grant($KEY, $SESSION, $REQUEST, $EXTRAS, $FENCE - 1, $AT, $REQUEST)',
    why: 'A set that waited gets the fence of the previous grant instead of a new fence.',
    needs: { actions: ['lockAll'] },
  },
]
