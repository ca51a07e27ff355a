/**
 * The commands: every input of the lock table. Tables that apply the same commands in the same
 * order are equal.
 *
 * Commands come from two senders:
 * - A client. The command of a client has an *attach epoch*: the number of the connection on which
 *   the message of the client arrived.
 * - A timer of the broker. The command of a timer is a proposal, and names the state that the timer
 *   was set for.
 *
 * The table ignores a command whose connection or state is out of date.
 *
 * Terms: the *lease* is how long a session lives without a message of its client. The *grace* is
 * how long a session without a connection can be resumed. The *ttl* is how long a lock lives
 * without a refresh. A *fence* is the number of a lock, higher than those of all earlier locks.
 */
import type { LockMode } from '@holdfast/shared'
import type { ExtraTerms, SetItem } from './lockExtras.js'

interface Base {
  /**
   * The wall time of the broker that submits the command, in ms since 1970. The table only stores
   * this time, as the field `since` of a lock or request.
   */
  readonly at: number
}

/** A command from a client, on the connection of the session that has the number `attachEpoch`. */
interface FromSession extends Base {
  readonly session: string
  readonly attachEpoch: number
}

/**
 * The limits of a session. The command `open` has the limits, so that every broker applies the same
 * limits.
 */
export interface SessionLimits {
  /** Most locks and waiting requests, counted together. */
  readonly locks: number
  /** Most stored answers that the client has not acknowledged. */
  readonly answers: number
  /** A request of this session may wait only for a key with fewer waiting requests than this. */
  readonly waitersPerKey: number
  /**
   * Most waiting scopes and sets that one check for deadlocks visits. Undefined in a command of an
   * older broker, which has no scopes: 10,000.
   */
  readonly deadlockVisits?: number | undefined
  /**
   * Most calls that wait at barriers. Undefined in a command of an older broker, which has no
   * barriers: no limit.
   */
  readonly barriers?: number | undefined
  /** Longest `maxHold` of a lock, in ms. Undefined: no limit. */
  readonly maxHold?: number | undefined
  /**
   * Most kept results of all sessions together, after this session has added a result. Undefined in
   * a command of an older broker: a default.
   */
  readonly keptResults?: number | undefined
  /** Most bytes of these results, as `weights.ts` estimates them. Undefined as above. */
  readonly keptResultBytes?: number | undefined
}

/**
 * The highest fence to which `raiseFenceFloor` may raise the fences: the fence of a clock at the
 * beginning of the year 2100, in ms since 1970 times 1,024. Fences are never lowered, so the fences
 * of a broker whose clock is centuries ahead would stay in the log for good. More than 2^52 fences
 * remain above this floor.
 */
export const maxFenceFloor = 4_102_444_800_000 * 1024

/**
 * Makes every later fence higher than `fence`. A broker submits this command when it starts. A
 * table ignores the command if `fence` is higher than {@link maxFenceFloor}.
 */
export interface RaiseFenceFloor extends Base {
  readonly type: 'raiseFenceFloor'
  readonly fence: number
}

/**
 * Starts or ends the quiet time, in which the table grants only requests that steal the lock. A
 * broker that lost its table begins with a quiet time, and waits until every earlier holder must
 * have given up its lock.
 */
export interface SetQuiet extends Base {
  readonly type: 'quiet'
  readonly quiet: boolean
}

/**
 * A broker takes over the sessions of a broker that has ended. The connections of these sessions
 * are lost, and no broker has kept their deadlines. The table suspends each session for its lease,
 * and restarts every ttl and timeout in full.
 */
export interface Restart extends Base {
  readonly type: 'restart'
  /** The broker whose sessions are taken over; undefined for all sessions. */
  readonly formerOwner: string | undefined
  /** The broker that keeps the deadlines of these sessions from now on. */
  readonly ownerBroker: string
}

export interface OpenSession extends Base {
  readonly type: 'open'
  /** Identifies the `hello`, so that the broker can match the outcome with its handshake. */
  readonly handshakeId: string
  readonly session: string
  /** The broker that keeps the deadlines of this session; '' if the log is not shared. */
  readonly ownerBroker: string
  /** The authenticated principal. Only the same principal may resume the session. */
  readonly principal: string
  readonly name: string | undefined
  /** Lease, in ms. */
  readonly lease: number
  /** Grace, in ms; 0 for a session that ends with its connection and cannot be resumed. */
  readonly grace: number
  /** Hash of the resume secret; undefined without a grace. */
  readonly secret: string | undefined
  readonly limits: SessionLimits
}

