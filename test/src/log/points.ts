/**
 * The points of a journal's work at which a crash is worth trying, in the order in which they come,
 * and how a test asks a child process to be killed at one of them.
 */

export const crashPoints = [
  'before a commit',
  'committed, not flushed',
  'flushed, not answered',
  'before a part of a snapshot',
  'before the pointer moves',
  'before the old records are removed',
  'before the old parts are removed',
] as const

export type CrashPoint = (typeof crashPoints)[number]

/** Of the child: `CRASH_AT='before a commit:3'` is the third time that it comes there. */
export const crashVariable = 'CRASH_AT'

/** What node has to be started with, so that the variable is heeded. */
export const crashingArgs = ['--import', new URL('./programs/crashing.js', import.meta.url).href]
