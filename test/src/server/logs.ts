/** Logs that are not the default, for what can only happen when order takes its time. */
import type { Log } from '@holdfast/server/internal'

type Replica = Parameters<Log['start']>[0]
type Command = Parameters<Log['submit']>[0]

/** A log that keeps what is submitted until it is told to hand it back, or some of it. */
export function slowLog(): { log: Log; deliver: (most?: number) => void; pending: () => number } {
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
  const deliver = (most = Number.POSITIVE_INFINITY): void => {
    for (let left = most; left > 0 && kept.length > 0; left--) replica?.apply(kept.shift()!)
  }
  return { log, deliver, pending: () => kept.length }
}
