/**
 * The secrets of a session. The functions check the secret with which a client resumes its session,
 * and whether a later `hello` of the same client has already resumed the session. They also make
 * the former secret invalid when the client has the new secret.
 *
 * A session has up to two secrets. Each `welcome` gives the client a new secret, `nextSecret`. The
 * former secret, `secret`, stays valid until the client shows that it has read the new secret.
 * The table stores the hashes of both secrets.
 */
import type { Session } from './records.js'
import type { ResumeSession } from './sessionCommands.js'

/**
 * The field of the session that has the secret of the command; undefined if neither field has this
 * secret. `proof` is the hash of the secret that the client presented.
 */
export function matchSecret(
  { secret, nextSecret }: Session,
  { proof }: ResumeSession,
): 'secret' | 'nextSecret' | undefined {
  // Both hashes are compared, so that the duration does not tell which secret matches.
  const matchesSecret = secret !== undefined && equalInConstantTime(secret, proof)
  const matchesNext = nextSecret !== undefined && equalInConstantTime(nextSecret, proof)
  if (matchesNext) return 'nextSecret'
  return matchesSecret ? 'secret' : undefined
}

/**
 * Whether this `hello` comes too late: another `hello` with the same secret and an equal or higher
 * `resumeAttempt` has already resumed the session. The client has abandoned the connection of this
 * `hello`, so this `hello` must not take over the session. The secret alone does not show which
 * `hello` is newer, because the client presents the same secret until it reads the new secret.
 */
export function isSupersededAttempt(
  { lastResumeAttempt }: Session,
  { resumeAttempt }: ResumeSession,
): boolean {
  return (
    lastResumeAttempt !== undefined &&
    resumeAttempt !== undefined &&
    resumeAttempt <= lastResumeAttempt
  )
}

/**
 * Makes the former secret of the session invalid. Call when the client has received `nextSecret`,
 * which must not be undefined.
 */
export function confirmNextSecret(session: Session): void {
  session.secret = session.nextSecret
  session.nextSecret = undefined
  session.lastResumeAttempt = undefined
}

/** Compares two hashes in constant time, so that the duration reveals nothing about the hashes. */
export function equalInConstantTime(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
