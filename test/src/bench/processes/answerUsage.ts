/**
 * Loaded into a server before its own code if the machine has no `/proc`: answers its parent's
 * requests for the resources that the server has used.
 */
import { ownUsage } from './usage.js'

process.on('message', (message) => {
  if (message === 'usage') process.send?.(ownUsage())
})
// The process must be able to end without such a request.
process.channel?.unref()
