/**
 * A command log that applies commands late, as a log on other machines does. The command log orders
 * all changes of the lock table.
 */
import type { Log } from '@holdfast/server/internal'

type StateMachine = Parameters<Log['start']>[0]
type Command = Parameters<Log['submit']>[0]

/**
 * Makes a log that keeps submitted commands. `deliver(count)` applies the oldest `count` commands,
 * and `deliver()` applies all. `pending` counts the kept commands.
 */
export function slowLog(): { log: Log; deliver: (count?: number) => void; pending: () => number } {
  let stateMachine: StateMachine | undefined
  const submitted: Command[] = []
  const log: Log = {
    start: (newStateMachine) => {
      stateMachine = newStateMachine
      // No promise, because this log starts at once.
      return undefined
    },
    submit: (command) => {
      submitted.push(command)
    },
    close: async () => {},
  }
  const deliver = (count = Number.POSITIVE_INFINITY): void => {
    for (let remaining = count; remaining > 0 && submitted.length > 0; remaining--) {
      stateMachine?.apply(submitted.shift()!)
    }
  }
  return { log, deliver, pending: () => submitted.length }
}
