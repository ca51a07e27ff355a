/**
 * The commands: every input of the lock table. Tables that apply the same commands in the same
 * order are equal.
 *
 * Terms:
 * - A *session* is the relationship of one client with the broker. The session owns the locks and
 *   the waiting requests of the client, and can outlive a connection.
 * - The *lease* is how long a session lives without a message of its client. The *grace* is how
 *   long a session without a connection can be resumed. The *ttl* is how long a lock lives without
 *   a refresh. The *maxHold* is the longest time for which a lock is held, with or without
 *   refreshes.
 * - A *fence* is the number of a lock, higher than the fences of all earlier locks.
 * - The *generation* of a lock rises with every refresh, and when another broker takes over its
 *   session.
 * - A *set* is a request for several keys, which the table grants in one step.
 * - A *scope* is one logical task of a client, with its locks and its waiting request. The table
 *   refuses deadlocks between scopes.
 * - A `once` asks for the result of a function that only one caller runs at a time. One call of the
 *   function is a *run*. The *followers* of a run are the other requests that wait for its value.
 * - `hello` is the first message of a client on a connection, and opens or resumes a session.
 *   `welcome` is the answer of the broker. With `bye` the client ends its session.
 *
 * Commands come from two senders:
 * - A client. Its commands have an *attach epoch*: the number of the connection on which the
 *   message arrived. The `id` of a request is a number that the client chose.
 * - The broker itself, mostly one of its timers. The command of a timer is a proposal, and names
 *   the session, request or lock for which the timer was set. For the ttl of a lock, the command
 *   also names the generation.
 *
 * The table ignores a command of a client if its connection is not the newest connection of the
 * session. The table ignores a proposal if its session, request, lock or generation is gone.
 */
import type { LockMode } from '@holdfast/shared'
import type { ExtraTerms, SetItem } from './lockExtras.js'

interface CommandBase {
  /**
   * The wall time of the broker that submits the command, in ms since 1970. The table uses this
   * time only as the field `since` of a record, such as a lock.
   */
  readonly at: number
}

/**
 * A command about one connection of a session. `attachEpoch` is the number of this connection among
 * the connections of the session.
 */
interface ConnectionCommand extends CommandBase {
  readonly session: string
  readonly attachEpoch: number
}

/**
 * The limits of a session. The command `open` has the limits, so that every broker applies the same
 * limits.
 */
export interface SessionLimits {
  /** The maximum number of locks, waiting requests and calls at barriers, counted together. */
  readonly locks: number
  /** The maximum number of stored answers that the client has not acknowledged. */
  readonly answers: number
  /**
   * The maximum number of requests that wait for one key. If a key has so many, the table refuses a
   * further request of this session.
   */
  readonly waitersPerKey: number
  /**
   * The maximum number of waiting scopes and sets that one check for deadlocks visits. A command of
   * an older broker, which has no scopes, lacks this field; the table then uses 10,000.
   */
  readonly deadlockVisits?: number | undefined
  /**
   * The maximum number of calls that wait at barriers. A command of an older broker, which has no
   * barriers, lacks this field; the table then applies no limit.
   */
  readonly barriers?: number | undefined
  /** Longest `maxHold` of a lock, in ms. Undefined: no limit. */
  readonly maxHold?: number | undefined
  /**
   * The maximum number of results of `once` that the table keeps for all sessions together. The
   * table checks this limit when this session adds a result. A command of an older broker lacks
   * this field; the table then uses a default.
   */
  readonly keptResults?: number | undefined
  /**
   * The maximum for the bytes of the kept results of all sessions, as `weights.ts` estimates the
   * bytes. A command of an older broker lacks this field; the table then uses a default.
   */
  readonly keptResultBytes?: number | undefined
}

/**
 * The limit of `raiseFenceFloor`. A broker can derive the fence of this command from its clock: ms
 * since 1970, times 1,024. The limit is this product for the beginning of the year 2100. Fences are
 * never lowered. So without the limit, a broker whose clock is centuries ahead would raise the
 * fences of the command log for good. Enough fences remain above the limit: more than 2^52, up to
 * the largest safe integer.
 */
