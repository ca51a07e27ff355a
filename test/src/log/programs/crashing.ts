/**
 * Preloaded into a program and each of its threads (`node --import`). An import of `lmdb` then
 * returns a wrapper, with points at which the process is killed. Not a test: tests use this module.
 */
import { register } from 'node:module'

register('./crashingHooks.js', import.meta.url)
