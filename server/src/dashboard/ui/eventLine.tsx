/** One event as a line: when, what, which key, who. */
import type { Kind, Seen } from '../model/tail.js'
import { timeOf } from '../model/words.js'
import { KeyLink, Who } from './parts.js'

const words: Readonly<Record<Kind, string>> = {
  locked: 'locked',
  unlocked: 'unlocked',
  expired: 'expired',
  lost: 'lost',
}

export function Happening({ kind }: { kind: Kind }) {
  return <span class={`happening happening-${kind}`}>{words[kind]}</span>
}

export function EventLine({ seen: { at, event } }: { seen: Seen }) {
  return (
    <span class="event-line">
      <span class="time">{timeOf(at)}</span>
      <Happening kind={event.event} />
      <KeyLink name={event.key} />
      <Who session={event.session} name={event.name} />
    </span>
  )
}
