/**
 * Loaded into a server before its own code where the machine has no `/proc`: answers when it is
 * asked over the channel to its parent what it has used.
 */
import { ownUsage } from './usage.js'

process.on('message', (message) => {
  if (message === 'usage') process.send?.(ownUsage())
})
// The question may never come, and the process must be able to end without it.
process.channel?.unref()
