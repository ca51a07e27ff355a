/**
 * A module that Node loads into a server before the server's own code, if the machine has no
 * `/proc`. The bench, which is the parent process, then asks the module for the CPU time and memory
 * that the server has used.
 */
import { ownUsage } from './usage.js'

process.on('message', (message) => {
  if (message === 'askUsage') process.send?.(ownUsage())
})
// The channel to the parent must not keep the process alive.
process.channel?.unref()
