/** The overview of the broker: rates, latency, longest queues, longest waits, and last events. */
import { useMemo } from 'preact/hooks'
import type { BrokerFeed } from '../feed/brokerFeed.js'
import { keysOfDeadlocks, refusedDeadlocksIn } from '../model/coordination.js'
import {
  formatCompactCount,
  formatCount,
  formatLatency,
  formatPercent,
  formatRate,
} from '../model/format.js'
import type { KeyRow } from '../model/lockModel.js'
import { longestWaits } from '../model/longestWaits.js'
import type { Column } from '../model/series.js'
import { useLiveAppState } from '../ui/appState.js'
import { Chart, type Line } from '../ui/chart.js'
import {
  Age,
  EmptyText,
  ExampleCommand,
  KeyLink,
  Note,
  Panel,
  QueueLength,
  SessionLink,
} from '../ui/components.js'
import { DeadlockCard, DeadlockMark } from '../ui/deadlock.js'
import { EventLine } from '../ui/events.js'
import { addressOf } from '../ui/router.js'
import { Sparkline } from '../ui/sparkline.js'

const rateLines: readonly Line[] = [
  { column: 'grants', label: 'Granted', color: '--accent' },
  { column: 'releases', label: 'Released', color: '--blue' },
  { column: 'failures', label: 'Failed', color: '--wait' },
  { column: 'expirations', label: 'Expired', color: '--bad' },
]
const latencyLines: readonly Line[] = [
  { column: 'roundTrip', label: 'Round trip', color: '--blue' },
  { column: 'handoff', label: 'Hand-off', color: '--accent' },
]
/** How many keys each of the lists of the longest queues and the longest waits shows at most. */
const maxKeys = 6
/** How many of the last events are listed. */
const maxEvents = 8

export function OverviewPage() {
  const { feed, version } = useLiveAppState()
  const { series, brokerPoller } = feed
  return (
    <>
      <h1 class="sr">Overview</h1>
      <PermissionNotes feed={feed} />
      <DeadlockCard />
      <Tiles />
      <div class="columns">
        <Panel title="Rates, per second">
          {brokerPoller.statsProblem === undefined ? (
            <Chart
              label="rates"
              lines={rateLines}
              format={formatRate}
              series={series}
              version={version}
            />
          ) : (
            <Note>The broker does not show its counters: {brokerPoller.statsProblem}.</Note>
          )}
        </Panel>
        <Panel title="Latency" aside={<HandoffSwitch />}>
          <Chart
            label="latency"
            lines={latencyLines}
            format={formatLatency}
            series={series}
            version={version}
          />
          {feed.handoffProbe.problem !== undefined && (
            <Note kind="bad">{feed.handoffProbe.problem}</Note>
          )}
        </Panel>
      </div>
      <div class="columns">
        <LongestQueues />
        <LongestWaits />
      </div>
      <LastEvents />
    </>
  )
}

/** Notes about the data that the token has no permission to see. */
function PermissionNotes({ feed }: { feed: BrokerFeed }) {
  const { queryProblem } = feed.brokerPoller
  return (
    <>
      {queryProblem !== undefined && <Note kind="bad">No queues are shown: {queryProblem}.</Note>}
      {feed.watchProblem !== undefined && (
        <Note kind="bad">No events are shown: {feed.watchProblem}.</Note>
      )}
    </>
  )
}

