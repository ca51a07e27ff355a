/**
 * The page that shows the events of all locks, the newest event first. The user can pause the list.
 * While the list is paused, the page still records events.
 */
import { useMemo, useState } from 'preact/hooks'
import { formatCount, formatPlural, formatTime } from '../model/format.js'
import { type EventKind, keptEvents, type TimedEvent } from '../model/recentEvents.js'
import { useLiveAppState } from '../ui/appState.js'
import { EmptyText, KeyLink, Note, SessionLink } from '../ui/components.js'
import { EventLabel, eventKinds } from '../ui/events.js'
import { SearchField } from '../ui/searchField.js'
import { VirtualTable } from '../ui/virtualTable.js'

export function EventsPage() {
  const { feed, version } = useLiveAppState()
  const [text, setText] = useState('')
  const [shownKinds, setShownKinds] = useState<readonly EventKind[]>(eventKinds)
  const [pausedEvents, setPausedEvents] = useState<readonly TimedEvent[] | undefined>(undefined)
  const matchingEvents = useMemo(
    () => filterEvents(pausedEvents ?? feed.recentEvents.events, text, shownKinds),
    [feed, version, pausedEvents, text, shownKinds],
  )
  const newEventCount =
    pausedEvents === undefined ? 0 : feed.recentEvents.count - (pausedEvents.at(-1)?.sequence ?? 0)
  const toggle = (kind: EventKind): void => {
    setShownKinds(
      shownKinds.includes(kind)
        ? shownKinds.filter((shownKind) => shownKind !== kind)
        : [...shownKinds, kind],
    )
  }
  return (
    <section class="full">
      <div class="page-head">
        <h1>Events</h1>
        <p class="quiet">
          {formatPlural(feed.recentEvents.count, 'event')} since this page was opened
          {feed.recentEvents.count > keptEvents && `; the last ${formatCount(keptEvents)} are kept`}
        </p>
      </div>
      <div class="tools">
        <SearchField label="Search keys, names, sessions" text={text} onText={setText} />
        <fieldset class="chips">
          <legend class="sr">Event types</legend>
          {eventKinds.map((kind) => (
            <label class="chip" key={kind}>
              <input
                type="checkbox"
                checked={shownKinds.includes(kind)}
                onChange={() => toggle(kind)}
              />
              <EventLabel kind={kind} />
            </label>
          ))}
        </fieldset>
        <button
          type="button"
          aria-pressed={pausedEvents !== undefined}
          onClick={() =>
            setPausedEvents(pausedEvents === undefined ? [...feed.recentEvents.events] : undefined)
          }
        >
          {pausedEvents === undefined
            ? 'Pause'
            : `Continue${newEventCount > 0 ? ` (${formatCount(newEventCount)} new)` : ''}`}
        </button>
      </div>
      {feed.watchProblem !== undefined && (
        <Note kind="bad">No events are shown: {feed.watchProblem}.</Note>
      )}
      {matchingEvents.length === 0 ? (
        <EmptyText>
          {feed.recentEvents.count === 0
            ? 'No events since this page was opened.'
            : 'No events match the search.'}
        </EmptyText>
      ) : (
        <VirtualTable
          label="Events, newest first"
          cssClass="events"
          headings={['Time', 'Event', 'Key', 'Session', 'Fence']}
          items={matchingEvents}
          idOf={({ sequence }) => String(sequence)}
          cells={cellsOf}
          isAnchored
        />
      )}
    </section>
  )
}

function cellsOf({ at, event }: TimedEvent, isActive: boolean) {
  return [
    <span class="time">{formatTime(at)}</span>,
    <EventLabel kind={event.event} />,
    <KeyLink name={event.key} tabIndex={isActive ? 0 : -1} />,
    <SessionLink session={event.session} name={event.name} tabIndex={-1} />,
    <span class="fence">{event.fence}</span>,
  ]
}

function filterEvents(
  events: readonly TimedEvent[],
  text: string,
  shownKinds: readonly EventKind[],
): TimedEvent[] {
  const searchText = text.toLowerCase()
  const matchingEvents: TimedEvent[] = []
  // From the newest event back, because `events` may have more than the `keptEvents` shown here.
  for (let index = events.length - 1; index >= 0 && matchingEvents.length < keptEvents; index--) {
    const timedEvent = events[index] as TimedEvent
    const { event: kind, key, name = '', session } = timedEvent.event
    if (!shownKinds.includes(kind)) continue
    if (searchText === '' || `${key}\n${name}\n${session}`.toLowerCase().includes(searchText)) {
      matchingEvents.push(timedEvent)
    }
  }
  return matchingEvents
}
