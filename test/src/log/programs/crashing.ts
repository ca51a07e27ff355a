/**
 * Loaded before a program (`node --import`), in each of its threads: whoever imports `lmdb` gets
 * ours, which is the real one with points at which the process is killed. Not a test: tests start
 * it.
 */
import { register } from 'node:module'

register('./crashingHooks.js', import.meta.url)
