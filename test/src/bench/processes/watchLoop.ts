/**
 * Loaded into a broker before its own code: keeps account of how long its event loop stands still,
 * see `loopStalls.ts`. It costs one timer every few milliseconds.
 */
import { openSync, writeSync } from 'node:fs'
import { lookMs, stallFile } from './loopStalls.js'

const file = openSync(stallFile(process.pid), 'w')
let last = performance.now()

setInterval(() => {
  const now = performance.now()
  const stall = now - last - lookMs
  last = now
  if (stall > lookMs) writeSync(file, `${Date.now()} ${stall.toFixed(1)}\n`)
}, lookMs).unref()
