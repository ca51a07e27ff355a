/**
 * Crash tests preload this module into a program and each of its threads by `node --import`. An
 * import of `lmdb` then returns a wrapper, which kills the process at a selected point of the
 * journal's work; `points.ts` lists the points.
 */
import { register } from 'node:module'

register('./crashingHooks.js', import.meta.url)
