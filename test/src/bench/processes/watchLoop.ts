/**
 * A module that Node loads into a broker before the broker's own code. The module records how long
 * the event loop stalls, in the file that `loopStalls.ts` reads. The module costs the broker one
 * timer every few milliseconds.
 */
import { openSync, writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { checkMs, stallFile } from './loopStalls.js'

// Node loads the module into the broker's worker threads too, whose loops serve no client.
if (isMainThread) watchLoop()

function watchLoop(): void {
  const file = openSync(stallFile(process.pid), 'w')
  /** When the timer fired last. */
  let last = performance.now()
  setInterval(() => {
    const now = performance.now()
    const stall = now - last - checkMs
    last = now
    if (stall > checkMs) writeSync(file, `${Date.now()} ${stall.toFixed(1)}\n`)
  }, checkMs).unref()
}
