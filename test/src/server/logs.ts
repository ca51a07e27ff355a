/** Logs that are not the default, for what can only happen when order takes its time. */
import type { Log } from '@holdfast/server/internal'

type Replica = Parameters<Log['start']>[0]
type Command = Parameters<Log['submit']>[0]

/** A log that keeps what is submitted until it is told to hand it back. */
export function slowLog(): { log: Log; deliver: () => void; pending: () => number } {
  let replica: Replica | undefined
  const kept: Command[] = []
  const log: Log = {
    start: (to) => {
      replica = to
      return undefined
    },
    submit: (command) => {
      kept.push(command)
    },
    close: async () => {},
  }
  const deliver = (): void => {
    for (let next = kept.shift(); next !== undefined; next = kept.shift()) replica?.apply(next)
  }
  return { log, deliver, pending: () => kept.length }
}