export interface ResumeSession extends Base {
  readonly type: 'resume'
  readonly handshakeId: string
  readonly session: string
  /** The broker that keeps the session's deadlines from now on. */
  readonly ownerBroker: string
  readonly principal: string
  /** Hash of the secret that the client presented. */
  readonly proof: string
  /**
   * The number of this attempt, which rises with every `hello` that presents this secret; undefined
   * if the client sends no such number.
   */
  readonly resumeAttempt: number | undefined
  /** Hash of the secret for the next resume. */
  readonly secret: string
}

/** The connection has ended. A session without a grace ends, unless `keep` is set. */
export interface SuspendSession extends FromSession {
  readonly type: 'suspend'
  /**
   * Whether to keep the session for its lease even without a grace. True if the broker itself
   * closed the connection, because the client may not know of the end and still rely on its locks.
   */
  readonly keep: boolean
}

/** The client has sent `bye`, or a timer of the broker proposes the end of an expired session. */
export interface EndSession extends FromSession {
  readonly type: 'end'
  readonly reason: EndReason
}

export type EndReason = 'goodbye' | 'expired' | 'dropped'

export interface RequestLock extends FromSession {
  readonly type: 'lock'
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** In ms. With 0 the request fails at once instead of waiting; undefined: it waits for ever. */
  readonly timeout: number | undefined
  readonly steal: boolean
  /** JSON text. */
  readonly metadata: string | undefined
  /** Undefined for an ordinary lock. */
  readonly extras?: ExtraTerms | undefined
}

/** Requests one lock on several different keys: all of them in one step, or none. */
export interface RequestLockSet extends FromSession {
  readonly type: 'lockAll'
  readonly id: number
  /** At least one item. The order is that of the client, and the first item stands for the set. */
  readonly items: readonly SetItem[]
  readonly ttl: number | undefined
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
  /** The extras of the whole set. */
  readonly extras?: Pick<ExtraTerms, 'maxHold' | 'notify' | 'scope'> | undefined
}

/** Makes a shared lock exclusive, as soon as it is the only lock of its key. */
export interface UpgradeLock extends FromSession {
  readonly type: 'upgrade'
  readonly id: number
  /** The first fence of the lock, which is its name. */
  readonly fence: number
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
}

/** Makes an exclusive lock shared. */
export interface DowngradeLock extends FromSession {
  readonly type: 'downgrade'
  readonly id: number
  /** The first fence of the lock, which is its name. */
  readonly fence: number
}

/** Ends a scope: withdraws its waiting request, and releases all its locks. */
export interface EndScope extends FromSession {
  readonly type: 'endScope'
  readonly id: number
  readonly scope: number
}

/**
 * Requests the exclusive lock of a key in order to run a function, or the value of the run of
 * another caller. The request is answered with the lock, with the value of the run that it has
 * waited for, or with a kept value.
 */
