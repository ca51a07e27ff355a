/** The broker at a glance: how much it does, how quickly, and where people wait. */
import { useMemo } from 'preact/hooks'
import type { Feed } from '../feed/feed.js'
import { count, ms, percent, rate, short } from '../model/format.js'
import type { KeyRow } from '../model/lockModel.js'
import type { Column } from '../model/series.js'
import { Chart, type Line } from '../ui/chart.js'
import { EventLine } from '../ui/eventLine.js'
import { Age, Empty, KeyLink, Note, Panel, Queue, Who } from '../ui/parts.js'
import { addressOf } from '../ui/router.js'
import { useFeed } from '../ui/shared.js'
import { Spark } from '../ui/spark.js'

const rates: readonly Line[] = [
  { column: 'grants', label: 'Granted', color: '--accent' },
  { column: 'releases', label: 'Released', color: '--blue' },
  { column: 'failures', label: 'Came to nothing', color: '--wait' },
  { column: 'losses', label: 'Expired', color: '--bad' },
]
const latency: readonly Line[] = [
  { column: 'roundTrip', label: 'Round trip', color: '--blue' },
  { column: 'handoff', label: 'Hand-off', color: '--accent' },
]
const mostQueues = 6
const mostEvents = 8

export function OverviewPage() {
  const { feed, version } = useFeed()
  const { series, polls } = feed
  return (
    <>
      <h1 class="sr">Overview</h1>
      <Problems feed={feed} />
      <Tiles />
      <div class="columns">
        <Panel title="Rates, per second">
          {polls.statsProblem === undefined ? (
            <Chart label="rates" lines={rates} format={rate} {...{ series, version }} />
          ) : (
            <Note>Your token may not see the counters: {polls.statsProblem}.</Note>
          )}
        </Panel>
        <Panel title="Latency" aside={<ProbeSwitch />}>
          <Chart label="latency" lines={latency} format={ms} {...{ series, version }} />
          {feed.probe.problem !== undefined && <Note kind="bad">{feed.probe.problem}</Note>}
        </Panel>
      </div>
      <div class="columns">
        <LongestQueues />
        <LastEvents />
      </div>
    </>
  )
}

/** What this page may not see. */
function Problems({ feed }: { feed: Feed }) {
  const { queryProblem } = feed.polls
  return (
    <>
      {queryProblem !== undefined && <Note kind="bad">No queues are shown: {queryProblem}.</Note>}
      {feed.watchProblem !== undefined && (
        <Note kind="bad">No events are shown: {feed.watchProblem}.</Note>
      )}
    </>
  )
}

function Tiles() {
  const { feed } = useFeed()
  const { locks, series, polls } = feed
  const rateOf = (column: Column) => rate(series.latest(column))
  return (
    <ul class="tiles" aria-label="In numbers">
      <Tile label="Locks held" value={short(locks.heldCount)} column="held" />
      <Tile
        label="Requests waiting"
        value={short(locks.waitingCount)}
        column="waiting"
        tone="wait"
      />
      <Tile label="Granted per second" value={rateOf('grants')} column="grants" />
      <Tile
        label="Granted since the start"
        value={polls.stats === undefined ? '–' : percent(polls.stats.successRate)}
        more={
          polls.stats === undefined
            ? undefined
            : `of ${count(polls.stats.totalLocks)} settled requests`
        }
      />
    </ul>
  )
}

interface TileProps {
  readonly label: string
  readonly value: string
  readonly column?: Column | undefined
  readonly more?: string | undefined
  readonly tone?: 'wait' | undefined
}

function Tile({ label, value, column, more, tone }: TileProps) {
  const { feed } = useFeed()
  return (
    <li class={`tile ${tone === undefined ? '' : `tile-${tone}`}`}>
      <span class="tile-label">{label}</span>
      <strong class="tile-value">{value}</strong>
      {column !== undefined && <Spark values={feed.series.column(column)} />}
      {more !== undefined && <span class="tile-more">{more}</span>}
    </li>
  )
}

function ProbeSwitch() {
  const { feed } = useFeed()
  const { probe } = feed
  return (
    <label
      class="switch"
      title="Takes a lock of this page's own twice a second and times how it passes on. Others see that lock."
    >
      <input
        type="checkbox"
        role="switch"
        checked={probe.isOn}
        aria-checked={probe.isOn}
        onChange={() => (probe.isOn ? probe.stop() : probe.start())}
      />
      Measure hand-offs
    </label>
  )
}

function LongestQueues() {
  const { feed, version } = useFeed()
  const longest = useMemo(() => longestQueues(feed.locks.entries.values()), [feed, version])
  return (
    <Panel title="Longest queues" aside={<a href={addressOf('locks')}>All locks</a>}>
      {longest.length === 0 ? (
        <Empty>Nobody waits.</Empty>
      ) : (
        <table class="plain queues">
          <thead>
            <tr>
              <th scope="col">Key</th>
              <th scope="col">Held by</th>
              <th scope="col">First waits for</th>
              <th scope="col">Queue</th>
            </tr>
          </thead>
          <tbody>
            {longest.map(({ key, held, waiting }) => (
              <tr key={key}>
                <td>
                  <KeyLink name={key} />
                </td>
                <td>
                  {held[0] === undefined ? (
                    'nobody'
                  ) : (
                    <Who session={held[0].session} name={held[0].name} />
                  )}
                </td>
                <td>{waiting[0] !== undefined && <Age since={waiting[0].since} />}</td>
                <td>
                  <Queue length={waiting.length} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}

function longestQueues(entries: Iterable<KeyRow>): KeyRow[] {
  const waitedFor = [...entries].filter(({ waiting }) => waiting.length > 0)
  waitedFor.sort((a, b) => b.waiting.length - a.waiting.length || (a.key < b.key ? -1 : 1))
  return waitedFor.slice(0, mostQueues)
}

function LastEvents() {
  const { feed } = useFeed()
  const last = feed.recent.events.slice(-mostEvents).reverse()
  return (
    <Panel title="Last events" aside={<a href={addressOf('events')}>All events</a>}>
      {last.length === 0 ? (
        <Empty>Nothing has happened since this page was opened.</Empty>
      ) : (
        <ol class="event-list">
          {last.map((seen) => (
            <li key={seen.sequence}>
              <EventLine seen={seen} />
            </li>
          ))}
        </ol>
      )}
    </Panel>
  )
}
