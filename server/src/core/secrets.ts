/**
 * Checks the secret that a resume presents, and whether a later attempt has superseded the resume.
 */
import type { ResumeSession } from './commands.js'
import type { Session } from './records.js'

/** Which secret of the session the resume presents; undefined if it presents neither. */
export function matchSecret(
  { secret, nextSecret }: Session,
  { proof }: ResumeSession,
): 'secret' | 'nextSecret' | undefined {
  const present = secret !== undefined && sameText(secret, proof)
  const next = nextSecret !== undefined && sameText(nextSecret, proof)
  if (next) return 'nextSecret'
  return present ? 'secret' : undefined
}

/**
 * Whether the client sent this `hello` before one that already resumed with the same secret. The
 * client has abandoned the connection of the earlier `hello`, so that one must not take over the
 * session. The secret alone cannot show this, because it stays valid until the client sends
 * something on the later connection.
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

/** Compares hashes in constant time, so that the duration reveals nothing about them. */
export function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
