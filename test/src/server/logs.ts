/**
 * A command log that applies commands late, as a log on other machines does. The command log orders
 * all changes of the lock table.
 */
import type { Log } from '@holdfast/server/internal'

type Replica = Parameters<Log['start']>[0]
type Command = Parameters<Log['submit']>[0]

/**
 * Makes a log that keeps submitted commands until `deliver` applies the oldest `count` commands, by
 * default all.
 */
export function slowLog(): { log: Log; deliver: (count?: number) => void; pending: () => number } {
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
  const deliver = (count = Number.POSITIVE_INFINITY): void => {
    for (let left = count; left > 0 && submitted.length > 0; left--) {
      replica?.apply(submitted.shift()!)
    }
  }
  return { log, deliver, pending: () => submitted.length }
}
