/**
 * Checks the secret with which a client resumes its session, and whether a later attempt of the
 * same client has superseded this attempt.
 */
import type { ResumeSession } from './commands.js'
import type { Session } from './records.js'

/** Which secret of the session the command presents; undefined if it presents another text. */
export function matchSecret(
  { secret, nextSecret }: Session,
  { proof }: ResumeSession,
): 'secret' | 'nextSecret' | undefined {
  const matchesSecret = secret !== undefined && sameText(secret, proof)
  const matchesNext = nextSecret !== undefined && sameText(nextSecret, proof)
  if (matchesNext) return 'nextSecret'
  return matchesSecret ? 'secret' : undefined
}

/**
 * Whether the client sent this `hello` before another `hello` that has already resumed the session
 * with the same secret. The client has abandoned the connection of the earlier `hello`, so the
 * earlier `hello` must not take over the session. The secret alone does not show the order, because
 * the secret stays valid until the client sends a message on the later connection.
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

/** Compares two hashes in constant time, so that the duration reveals nothing about the hashes. */
export function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
