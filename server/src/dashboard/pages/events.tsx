/** What happens, as it happens; newest first, and still while somebody reads. */
import { useMemo, useState } from 'preact/hooks'
import { count, plural, timeOf } from '../model/format.js'
import { type Kind, type Seen, tailLength } from '../model/recentEvents.js'
import { SeenEvent } from '../ui/eventLine.js'
import { Empty, KeyLink, Note, Who } from '../ui/parts.js'
import { SearchField } from '../ui/search.js'
import { useFeed } from '../ui/shared.js'
import { Virtual } from '../ui/virtual.js'

const kinds: readonly Kind[] = ['locked', 'unlocked', 'expired', 'lost']

export function EventsPage() {
  const { feed, version } = useFeed()
  const [text, setText] = useState('')
  const [shown, setShown] = useState<readonly Kind[]>(kinds)
  const [frozen, setFrozen] = useState<readonly Seen[] | undefined>(undefined)
  const found = useMemo(
    () => select(frozen ?? feed.recent.events, text, shown),
    [feed, version, frozen, text, shown],
  )
  const missed = frozen === undefined ? 0 : feed.recent.count - (frozen.at(-1)?.sequence ?? 0)
  const toggle = (kind: Kind): void => {
    setShown(shown.includes(kind) ? shown.filter((each) => each !== kind) : [...shown, kind])
  }
  return (
    <section class="full">
      <div class="page-head">
        <h1>Events</h1>
        <p class="quiet">
          {plural(feed.recent.count, 'event')} since this page was opened
          {feed.recent.count > tailLength && `; the last ${count(tailLength)} are kept`}
        </p>
      </div>
      <div class="tools">
        <SearchField label="Search keys, names, sessions" text={text} onText={setText} />
        <fieldset class="chips">
          <legend class="sr">Kinds of events</legend>
          {kinds.map((kind) => (
            <label class="chip" key={kind}>
              <input type="checkbox" checked={shown.includes(kind)} onChange={() => toggle(kind)} />
              <SeenEvent kind={kind} />
            </label>
          ))}
        </fieldset>
        <button
          type="button"
          aria-pressed={frozen !== undefined}
          onClick={() => setFrozen(frozen === undefined ? [...feed.recent.events] : undefined)}
        >
          {frozen === undefined ? 'Pause' : `Go on${missed > 0 ? ` (${count(missed)} new)` : ''}`}
        </button>
      </div>
      {feed.watchProblem !== undefined && (
        <Note kind="bad">No events are shown: {feed.watchProblem}.</Note>
      )}
      {found.length === 0 ? (
        <Empty>
          {feed.recent.count === 0
            ? 'Nothing has happened since this page was opened.'
            : 'None of these.'}
        </Empty>
      ) : (
        <Virtual
          label="Events, newest first"
          kind="events"
          heads={['Time', 'Event', 'Key', 'Session', 'Fence']}
          items={found}
          idOf={({ sequence }) => String(sequence)}
          cells={cellsOf}
          anchored
        />
      )}
    </section>
  )
}

function cellsOf({ at, event }: Seen, isActive: boolean) {
  return [
    <span class="time">{timeOf(at)}</span>,
    <SeenEvent kind={event.event} />,
    <KeyLink name={event.key} tabIndex={isActive ? 0 : -1} />,
    <Who session={event.session} name={event.name} tabIndex={-1} />,
    <span class="fence">{event.fence}</span>,
  ]
}

function select(events: readonly Seen[], text: string, shown: readonly Kind[]): Seen[] {
  const wanted = text.toLowerCase()
  const found: Seen[] = []
  for (let index = events.length - 1; index >= 0 && found.length < tailLength; index--) {
    const seen = events[index] as Seen
    const { event, key, name = '', session } = seen.event
    if (!shown.includes(event)) continue
    if (wanted === '' || `${key}\n${name}\n${session}`.toLowerCase().includes(wanted)) {
      found.push(seen)
    }
  }
  return found
}
