/**
 * Crash tests preload this module into a program and each of its threads by `node --import`. An
 * import of `lmdb` then returns a wrapper that kills the process at a point of the journal's work.
 */
import { register } from 'node:module'

register('./crashingHooks.js', import.meta.url)
