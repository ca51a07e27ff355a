/**
 * The label of an event of a lock, and a line with the time, the key and the session of the event.
 */
import { formatTime } from '../model/format.js'
import type { EventKind, TimedEvent } from '../model/recentEvents.js'
import { KeyLink, SessionLink } from './components.js'

const labels: Readonly<Record<EventKind, string>> = {
  locked: 'locked',
  upgraded: 'upgraded',
  downgraded: 'downgraded',
  unlocked: 'unlocked',
  expired: 'expired',
  lost: 'lost',
  // A leader has published a new value.
  proclaimed: 'new value',
}

/** All kinds of events, in the order of `labels`. */
export const eventKinds = Object.keys(labels) as readonly EventKind[]

export function EventLabel({ kind }: { kind: EventKind }) {
  return <span class={`event-kind event-kind-${kind}`}>{labels[kind]}</span>
}

export function EventLine({ timedEvent: { at, event } }: { timedEvent: TimedEvent }) {
  return (
    <span class="event-line">
      <span class="time">{formatTime(at)}</span>
      <EventLabel kind={event.event} />
      <KeyLink name={event.key} />
      <SessionLink session={event.session} name={event.name} />
    </span>
  )
}
