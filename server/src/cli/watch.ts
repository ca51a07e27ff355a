/**
 * `holdfast watch`: prints the held locks, and then each change of a lock, until Ctrl-C. With
 * `--queue` the command also prints the requests that wait, and each change of a queue.
 */
import type { HeldInfo, QueueEvent, WaitingInfo, WatchEvent } from '@holdfast/client'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, untilStopped, withSession } from './connecting.js'
import {
  escapeText,
  metadataText,
  modeText,
  print,
  printJson,
  sessionLabel,
  valueNote,
} from './output.js'

interface WatchFlags extends BrokerFlags {
  readonly queue?: boolean | undefined
}

export function watchCommand(): Command {
  return brokerCommand(
    'watch',
    'print the events of keys, one a line, until Ctrl-C',
    `holdfast watch
holdfast watch --queue orders:
holdfast watch --json orders: | jq -r 'select(.event == "lost") | .key'`,
  )
    .argument('[prefix]', 'only keys that begin with this prefix', '')
    .option('--queue', 'also print the requests that wait, and why each of them ceases to wait')
    .addHelpText(
      'after',
      `
Events of a lock: locked, upgraded, downgraded, proclaimed (the leader of an election changed its
value), unlocked, expired, lost (stolen, revoked, or the session ended). With --queue also queued,
and dequeued with a reason: granted, timeout, aborted, answered (a request of "once" got the result
of another run), ended (the session ended, or the request was an upgrade whose lock ended). A
request that is granted without waiting is not queued.`,
    )
    .action((prefix: string, flags: WatchFlags) =>
      withSession(
        flags,
        async (session) => {
          let rejectWatch: (error: Error) => void = () => {}
          // This promise rejects if the broker refuses the watch.
          const refusedWatch = new Promise<never>((_, reject) => {
            rejectWatch = reject
          })
          // The field `event` of a watch event is the kind of the event, such as `locked`.
          const onEvent = (event: WatchEvent | QueueEvent): void => {
            if (event.event === 'refused') rejectWatch(event.error)
            else printEvent(event, flags)
          }
          session.watch({ prefix, queue: flags.queue }, onEvent)
          await Promise.race([untilStopped(session), refusedWatch])
        },
        // Other commands do not reconnect. `undefined` selects the default of the client, which is
        // to reconnect, so the watch goes on.
        { reconnect: undefined },
      ),
    )
}

/**
 * The event that lists the held locks and, with `--queue`, the waiting requests: at most 1,000 of
 * each. This is the first event of a watch, and the first after a reconnect.
 */
type StateEvent = Extract<WatchEvent, { event: 'state' }>

function printEvent(
  event: Exclude<WatchEvent, { event: 'refused' }> | QueueEvent,
  flags: WatchFlags,
): void {
  if (flags.json) printJson(event)
  else if (event.event === 'state') printState(event)
  else if (isQueueEvent(event)) {
    const reason = event.reason === undefined ? '' : `: ${event.reason}`
    print(`${timestamp()} ${event.event} ${waiterText(event)}${reason}`)
  } else print(`${timestamp()} ${event.event} ${lockText(event)}`)
}

/**
 * Whether the event is about a request that waits or waited. Only such an event has a request id.
 */
function isQueueEvent(
  event: Exclude<WatchEvent, StateEvent | { event: 'refused' }> | QueueEvent,
): event is QueueEvent {
  return 'request' in event
}

/**
 * Prints all held locks and waiting requests that the event lists. If the keys are divided among
 * several brokers or clusters (cells), each cell sends its own state, and `cell` is its number.
 */
function printState(state: StateEvent & { readonly cell?: number | undefined }): void {
  const { held, heldCount, waiting, waitingCount, resync, cell } = state
  const cellText = cell === undefined ? '' : ` in cell ${cell}`
  const resyncNote = resync ? ' (after a reconnect; events may be missing before this line)' : ''
  const waitingText = waitingCount === undefined ? '' : `, ${waitingCount} waiting`
  print(`${timestamp()} ${heldCount} held${waitingText}${cellText}${resyncNote}`)
  for (const lock of held) print(`${timestamp()} held ${lockText(lock)}`)
  const unlisted = heldCount - held.length
  if (unlisted > 0) print(`${timestamp()} ... and ${unlisted} more held, which ls --all lists`)
  if (waiting === undefined || waitingCount === undefined) return
  for (const request of waiting) print(`${timestamp()} waiting ${waiterText(request)}`)
  const unlistedWaiters = waitingCount - waiting.length
  if (unlistedWaiters > 0) print(`${timestamp()} ... and ${unlistedWaiters} more waiting`)
}

function lockText(lock: HeldInfo): string {
  const details = `${modeText(lock)} ${sessionLabel(lock)} fence ${lock.fence}${valueNote(lock)}`
  return `${escapeText(lock.key)} ${details} ${metadataText(lock)}`.trimEnd()
}

function waiterText(request: WaitingInfo): string {
  return `${escapeText(request.key)} ${modeText(request)} ${sessionLabel(request)}`
}

function timestamp(): string {
  return new Date().toISOString()
}
