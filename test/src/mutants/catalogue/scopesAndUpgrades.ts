/**
 * Mutants (planted bugs) of scopes, deadlocks, upgrades and downgrades. A scope is one logical task
 * of a session. A fence is the number of a grant. The simulation shows a bug only if its clients
 * have the actions in `needs`.
 *
 * Some mutants of the check for deadlocks name the test `table/deadlock`, which compares the check
 * with a simpler, slower check. These mutants show only while three scopes compete for the same
 * keys, which the simulation meets too rarely.
 */
import type { Mutant } from '../mutant.js'

const upgrades: Mutant[] = [
  {
    name: 'upgrade-keeps-fence',
    in: 'Granter.grantUpgrade',
    find: '++this.#fence',
    replace: 'this.#fence',
    why: 'An upgrade gives the lock no new fence, so a resource cannot refuse former writers.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'upgrade-lets-readers-in',
    in: 'KeyState.admits',
    find: 'this.extras?.upgrade === undefined',
    replace: 'true',
    why: 'Shared locks are granted while an upgrade waits, so the upgrade may starve.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'upgrade-granted-beside-another-reader',
    in: 'isUpgradeReady',
    find: '$HOLDERS.length === 1',
    replace: '$HOLDERS.length <= 2',
    why: 'The table grants a waiting upgrade while another session still has a shared lock.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'downgrade-does-not-grant-readers',
    in: 'LockTable.#downgrade',
    find: 'this.#granter.grantWaiters($KEY, $AT)',
    replace: 'undefined',
    why: 'The table leaves shared requests waiting although a downgrade has made room for them.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'waiting-upgrade-not-listed',
    in: 'waitingRequestsOf',
    find: '$EXTRAS?.upgrade !== undefined',
    replace: 'false',
    why: 'The first list of a watch leaves out an upgrade that waits.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'client-downgrades-for-each-grant',
    in: 'UpgradeRequest.onResponse',
    find: '$FENCE > $LOCK.presentFence',
    replace: 'true',
    why: 'The client downgrades a lock after an abandoned upgrade that had changed nothing.',
    testFile: 'client/upgrade',
  },
  {
    name: 'leadership-may-be-downgraded',
    in: 'canChangeMode',
    find: '$EXTRAS?.election === undefined',
    replace: 'true',
    why: 'The broker makes the lock of a leader shared, so others can get a shared lock beside the leader.',
    testFile: 'table/upgrades',
  },
  {
    name: 'client-downgrades-after-next-upgrade',
    in: 'UpgradeRequest.#end',
    find: '$LOCK.wantedUpgrades > 0',
    replace: 'false',
    why: 'The client downgrades a lock after an abandoned upgrade, and so undoes the upgrade of the next caller.',
    needs: { actions: ['upgrade'] },
  },
  {
    name: 'client-leaves-upgrade-of-lost-lock',
    in: 'client/Lock.upgrade',
    find: '$REQUEST.giveUp(this.#notHeldError())',
    replace: 'undefined',
    why: 'The client leaves the upgrade of a lost lock waiting, so the scope of the lock can send no further request.',
    needs: { actions: ['scope', 'upgrade'] },
  },
]

const scopes: Mutant[] = [
  {
    name: 'deadlock-ignores-queues',
    in: 'DeadlockCheck.#isFreeAt',
    find: 'headOf($PLACE) !== $WAITER',
    replace: 'false',
    why: 'The check for deadlocks regards a request as grantable although other requests wait before it.',
    needs: { actions: ['scope'] },
  },
  {
    name: 'deadlock-ignores-released-permits',
    in: 'DeadlockCheck.#reduce',
    find: '$PLACE.heldPermits -= $PERMITS',
    replace: 'undefined',
    why: 'The check for deadlocks never releases the permits of a scope, and so finds false deadlocks.',
    testFile: 'table/deadlock',
  },
  {
    name: 'deadlock-ignores-waiting-upgrades',
    in: 'DeadlockCheck.#isFreeAt',
    find: '$PLACE.upgrades.some($IS_STUCK)',
    replace: 'false',
    why: 'The check for deadlocks regards a key as free although an upgrade waits there for ever.',
    testFile: 'table/deadlock',
  },
  {
    name: 'locks-of-requesting-scope-not-listed',
    in: 'DeadlockCheck.run',
    find: 'listLocks($SCOPE)',
    replace: 'undefined',
    why: 'The check for deadlocks overlooks the locks of the requesting scope.',
    needs: { actions: ['scope'] },
  },
]

export const scopesAndUpgradesMutants: readonly Mutant[] = [...upgrades, ...scopes]
