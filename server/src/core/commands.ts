/**
 * The commands: every input of the lock table. Tables that apply the same commands in the same
 * order are equal. `sessionCommands.ts` has the commands that open and end sessions.
 * `clientCommands.ts` has the other commands of clients. This file has the commands of the broker
 * itself, and the checks for commands of an unknown type.
 *
 * Terms:
 * - A *session* is the relationship of one client with the broker. The session owns the locks and
 *   the waiting requests of the client, and can outlive a connection.
 * - The *lease* is how long a session lives without a message of its client. The *grace* is how
 *   long a session without a connection can be resumed. The *ttl* is how long a lock lives without
 *   a refresh. The *maxHold* is the longest time for which a lock is held, with or without
 *   refreshes.
 * - A *fence* is the number of a lock, higher than the fences of all earlier locks.
 * - The *generation* of a lock rises with every refresh.
 * - The *owner broker* of a session keeps its deadlines. The *owner epoch* of the session rises
 *   when another broker becomes the owner.
 * - A *set* is a request for several keys, which the table grants in one step.
 * - A *scope* is one logical task of a client, with its locks and its waiting request. The table
 *   refuses deadlocks between scopes.
 * - A `once` asks for the result of a function that only one caller runs at a time. One call of the
 *   function is a *run*. The *followers* of a run are the other requests that wait for its value.
 * - `hello` is the first message of a client on a connection, and opens or resumes a session.
 *   `welcome` is the answer of the broker. With `bye` the client ends its session.
 *
 * Commands come from two senders:
 * - A client. Its commands, except `open` and `resume`, have an *attach epoch*: the number of the
 *   connection on which the message arrived.
 * - The broker itself, mostly one of its timers. The command of a timer is a proposal, and names
 *   the session, request or lock for which the timer was set. For a deadline of a lock, the command
 *   also names the owner epoch, and for the ttl the generation.
 *
 * The table ignores a command of a client if its connection is not the newest connection of the
 * session. The table ignores a proposal if its session, request or lock is gone, or if the lock has
 * another generation or the session another owner epoch.
 */
import type { ClientCommand } from './clientCommands.js'
import type {
  CommandBase,
  EndSession,
  OpenSession,
  ResumeSession,
  SuspendSession,
} from './sessionCommands.js'

/**
 * The highest fence that `raiseFenceFloor` may have. A broker without a fence file calculates the
 * fence of its command from its clock: ms since 1970, times 1,024. The maximum is the product for
 * the beginning of the year 2100. Fences are never lowered. So without the maximum, a broker whose
 * clock is centuries ahead would raise the fences of the command log for good. More than 2^52 safe
 * integers remain above the maximum.
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

/** Proposal: the timeout of this lock request, or of this call at a barrier, is over. */
export interface TimeOutRequest extends CommandBase {
  readonly type: 'timeout'
  readonly session: string
  /** The id of the request or call. */
  readonly request: number
}

/**
 * Proposal: the ttl of this lock is over. A lock with another generation has started its ttl again,
 * so the table ignores the proposal. The table also ignores the proposal of a former owner broker,
 * because the new owner broker has started the ttl again.
 */
export interface ExpireLock extends CommandBase {
  readonly type: 'expire'
  readonly session: string
  /** The first fence of the lock, which identifies the lock even after an upgrade. */
  readonly fence: number
  readonly generation: number
  /** See {@link EndHold.ownerEpoch}. */
  readonly ownerEpoch?: number | undefined
}

/**
 * Proposal: the `maxHold` of this lock is over. The proposal needs no generation, because a refresh
 * does not prolong `maxHold`, and a later lock has another fence. The table ignores the proposal of
 * a former owner broker, because the new owner broker has started `maxHold` again.
 */
export interface EndHold extends CommandBase {
  readonly type: 'endHold'
  readonly session: string
  /** The first fence of the lock, which identifies the lock even after an upgrade. */
  readonly fence: number
  /**
   * The owner epoch of the session when the timer made this proposal. Missing in older journals,
   * whose sessions have the owner epoch 0.
   */
  readonly ownerEpoch?: number | undefined
}

/** Proposal: the keep time of the result of a `once` is over. */
export interface ForgetResult extends CommandBase {
  readonly type: 'forgetResult'
  readonly key: string
  /** The fence of the run's lock. A later result of the same key has another fence. */
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
 * table applies any of them.
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