export const maxFenceFloor = 4_102_444_800_000 * 1024

/**
 * Makes every later fence higher than `fence`. A broker submits this command when it starts. A
 * table ignores the command if `fence` is higher than {@link maxFenceFloor}.
 */
export interface RaiseFenceFloor extends CommandBase {
  readonly type: 'raiseFenceFloor'
  readonly fence: number
}

/**
 * Begins or ends the quiet start, in which the table grants only requests that steal the lock. The
 * quiet start is for a broker that loses its table in a restart. The quiet start lasts until the
 * leases of all earlier holders are over, so that none of them still relies on its lock.
 */
export interface SetQuiet extends CommandBase {
  readonly type: 'quiet'
  readonly quiet: boolean
}

/**
 * A broker takes over the sessions of a broker that has ended. The connections of these sessions
 * are lost, and no broker has run their timers since the former broker ended. The table suspends
 * each session, even without a grace, and keeps the session for its lease. Every ttl, every
 * maxHold, every timeout and every keep time of a result starts again in full.
 */
export interface TakeOverSessions extends CommandBase {
  readonly type: 'restart'
  /**
   * The broker whose sessions are taken over. If undefined, the command takes over all sessions,
   * because a broker without a cluster has restarted.
   */
  readonly formerOwner: string | undefined
  /** The broker that runs the timers of these sessions from now on. */
  readonly ownerBroker: string
}

/** The client has sent a `hello` that opens a session. */
export interface OpenSession extends CommandBase {
  readonly type: 'open'
  /** The id of the handshake, with which the broker matches the outcome to the connection. */
  readonly handshakeId: string
  readonly session: string
  /** The broker that runs the timers of this session; '' if the log is not shared. */
  readonly ownerBroker: string
  /** The authenticated name of the client. Only the same principal may resume the session. */
  readonly principal: string
  /** The name of the session, which the client chose. */
  readonly name: string | undefined
  /** Lease, in ms. */
  readonly lease: number
  /** Grace, in ms; 0 for a session that ends with its connection and cannot be resumed. */
  readonly grace: number
  /** Hash of the resume secret; undefined without a grace. */
  readonly secret: string | undefined
  readonly limits: SessionLimits
}

/** The client has sent a `hello` that resumes a session on a new connection. */
export interface ResumeSession extends CommandBase {
  readonly type: 'resume'
  readonly handshakeId: string
  readonly session: string
  /** The broker that runs the timers of the session from now on. */
  readonly ownerBroker: string
  readonly principal: string
  /** Hash of the secret that the client presented. */
  readonly proof: string
  /**
   * The number of this attempt, which rises with every `hello` that presents the secret of `proof`;
   * undefined if the client sends no such number.
   */
  readonly resumeAttempt: number | undefined
  /** Hash of the secret for the next resume. */
  readonly secret: string
}

/** The connection has ended. A session without a grace ends, unless `keep` is true. */
export interface SuspendSession extends ConnectionCommand {
  readonly type: 'suspend'
  /**
   * Whether to keep the session for its lease even without a grace. True if the broker itself
   * closed the connection, because the client perhaps still relies on its locks.
   */
  readonly keep: boolean
}

/**
 * The client has sent `bye`, or a timer of the broker proposes the end of a session whose lease or
 * grace is over. The reason is never `dropped`: such a session ends by a `suspend`.
 */
export interface EndSession extends ConnectionCommand {
  readonly type: 'end'
  readonly reason: EndReason
}

/**
 * Why a session ends. `goodbye`: the client sent `bye`. `expired`: the lease or the grace is over.
 * `dropped`: the connection of a session without a grace has ended (command `suspend`).
 */
export type EndReason = 'goodbye' | 'expired' | 'dropped'

