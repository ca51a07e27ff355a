/**
 * The points of a journal's work at which tests kill the process, in the order in which a journal
 * reaches them. A journal is a command log on disk: it commits and flushes records, and replaces
 * old records by a snapshot in parts. A pointer selects the valid snapshot. A record is answered
 * when the clients have the answers to its commands. A test selects the point by an environment
 * variable of the child process.
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

/**
 * The environment variable that selects the point. `CRASH_AT='before a commit:3'` kills the process
 * when the journal reaches this point for the third time.
 */
export const crashAtVariable = 'CRASH_AT'

/** The variable has an effect only in a Node process with these arguments. */
export const crashingArgs = ['--import', new URL('./programs/crashing.js', import.meta.url).href]
