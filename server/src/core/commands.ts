/**
 * Everything that can happen to the lock table. The order of these commands is the whole history:
 * a table that applies the same commands in the same order is the same table.
 *
 * Two kinds of sender: clients, whose commands carry the *attach number* of the connection they
 * came on, and the broker's own timers, whose commands are proposals that carry what they judged.
 * The table does not act on either if it has moved on meanwhile.
 */
import type { LockMode } from '@holdfast/shared'

interface Base {
  /** The submitter's wall time, in ms since 1970: opaque here, shown to people as "since". */
  readonly at: number
}

/** From a client, on the connection that the session was attached to as number `attach`. */
interface FromSession extends Base {
  readonly session: string
  readonly attachEpoch: number
}

/** Limits that a session lives under; in the command, so that every replica judges alike. */
export interface SessionLimits {
  /** Held and waiting together. */
  readonly locks: number
  /** Stored answers that the client has not acknowledged. */
  readonly answers: number
  /** Requests in the queue that this session's request would join. */
  readonly waitersPerKey: number
}

/** The next fence is above this. The first command of a broker's life. */
export interface RaiseFenceFloor extends Base {
  readonly type: 'raise'
  readonly fence: number
}

/**
 * While quiet, nobody is granted anything but a steal: a broker that lost its table waits until
 * whoever held a lock before must have given it up.
 */
export interface SetQuiet extends Base {
  readonly type: 'quiet'
  readonly quiet: boolean
}

/**
 * A broker has taken over from one that is gone: no connection of that one is there any more, and
 * no deadline was kept. Each of its sessions is suspended for its lease, and every ttl and timeout
 * begins anew.
 */
export interface Restart extends Base {
  readonly type: 'restart'
  /** Whose sessions; undefined for all of them. */
  readonly formerOwner: string | undefined
  /** Who keeps their deadlines from now on. */
  readonly ownerBroker: string
}

export interface OpenSession extends Base {
  readonly type: 'open'
  /** Names the hello that asks, for whoever waits for its outcome. */
  readonly handshakeId: string
  readonly session: string
  /**
   * Which of the brokers that share the log keeps the deadlines of this session; '' where it is
   * shared with nobody.
   */
  readonly ownerBroker: string
  /** Who authenticated; a resume must be by the same. */
  readonly principal: string
  readonly name: string | undefined
  /** Lease, in ms. */
  readonly lease: number
  /** In ms; 0 for a session that ends with its connection and cannot be resumed. */
  readonly grace: number
  /** Hash of the resume secret; undefined without a grace. */
  readonly secret: string | undefined
  readonly limits: SessionLimits
}

export interface ResumeSession extends Base {
  readonly type: 'resume'
  readonly handshakeId: string
  readonly session: string
  /** Who keeps its deadlines from now on. */
  readonly ownerBroker: string
  readonly principal: string
  /** Hash of the secret that the client presented. */
  readonly proof: string
  /** Rises with every hello that presents this secret; undefined if its client does not say. */
  readonly resumeAttempt: number | undefined
  /** Hash of the secret for next time. */
  readonly secret: string
}

/** The connection is gone. A session without a grace ends, unless it is kept for its lease. */
export interface SuspendSession extends FromSession {
  readonly type: 'suspend'
  /**
   * The broker cut the connection itself: the client may not know, so its locks outlast its lease.
   */
  readonly keep: boolean
}

/** A goodbye, or a proposal of the broker that has waited long enough. */
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
  /** In ms; 0 does not wait, undefined waits for ever. */
  readonly timeout: number | undefined
  readonly steal: boolean
  /** JSON text. */
  readonly metadata: string | undefined
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

/** Somebody with the right to do so ends a lock, whoever holds it. */
export interface RevokeLock extends FromSession {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  readonly fence: number
  /** Why, for the record. */
  readonly note: string
}

export interface CancelRequest extends FromSession {
  readonly type: 'cancel'
  readonly request: number
}

/** The client has these answers: forget them. */
export interface AcknowledgeAnswers extends FromSession {
  readonly type: 'ack'
  readonly ids: readonly number[]
}

/**
 * The client sent a message on this connection that becomes no other command, such as a `pong` or a
 * `query`. The message proves that the client read the newest `welcome`, because a client sends
 * nothing before that.
 */
export interface ConfirmWelcome extends FromSession {
  readonly type: 'confirm'
}

/** Proposal: this request has waited as long as it wanted to. */
export interface TimeOutRequest extends Base {
  readonly type: 'timeout'
  readonly session: string
  readonly request: number
}

/** Proposal: this lock's ttl, as it was in this generation, has run out. */
export interface ExpireLock extends Base {
  readonly type: 'expire'
  readonly session: string
  readonly fence: number
  readonly generation: number
}

/** Proposal: these keys have more to grant than one command grants at once. */
export interface GrantUnfinishedKeys extends Base {
  readonly type: 'serve'
  readonly keys: readonly string[]
}

export type Command =
  | RaiseFenceFloor
  | SetQuiet
  | Restart
  | OpenSession
  | ResumeSession
  | SuspendSession
  | EndSession
  | RequestLock
  | Unlock
  | Refresh
  | RevokeLock
  | CancelRequest
  | AcknowledgeAnswers
  | ConfirmWelcome
  | TimeOutRequest
  | ExpireLock
  | GrantUnfinishedKeys