/** Requests a lock on one key. */
export interface RequestLock extends ConnectionCommand {
  readonly type: 'lock'
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  /** In ms; undefined if the lock does not expire. */
  readonly ttl: number | undefined
  /**
   * In ms. With 0 the request fails immediately instead of waiting. Undefined: the request
   * waits for ever.
   */
  readonly timeout: number | undefined
  /**
   * Whether the table first ends all locks of the key, and grants this request before the waiting
   * requests.
   */
  readonly steal: boolean
  /** JSON text. */
  readonly metadata: string | undefined
  /** The terms that only a few requests have, such as permits; undefined for an ordinary lock. */
  readonly extras?: ExtraTerms | undefined
}

/** Requests a lock on each of several keys. The table grants all the locks in one step, or none. */
export interface RequestLockSet extends ConnectionCommand {
  readonly type: 'lockAll'
  readonly id: number
  /**
   * At least one item, in the order in which the client named the keys. Answers and notices about
   * the set name the lock of the first item.
   */
  readonly items: readonly SetItem[]
  /** As in {@link RequestLock}. */
  readonly ttl: number | undefined
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
  /** The extras of the whole set. */
  readonly extras?: Pick<ExtraTerms, 'maxHold' | 'notify' | 'scope'> | undefined
}

/** Makes a shared lock exclusive, as soon as this lock is the only lock of its key. */
export interface UpgradeLock extends ConnectionCommand {
  readonly type: 'upgrade'
  readonly id: number
  /**
   * The first fence of the lock, which identifies the lock even after an upgrade gave the lock a
   * new fence.
   */
  readonly fence: number
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
}

/** Makes an exclusive lock shared. */
export interface DowngradeLock extends ConnectionCommand {
  readonly type: 'downgrade'
  readonly id: number
  /** As in {@link UpgradeLock}. */
  readonly fence: number
}

/** Ends a scope: withdraws its waiting request, and releases all its locks. */
export interface EndScope extends ConnectionCommand {
  readonly type: 'endScope'
  readonly id: number
  readonly scope: number
}

/**
 * Asks for the result of a function that only one caller runs at a time. The answer is one of:
 * - an exclusive lock of the key, under which the client must run the function;
 * - the value of a run that another caller had begun already;
 * - the value of an earlier run, which the table kept.
 */
