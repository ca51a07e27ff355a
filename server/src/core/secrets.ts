/**
 * Whether a resume shows a secret of its session, and whether its client has not given it up since.
 */
import type { ResumeSession } from './commands.js'
import type { Session } from './records.js'

/** Which of the session's secrets a resume shows. */
export function isProvenBy(
  { secret, nextSecret }: Session,
  { proof }: ResumeSession,
): 'secret' | 'nextSecret' | undefined {
  const present = secret !== undefined && sameText(secret, proof)
  const next = nextSecret !== undefined && sameText(nextSecret, proof)
  if (next) return 'nextSecret'
  return present ? 'secret' : undefined
}

/**
 * Whether the client said this hello before one that was let in with the same secret. It has given
 * up the connection of this one, and may not have spoken on that of the other yet.
 */
export function isOvertaken(
  { lastResumeAttempt }: Session,
  { resumeAttempt: number }: ResumeSession,
): boolean {
  return lastResumeAttempt !== undefined && number !== undefined && number <= lastResumeAttempt
}

/** Compares hashes in constant time, so that the duration reveals nothing about them. */
export function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
