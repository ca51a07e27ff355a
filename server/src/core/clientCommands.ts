/**
 * The commands for the messages that a client sends within its session. Only the command of `bye`
 * is in another file, `sessionCommands.ts`. `commands.ts` explains the terms.
 */
import type { LockMode } from '@holdfast/shared'
import type { ExtraTerms, SetItem } from './lockExtras.js'
import type { ConnectionCommand } from './sessionCommands.js'

/** A request of a client. */
interface RequestCommand extends ConnectionCommand {
  /** The number that the client gave to the request. The answer has the same number. */
  readonly id: number
}

/** A request whose grant gives the client a new lock, or a set of new locks. */
interface AcquireCommand extends RequestCommand {
  /** In ms; undefined if the lock does not expire. */
  readonly ttl: number | undefined
  /**
   * In ms. With 0 the request fails immediately instead of waiting. Undefined: the request
   * waits for ever.
   */
  readonly timeout: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** A request about one lock that the session of the client holds. */
export interface HeldLockCommand extends RequestCommand {
  /**
   * The first fence of the lock, which identifies the lock even after an upgrade gave the lock a
   * new fence.
   */
  readonly fence: number
}

/** Requests a lock on one key. */
export interface RequestLock extends AcquireCommand {
  readonly type: 'lock'
  readonly key: string
  readonly mode: LockMode
  /**
   * Whether the table first ends all locks of the key, and grants this request before the waiting
   * requests.
   */
  readonly steal: boolean
  /** The fields that only a few requests have, such as permits; undefined for an ordinary lock. */
  readonly extras?: ExtraTerms | undefined
}

/** Requests a lock on each of several keys. The table grants all the locks in one step, or none. */
export interface RequestLockSet extends AcquireCommand {
  readonly type: 'lockAll'
  /**
   * At least one item, in the order in which the client named the keys. An answer or a notice
   * about the set names only the lock of the first item.
   */
  readonly items: readonly SetItem[]
  /** The extras of the whole set. */
  readonly extras?: Pick<ExtraTerms, 'maxHold' | 'notify' | 'scope'> | undefined
}

/**
 * Asks for the result of a function that only one caller runs at a time. The answer is one of:
 * - an exclusive lock of the key, under which the client must run the function;
 * - the value of a run that another caller had begun already;
 * - the value of an earlier run, which the table kept.
 */
export interface RequestOnce extends AcquireCommand {
  readonly type: 'once'
  readonly key: string
}

/** Releases the lock of a `once`, and gives the value of the run to the followers. */
export interface CompleteOnce extends HeldLockCommand {
  readonly type: 'complete'
  /** JSON text; undefined for the value `undefined`. */
  readonly value: string | undefined
  /** How long the table keeps the value for later calls, in ms; undefined: not at all. */
  readonly keep: number | undefined
}

/** Makes a shared lock exclusive, as soon as this lock is the only lock of its key. */
export interface UpgradeLock extends HeldLockCommand {
  readonly type: 'upgrade'
  /** As in {@link AcquireCommand}. */
  readonly timeout: number | undefined
}

/** Makes an exclusive lock shared. */
export interface DowngradeLock extends HeldLockCommand {
  readonly type: 'downgrade'
}

/** Releases a lock. */
export interface Unlock extends HeldLockCommand {
  readonly type: 'unlock'
}

/** Starts the ttl of a lock again. */
export interface Refresh extends HeldLockCommand {
  readonly type: 'refresh'
  /** The new ttl, in ms; undefined if the ttl of the lock stays as it is. */
  readonly ttl: number | undefined
}

/**
 * The leader, which is the holder of an election's lock, replaces the value that observers of the
 * election see.
 */
export interface Proclaim extends HeldLockCommand {
  readonly type: 'proclaim'
  /** JSON text; undefined to publish no value. */
  readonly value: string | undefined
}

/** Ends a scope: withdraws its waiting request, and releases all its locks. */
export interface EndScope extends RequestCommand {
  readonly type: 'endScope'
  readonly scope: number
}

/** A client with the `revoke` permission ends one lock, whichever session holds the lock. */
export interface RevokeLock extends RequestCommand {
  readonly type: 'revoke'
  readonly key: string
  /** The newest fence of the lock, after all upgrades. Queries show this fence to operators. */
  readonly fence: number
  /** The reason, for the audit log and for the holder. */
  readonly note: string
}

/** Waits at a barrier until as many calls wait there as `parties` says. */
export interface ArriveAtBarrier extends RequestCommand {
  readonly type: 'barrier'
  readonly key: string
  /** How many calls pass the barrier together, at least 2. */
  readonly parties: number
  /**
   * In ms. With 0 the call fails immediately unless it is the last call that the barrier needs.
   * Undefined: no timeout.
   */
  readonly timeout: number | undefined
}

/** The client gives up a lock request that waits, or a call at a barrier. */
export interface CancelRequest extends ConnectionCommand {
  readonly type: 'cancel'
  /** The id of the request or call. */
  readonly request: number
}

/** The client has received these answers, so the table drops the stored answers. */
export interface AcknowledgeAnswers extends ConnectionCommand {
  readonly type: 'ack'
  readonly ids: readonly number[]
}

/**
 * The client has sent a message after the `welcome` of a resume. The message proves that the client
 * has read this `welcome`, because a client sends nothing between `hello` and `welcome`. The client
 * thus has the new resume secret, so the table forgets the former secret. The broker submits this
 * command for the first message, unless this is an `ack` or a `bye`. The commands of these two
 * messages, `ack` and `end`, have the same effect.
 */
export interface ConfirmWelcome extends ConnectionCommand {
  readonly type: 'confirm'
}

/** Every command of this file. */
export type ClientCommand =
  | RequestLock
  | RequestLockSet
  | RequestOnce
  | CompleteOnce
  | UpgradeLock
  | DowngradeLock
  | EndScope
  | Unlock
  | Refresh
  | Proclaim
  | RevokeLock
  | ArriveAtBarrier
  | CancelRequest
  | AcknowledgeAnswers
  | ConfirmWelcome