/** The main figures of the broker, with charts of the last minute. */
function Tiles() {
  const { feed } = useLiveAppState()
  const { locks, series, brokerPoller } = feed
  const rateOf = (column: Column) => formatRate(series.latest(column))
  // `totalLocks` counts all answered `lock` requests, including those that failed.
  const { totalLocks: answeredCount = 0, successRate = 0 } = brokerPoller.stats ?? {}
  return (
    <ul class="tiles" aria-label="Key figures">
      <Tile label="Locks held" value={formatCompactCount(locks.heldCount)} column="held" />
      <Tile
        label="Requests waiting"
        value={formatCompactCount(locks.waitingCount)}
        column="waiting"
        tone="wait"
      />
      <Tile label="Granted per second" value={rateOf('grants')} column="grants" />
      <Tile
        label="Success rate since the start"
        value={answeredCount === 0 ? '–' : formatPercent(successRate)}
        more={
          answeredCount === 0
            ? 'no request has been answered'
            : `of ${formatCount(answeredCount)} answered requests`
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
  const { feed } = useLiveAppState()
  return (
    <li class={`tile ${tone === undefined ? '' : `tile-${tone}`}`}>
      <span class="tile-label">{label}</span>
      <strong class="tile-value">{value}</strong>
      {column !== undefined && <Sparkline values={feed.series.column(column)} />}
      {more !== undefined && <span class="tile-more">{more}</span>}
    </li>
  )
}

/** The switch that turns the measurement of hand-offs (from holder to waiter) on and off. */
function HandoffSwitch() {
  const { feed } = useLiveAppState()
  const { handoffProbe } = feed
  return (
    <label
      class="switch"
      title={
        'Every second, passes a lock between two requests of this page, and measures the time. ' +
        'Other clients see this lock.'
      }
    >
      <input
        type="checkbox"
        role="switch"
        checked={handoffProbe.isOn}
        aria-checked={handoffProbe.isOn}
        onChange={() => (handoffProbe.isOn ? handoffProbe.stop() : handoffProbe.start())}
      />
      Measure hand-offs
    </label>
  )
}

function LongestQueues() {
  const { feed, version } = useLiveAppState()
  const longest = useMemo(() => longestQueues(feed.locks.rows.values()), [feed, version])
  const deadlockedKeys = keysOfDeadlocks(refusedDeadlocksIn(feed.brokerPoller.stats))
  return (
    <Panel title="Longest queues" aside={<a href={addressOf('locks')}>All locks</a>}>
      {longest.length === 0 ? (
        <EmptyText>
          No session waits. To see a queue here, run this command in two terminals:{' '}
          <ExampleCommand />
        </EmptyText>
      ) : (
        <table class="plain queues">
          <thead>
            <tr>
              <th scope="col">Key</th>
              <th scope="col">Held by</th>
              <th scope="col">Wait of the first</th>
              <th scope="col">Queue</th>
            </tr>
          </thead>
          <tbody>
            {longest.map(({ key, held, waiting }) => (
              <tr key={key}>
                <td>
                  <KeyLink name={key} />
                  {deadlockedKeys.has(key) && <DeadlockMark />}
                </td>
                <td>
                  {held[0] === undefined ? (
                    'no session'
                  ) : (
                    <SessionLink session={held[0].session} name={held[0].name} />
                  )}
                </td>
                <td>{waiting[0] !== undefined && <Age since={waiting[0].since} />}</td>
                <td>
                  <QueueLength length={waiting.length} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}

/** The keys whose oldest requests have waited longest, such as a key with a stuck holder. */
function LongestWaits() {
  const { feed, version } = useLiveAppState()
  const longest = useMemo(() => longestWaits(feed.locks.rows.values(), maxKeys), [feed, version])
  return (
    <Panel title="Longest waits" aside={<span class="quiet">the holders may be stuck</span>}>
      {longest.length === 0 ? (
        <EmptyText>No request waits for a lock.</EmptyText>
      ) : (
        <table class="plain waits">
          <thead>
            <tr>
              <th scope="col">Wait time</th>
              <th scope="col">Session</th>
              <th scope="col">Key</th>
              <th scope="col">Key held for</th>
            </tr>
          </thead>
          <tbody>
            {longest.map(({ key, request, holder }) => (
              <tr key={key}>
                <td>
                  <Age since={request.since} />
                </td>
                <td>
                  <SessionLink session={request.session} name={request.name} />
                </td>
                <td>
                  <KeyLink name={key} />
                </td>
                <td>{holder === undefined ? 'not held' : <Age since={holder.since} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}

function longestQueues(rows: Iterable<KeyRow>): KeyRow[] {
  const keysWithQueue = [...rows].filter(({ waiting }) => waiting.length > 0)
  keysWithQueue.sort((a, b) => b.waiting.length - a.waiting.length || (a.key < b.key ? -1 : 1))
  return keysWithQueue.slice(0, maxKeys)
}

function LastEvents() {
  const { feed } = useLiveAppState()
  const lastEvents = feed.recentEvents.events.slice(-maxEvents).reverse()
  return (
    <Panel title="Last events" aside={<a href={addressOf('events')}>All events</a>}>
      {lastEvents.length === 0 ? (
        <EmptyText>No events since this page was opened.</EmptyText>
      ) : (
        <ol class="event-list">
          {lastEvents.map((timedEvent) => (
            <li key={timedEvent.sequence}>
              <EventLine timedEvent={timedEvent} />
            </li>
          ))}
        </ol>
      )}
    </Panel>
  )
}
