/**
 * The broker's messages as text. Those on the hot path are written out by hand: a template costs a
 * fraction of `JSON.stringify`, and numbers need no escaping.
 */
import {
  type ErrorCode,
  errorCodes,
  type LockMode,
  type LockStats,
  type LossReason,
} from '@holdfast/shared'
import { limitMessage, limitNameOf } from '../config/limits.js'
import type { SessionLimits } from '../core/commands.js'
import type { Answer, Lock, Request, Session, StoredHolder } from '../core/index.js'

export function encodeWelcome(
  session: Session,
  resumed: boolean,
  secret: string | undefined,
  at: number,
): string {
  const { id, lease, grace } = session
  return JSON.stringify({
    type: 'welcome',
    session: id,
    resumed,
    secret,
    lease,
    grace,
    at: floor(at),
  })
}

const usedId = 'this id was used before; use a higher id for a new request'

/** @param at When the ttl began to run; undefined for a lock without one. */
export function encodeGranted(id: number, fence: number, at: number | undefined): string {
  return at === undefined
    ? `{"type":"granted","id":${id},"fence":${fence}}`
    : `{"type":"granted","id":${id},"fence":${fence},"at":${floor(at)}}`
}

function encodeUnlocked(id: number): string {
  return `{"type":"unlocked","id":${id}}`
}

export function encodeFailed(
  id: number,
  code: ErrorCode,
  message: string = errorCodes[code],
  holders?: readonly StoredHolder[],
): string {
  const named = holders === undefined ? '' : `,"holders":[${encodeHolders(holders)}]`
  return `{"type":"failed","id":${id},"code":"${code}","message":${JSON.stringify(message)}${named}}`
}

/**
 * @param at As for {@link encodeGranted}.
 * @param limits Those that the session lives under, for the sentence about the one it has reached.
 */
export function encodeAnswer(
  id: number,
  answer: Answer,
  at: number | undefined,
  limits?: SessionLimits,
): string {
  switch (answer.kind) {
    case 'granted':
      return encodeGranted(id, answer.lock.fence, at)
    case 'unlocked':
      return encodeUnlocked(id)
    case 'refreshed':
      return `{"type":"refreshed","id":${id}}`
    case 'revoked':
      return `{"type":"revoked","id":${id}}`
    case 'failed':
      // The table refuses a request as BAD_MESSAGE only for its id.
      return answer.code === 'BAD_MESSAGE'
        ? encodeFailed(id, answer.code, usedId)
        : encodeFailed(id, answer.code, sentenceFor(answer.limit, limits), answer.holders)
  }
}

function sentenceFor(
  limit: keyof SessionLimits | undefined,
  limits: SessionLimits | undefined,
): string | undefined {
  if (limit === undefined || limits === undefined) return undefined
  return limitMessage(limitNameOf(limit), limits[limit])
}

/** @param note What the operator who revoked the lock gave as the reason. */
export function encodeLost(fence: number, reason: LossReason, note?: string): string {
  const noted = note === undefined ? '' : `,"note":${JSON.stringify(note)}`
  return `{"type":"lost","fence":${fence},"reason":"${reason}"${noted}}`
}

export function encodePing(n: number): string {
  return `{"type":"ping","n":${n}}`
}

export function encodeAck(n: number, at: number): string {
  return `{"type":"ack","n":${n},"at":${floor(at)}}`
}

export function encodeStats(id: number, stats: LockStats): string {
  return JSON.stringify({ type: 'stats', id, stats })
}

export function encodeAuthenticated(id: number): string {
  return `{"type":"authenticated","id":${id}}`
}

export function encodeExpiring(withinMs: number): string {
  return `{"type":"expiring","within":${floor(withinMs)}}`
}

export function encodeDraining(withinMs: number): string {
  return `{"type":"draining","within":${withinMs}}`
}

/** What a session is told of a lock after a resume; not the lock, which may be gone by then. */
export interface HeldItem {
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly ttl: number | undefined
  /** When the ttl began to run, if there is one. */
  readonly at: number | undefined
}

/** A lock as its own session is told after a resume. */
export function encodeHeldItem({ id, key, mode, fence, ttl, at }: HeldItem): string {
  return JSON.stringify({ id, key, mode, fence, ttl, at: at === undefined ? undefined : floor(at) })
}

/** A lock as everybody is told. */
export function encodeHeldInfo(lock: Lock): string {
  return `{${heldFields(lock)}}`
}

export function encodeLockEvent(
  event: 'locked' | 'unlocked' | 'expired' | 'lost',
  lock: Lock,
): string {
  return `{"event":"${event}",${heldFields(lock)}}`
}

/** What a query tells of a waiting request; not the request, whose metadata can be large. */
export type Waiter = Pick<Request, 'mode' | 'session' | 'since'>

export function encodeWaitingInfo(key: string, { mode, session, since }: Waiter): string {
  return JSON.stringify({ key, mode, session: session.id, name: session.name, since })
}

function heldFields({ key, mode, session, metadata, fence, since }: Lock): string {
  const holder = { session: session.id, name: session.name, metadata, fence, since }
  return `${keyAndMode(key, mode)},${holderFields(holder)}`
}

function keyAndMode(key: string, mode: LockMode): string {
  return `"key":${JSON.stringify(key)},"mode":"${mode}"`
}

/** How many there may be, and how long, the table has seen to. */
function encodeHolders(holders: readonly StoredHolder[]): string {
  return holders.map((holder) => `{${holderFields(holder)}}`).join(',')
}

/** The metadata is JSON text already and goes in as it is. */
function holderFields({ session, name, metadata, fence, since }: StoredHolder): string {
  const named = name === undefined ? '' : `,"name":${JSON.stringify(name)}`
  const described = metadata === undefined ? '' : `,"metadata":${metadata}`
  return `"session":"${session}"${named}${described},"fence":${fence},"since":${since}`
}

function floor(at: number): number {
  return Math.floor(at)
}
