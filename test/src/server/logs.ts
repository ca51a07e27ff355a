/** A command log that applies commands late, as a log on other machines does. */
import type { Log } from '@holdfast/server/internal'

type Replica = Parameters<Log['start']>[0]
type Command = Parameters<Log['submit']>[0]

/**
 * Makes a log that keeps submitted commands until `deliver` applies them, or the first `most` of
 * them.
 */
export function slowLog(): { log: Log; deliver: (most?: number) => void; pending: () => number } {
  let replica: Replica | undefined
  const submitted: Command[] = []
  const log: Log = {
    start: (started) => {
      replica = started
      return undefined
    },
    submit: (command) => {
      submitted.push(command)
    },
    close: async () => {},
  }
  const deliver = (most = Number.POSITIVE_INFINITY): void => {
    for (let left = most; left > 0 && submitted.length > 0; left--) {
      replica?.apply(submitted.shift()!)
    }
  }
  return { log, deliver, pending: () => submitted.length }
}