export interface RequestOnce extends ConnectionCommand {
  readonly type: 'once'
  readonly id: number
  readonly key: string
  /** As in {@link RequestLock}. */
  readonly ttl: number | undefined
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** Releases the lock of a `once`, and gives the value of the run to the followers. */
export interface CompleteOnce extends ConnectionCommand {
  readonly type: 'complete'
  readonly id: number
  /** The fence of the lock under which the client ran the function. */
  readonly fence: number
  /** JSON text; undefined for the value `undefined`. */
  readonly value: string | undefined
  /** How long the table keeps the value for later calls, in ms; undefined: not at all. */
  readonly keep: number | undefined
}

/** Releases a lock. */
export interface Unlock extends ConnectionCommand {
  readonly type: 'unlock'
  readonly id: number
  /** As in {@link UpgradeLock}. */
  readonly fence: number
}

/** Starts the ttl of a lock again. */
export interface Refresh extends ConnectionCommand {
  readonly type: 'refresh'
  readonly id: number
  /** As in {@link UpgradeLock}. */
  readonly fence: number
  /** The new ttl, in ms; undefined if the ttl of the lock stays as it is. */
  readonly ttl: number | undefined
}

/**
 * The leader, which is the holder of an election's lock, replaces the value that observers of the
 * election see.
 */
export interface Proclaim extends ConnectionCommand {
  readonly type: 'proclaim'
  readonly id: number
  /** As in {@link UpgradeLock}. */
  readonly fence: number
  /** JSON text; undefined to publish no value. */
  readonly value: string | undefined
}

/** A client with the `revoke` permission ends one lock, whichever session holds the lock. */
export interface RevokeLock extends ConnectionCommand {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  /** The newest fence of the lock, after all upgrades. Queries show this fence to operators. */
  readonly fence: number
  /** The reason, for the audit log and for the holder. */
  readonly note: string
}

/** Waits at a barrier until as many calls wait there as `parties` says. */
export interface ArriveAtBarrier extends ConnectionCommand {
  readonly type: 'barrier'
  readonly id: number
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
 * has read this `welcome`, because a client sends nothing between `hello` and `welcome`. So the
 * table forgets the former resume secret. The broker submits this command for the first message
 * that is neither `ack` nor `bye`. Their commands, `ack` and `end`, have the same effect.
 */
export interface ConfirmWelcome extends ConnectionCommand {
  readonly type: 'confirm'
}

/** Proposal: the timeout of this lock request, or of this call at a barrier, is over. */
export interface TimeOutRequest extends CommandBase {
  readonly type: 'timeout'
  readonly session: string
  /** The id of the request or call. */
  readonly request: number
}

/**
 * Proposal: the ttl of this lock is over. A lock with another generation has started its ttl again,
 * so the table ignores the proposal.
 */
export interface ExpireLock extends CommandBase {
  readonly type: 'expire'
  readonly session: string
  /** As in {@link UpgradeLock}. */
  readonly fence: number
  readonly generation: number
}

/**
 * Proposal: the `maxHold` of this lock is over. The proposal needs no generation, because a refresh
 * does not prolong `maxHold`, and a later lock has another fence. The table ignores the proposal of
 * a former owner broker, because the new owner broker has started `maxHold` again.
 */
export interface EndHold extends CommandBase {
  readonly type: 'endHold'
  readonly session: string
  /** As in {@link UpgradeLock}. */
  readonly fence: number
  /** The broker whose timer counted `maxHold`. */
  readonly ownerBroker: string
}

/** Proposal: the time for which the table keeps the result of the run with this fence is over. */
export interface ForgetResult extends CommandBase {
  readonly type: 'forgetResult'
  readonly key: string
  readonly fence: number
}

/**
 * Proposal: continue with keys at which an earlier command stopped, because one command grants only
 * a limited number of waiters. The table grants more waiters, and answers more followers of a
 * `once`.
 */
export interface GrantUnfinishedKeys extends CommandBase {
  readonly type: 'grantUnfinishedKeys'
  readonly keys: readonly string[]
}

/** A command that follows from a message of a client within its session, except `bye`. */
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

export type Command =
  | ClientCommand
  | RaiseFenceFloor
  | SetQuiet
  | TakeOverSessions
  | OpenSession
  | ResumeSession
  | SuspendSession
  | EndSession
  | TimeOutRequest
  | ExpireLock
  | EndHold
  | ForgetResult
  | GrantUnfinishedKeys

/** All command types. The compiler refuses an object that lacks a type. */
const commandTypes: Readonly<Record<Command['type'], true>> = {
  raiseFenceFloor: true,
  quiet: true,
  restart: true,
  open: true,
  resume: true,
  suspend: true,
  end: true,
  lock: true,
  lockAll: true,
  upgrade: true,
  downgrade: true,
  endScope: true,
  once: true,
  complete: true,
  unlock: true,
  refresh: true,
  revoke: true,
  proclaim: true,
  barrier: true,
  cancel: true,
  ack: true,
  confirm: true,
  timeout: true,
  expire: true,
  endHold: true,
  forgetResult: true,
  grantUnfinishedKeys: true,
}

/**
 * Returns the type of the first command that this version of Holdfast does not know; undefined if
 * this version knows all commands. A command log must check all commands of an entry before the
 * table applies the first of these commands.
 */
export function findUnknownType(commands: readonly Command[]): string | undefined {
  // A damaged entry may have `null` in place of a command.
  const unknown = commands.find((command) => !Object.hasOwn(commandTypes, command?.type))
  return unknown === undefined ? undefined : String((unknown as Command | null)?.type)
}

/**
 * The error for a command of a newer version of Holdfast. A table that skipped the command would
 * differ from the tables of other brokers. The parameter is `never`, so that the compiler refuses a
 * `switch` that lacks a known command.
 */
export function unknownCommand({ type }: never): Error {
  return new Error(`the command log has a command of the unknown type "${type}": update Holdfast`)
}
