/** One event as a line: when, what, which key, who. */

import { timeOf } from '../model/format.js'
import type { Kind, Seen } from '../model/recentEvents.js'
import { KeyLink, Who } from './parts.js'

const words: Readonly<Record<Kind, string>> = {
  locked: 'locked',
  unlocked: 'unlocked',
  expired: 'expired',
  lost: 'lost',
}

export function SeenEvent({ kind }: { kind: Kind }) {
  return <span class={`happening happening-${kind}`}>{words[kind]}</span>
}

export function EventLine({ seen: { at, event } }: { seen: Seen }) {
  return (
    <span class="event-line">
      <span class="time">{timeOf(at)}</span>
      <SeenEvent kind={event.event} />
      <KeyLink name={event.key} />
      <Who session={event.session} name={event.name} />
    </span>
  )
}
