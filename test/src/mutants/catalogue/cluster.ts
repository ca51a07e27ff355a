/**
 * Mutants (planted bugs) of the code by which several brokers share one command log: membership,
 * snapshots and moved sessions. The command log is the record of all changes of locks. Its entries
 * are removed when a snapshot covers them. A self-lease is how long a broker may regard itself as a
 * member. The owner broker of a session keeps the deadlines of the session and of its locks.
 */
import type { Mutant } from '../mutant.js'

/** The number of brokers in the simulated worlds that catch these mutants. */
const brokers = 3

const membership: Mutant[] = [
  {
    name: 'cluster-death-notice-ignores-newer-entries',
    in: 'MemberList.#acceptEntry',
    find: '$SILENT === $BROKER || $LIVING.get($SILENT) !== $LAST',
    replace: '$SILENT === $BROKER || !$LIVING.has($SILENT)',
    brokers,
    why: 'A suspected broker is declared dead although it has appended an entry since then.',
  },
  {
    name: 'cluster-dead-broker-still-counts',
    in: 'MemberList.#acceptEntry',
    find: '$LIVING.get($BROKER) !== $N - 1',
    replace: '($LIVING.get($BROKER) ?? $N - 1) !== $N - 1',
    brokers,
    why: 'The brokers still apply entries of a broker that was declared dead.',
  },
  {
    name: 'cluster-repeated-entry-counts-twice',
    in: 'MemberList.#acceptEntry',
    find: '$LIVING.get($BROKER) !== $N - 1',
    replace: '$LIVING.get($BROKER) !== $N - 1 && $LIVING.get($BROKER) !== $N',
    brokers,
    why: 'The brokers apply an entry twice if its writer appended it again after a lost answer.',
  },
  {
    name: 'cluster-missed-entry-ignored',
    in: 'MemberList.missingBefore',
    find: '$LAST < $N - 1',
    replace: 'false',
    brokers,
    why: 'A broker that missed an entry of another broker goes on, and ignores the later entries of that broker.',
  },
  {
    name: 'cluster-dead-after-half-the-silence',
    in: 'FailureDetector.onOwnEntry',
    find: '$NOW - $HEARD_AT <= $DEAD_MS',
    replace: '$NOW - $HEARD_AT <= $DEAD_MS / 2',
    brokers,
    why: 'The brokers declare a broker dead after half of the silence that `deadMs` allows.',
  },
  {
    name: 'cluster-self-lease-ignored',
    in: 'ClusterMember.isLive',
    find: '$SELF_LEASE.isOver($NOW)',
    replace: 'false',
    brokers,
    why: 'A broker answers clients although the other brokers may have declared it dead.',
  },
  {
    name: 'cluster-self-lease-from-return',
    in: 'Incarnation.onOwnEntry',
    find: '$SELF_LEASE.onOwnEntry($N)',
    replace: '($SELF_LEASE.onSent($N, this.#deps.clock.monotonic()), $SELF_LEASE.onOwnEntry($N))',
    brokers,
    why: 'A broker counts its self-lease from the receipt of its own entry, not from the sending.',
  },
]

const snapshots: Mutant[] = [
  {
    name: 'cluster-snapshot-one-entry-short',
    in: 'makeSnapshot',
    find: `followTo($ENGINE, $POSITION, $UP_TO, ($NEXT, $TEXT) => {
      $POSITION = $NEXT
      $$$CHECKS
      for (const $COMMAND of $COMMANDS) $APPLY
    })`,
    replace: `followTo($ENGINE, $POSITION, $UP_TO, ($NEXT, $TEXT) => {
      $POSITION = $NEXT
      $$$CHECKS
      for (const $COMMAND of $COMMANDS) if ($NEXT < $UP_TO) $APPLY
    })`,
    brokers,
    why: 'A snapshot lacks the commands of the last entry that it claims to cover.',
  },
  {
    name: 'cluster-snapshot-without-members',
    in: 'makeSnapshot',
    find: '$MEMBERS.state',
    replace: 'new $MEMBERS.constructor().state',
    brokers,
    why: 'A snapshot does not contain the members of the cluster.',
  },
  {
    name: 'cluster-snapshot-not-restored',
    in: 'LogReader.readFrom',
    find: 'await runInTurns($RESTORING, $ENVIRONMENT)',
    replace: 'if (this.#subscription === undefined) await runInTurns($RESTORING, $ENVIRONMENT)',
    brokers,
    why: 'A broker that missed entries restores no snapshot, although the log has removed the entries.',
  },
]

const entryQueue: Mutant[] = [
  {
    name: 'cluster-next-entry-before-the-rest',
    in: 'EntryQueue.#step',
    find: '$STEPS.next().done === true',
    replace: '$STEPS.next() !== undefined',
    brokers,
    why: 'A broker drops the rest of an entry when it pauses after the first command.',
  },
  {
    name: 'cluster-queue-keeps-dropped-entries',
    in: 'EntryQueue.clear',
    find: 'this.#waiting = []',
    replace: 'undefined',
    brokers,
    why: 'A broker that reads the log again also handles the entries that it received before.',
  },
  {
    name: 'cluster-snapshot-amid-an-entry',
    in: 'ClusterMember.#saveOwnState',
    find: 'while ($QUEUE.isMidEntry) $PAUSE',
    replace: 'undefined',
    testFile: 'log/entryQueue',
    why: 'A broker saves its table as a snapshot of a position although it has applied a part of the next entry.',
  },
]

const ownership: Mutant[] = [
  {
    name: 'cluster-former-owner-keeps-deadlines',
    in: 'Outbound.#detachMoved',
    find: 'this.#clearDeadlines($SESSION)',
    replace: 'undefined',
    brokers,
    why: 'The former owner broker keeps the deadlines of a session that has moved.',
  },
  {
    name: 'cluster-new-owner-sets-no-deadlines',
    in: 'BrokerStateMachine.serve',
    find: '$OUTBOUND.startDeadlines($$$SESSIONS)',
    replace: 'undefined',
    brokers,
    why: 'A broker that begins to serve sets no deadlines for the sessions that it took over.',
  },
  {
    name: 'cluster-expiry-of-former-owner-counts',
    in: 'LockTable.#expire',
    find: 'if ($LOCK.session.ownerEpoch !== $EPOCH) return',
    replace: 'undefined',
    brokers,
    why: 'The brokers still end a lock when the former owner broker of its session proposed the expiry of the lock.',
  },
  {
    name: 'cluster-resume-keeps-owner',
    in: 'SessionTable.resume',
    find: 'this.#takeOwnership($$$ARGUMENTS)',
    replace: 'undefined',
    brokers,
    why: 'A session that resumes at another broker keeps its former owner broker.',
  },
]

export const clusterMutants: readonly Mutant[] = [
  ...membership,
  ...snapshots,
  ...entryQueue,
  ...ownership,
]