export interface RequestOnce extends FromSession {
  readonly type: 'once'
  readonly id: number
  readonly key: string
  readonly ttl: number | undefined
  /** As in {@link RequestLock}. */
  readonly timeout: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** Releases the lock of a `once`, and gives the value of the run to its followers. */
export interface CompleteOnce extends FromSession {
  readonly type: 'complete'
  readonly id: number
  readonly fence: number
  /** JSON text; undefined for the value `undefined`. */
  readonly value: string | undefined
  /** How long later calls get the value too, in ms; undefined: not at all. */
  readonly keep: number | undefined
}

export interface Unlock extends FromSession {
  readonly type: 'unlock'
  readonly id: number
  readonly fence: number
}

export interface Refresh extends FromSession {
  readonly type: 'refresh'
  readonly id: number
  readonly fence: number
  readonly ttl: number | undefined
}

/** The leader with this fence publishes another value. */
export interface Proclaim extends FromSession {
  readonly type: 'proclaim'
  readonly id: number
  readonly fence: number
  /** JSON text; undefined to publish no value. */
  readonly value: string | undefined
}

/** A client with the `revoke` permission ends one lock, whichever session holds the lock. */
export interface RevokeLock extends FromSession {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  readonly fence: number
  /** The reason, for the audit log and for the holder. */
  readonly note: string
}

/** Waits at a barrier until as many calls wait there as `parties` says. */
export interface ArriveAtBarrier extends FromSession {
  readonly type: 'barrier'
  readonly id: number
  readonly key: string
  /** How many calls pass the barrier together, at least 2. */
  readonly parties: number
  /** In ms. With 0 the call fails at once unless it is the last party; undefined: no timeout. */
  readonly timeout: number | undefined
}

/** The client gives up a lock request that waits, or a call at a barrier. */
export interface CancelRequest extends FromSession {
  readonly type: 'cancel'
  readonly request: number
}

/** The client has received these answers, so the table drops the stored answers. */
export interface AcknowledgeAnswers extends FromSession {
  readonly type: 'ack'
  readonly ids: readonly number[]
}

/**
 * The client has sent a message for which there is no other command, such as a `pong` or a `query`.
 * The message proves that the client has read the newest `welcome`, because a client sends nothing
 * after `hello` until it has read `welcome`.
 */
export interface ConfirmWelcome extends FromSession {
  readonly type: 'confirm'
}

/** Proposal: the timeout of this lock request, or of this call at a barrier, is over. */
export interface TimeOutRequest extends Base {
  readonly type: 'timeout'
  readonly session: string
  readonly request: number
}

/** Proposal: the ttl of this lock is over, unless the lock has another generation now. */
export interface ExpireLock extends Base {
  readonly type: 'expire'
  readonly session: string
  readonly fence: number
  readonly generation: number
}

/**
 * Proposal: the `maxHold` of this lock is over. Needs no generation, because a refresh does not
 * prolong `maxHold`, and a later lock has another fence. The table ignores the proposal of a former
 * owner broker, because the new owner counts the hold anew and tells the client when it began.
 */
export interface EndHold extends Base {
  readonly type: 'endHold'
  readonly session: string
  readonly fence: number
  /** The broker that counted the hold. */
  readonly ownerBroker: string
}

/** Proposal: the time for which the table keeps the result with this fence is over. */
export interface ForgetResult extends Base {
  readonly type: 'forgetResult'
  readonly key: string
  readonly fence: number
}

/**
 * Proposal: grant more waiters of these keys, and answer more followers of a `once`, where a
 * command reached its limit of grants.
 */
export interface GrantUnfinishedKeys extends Base {
  readonly type: 'grantUnfinishedKeys'
  readonly keys: readonly string[]
}

/** A command that follows from a message of a client about its locks and requests. */
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
  | Restart
  | OpenSession
  | ResumeSession
  | SuspendSession
  | EndSession
  | TimeOutRequest
  | ExpireLock
  | EndHold
  | ForgetResult
  | GrantUnfinishedKeys

const commandTypes: Readonly<Record<Command['type'], 1>> = {
  ...{ raiseFenceFloor: 1, quiet: 1, restart: 1, open: 1 },
  ...{ resume: 1, suspend: 1, end: 1, lock: 1 },
  ...{ lockAll: 1, upgrade: 1, downgrade: 1, endScope: 1 },
  ...{ once: 1, complete: 1, unlock: 1, refresh: 1, revoke: 1 },
  ...{ proclaim: 1, barrier: 1, cancel: 1, ack: 1, confirm: 1 },
  ...{ timeout: 1, expire: 1, endHold: 1, forgetResult: 1, grantUnfinishedKeys: 1 },
}

/**
 * Returns the type of the first command that this version of Holdfast does not know; undefined if
 * it knows all. A log must check the commands of its entries before the table applies one of them.
 */
export function findUnknownType(commands: readonly Command[]): string | undefined {
  const unknown = commands.find((command) => !Object.hasOwn(commandTypes, command?.type))
  return unknown === undefined ? undefined : String((unknown as Command | null)?.type)
}

/**
 * The error for a command of a newer version of Holdfast. A table that skipped the command would
 * differ from the tables of other brokers.
 */
export function unknownCommand({ type }: never): Error {
  return new Error(`the command log has a command of the unknown type "${type}": update Holdfast`)
}
