/**
 * The points of a journal's work at which a crash is tested, in the order in which they occur, and
 * how a test tells a child process to be killed at one of them.
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

/** An environment variable: `CRASH_AT='before a commit:3'` is the third time at this point. */
export const crashAtVariable = 'CRASH_AT'

/** The arguments with which node must be started, so that the variable has an effect. */
export const crashingArgs = ['--import', new URL('./programs/crashing.js', import.meta.url).href]
