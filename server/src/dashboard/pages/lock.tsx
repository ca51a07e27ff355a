/**
 * The page of one key: its holders, its queue, its wait-for graph (which session waits for which
 * other session), and its last grants.
 */
import type { HeldInfo, QueryResult, WaitingInfo } from '@holdfast/client'
import { useEffect, useMemo, useState } from 'preact/hooks'
import {
  formatCount,
  formatDurationWithTenths,
  formatPlural,
  formatTime,
  formatTwoUnits,
  shortId,
} from '../model/format.js'
import { type KeyRow, otherKeysOf, usedPermitsOf } from '../model/lockModel.js'
import type { SeenLock } from '../model/recentEvents.js'
import { waiterGroups } from '../model/waiterGroups.js'
import { undrawnWaitersOf, waitForGraphOf } from '../model/waitForGraph.js'
import { useLiveAppState, useSessionRows } from '../ui/appState.js'
import {
  Age,
  EmptyText,
  KeyLink,
  LockDescription,
  Note,
  Panel,
  SessionLink,
  TimeLeft,
} from '../ui/components.js'
import { DeadlockList } from '../ui/deadlock.js'
import { EventLabel } from '../ui/events.js'
import { QueueTable } from '../ui/queueTable.js'
import { BarrierPanel, KeptPanel } from '../ui/recordPanels.js'
import { RevokeDialog } from '../ui/revokeDialog.js'
import { showToast } from '../ui/toasts.js'
import { WaitForGraphView } from '../ui/waitForGraphView.js'

/** How many of the last grants of the key are listed. */
const maxSeenLocks = 20

/** @param name The key. The prop has another name, because Preact reserves the prop `key`. */
export function LockPage({ name }: { name: string }) {
  const { feed } = useLiveAppState()
  useEffect(() => {
    feed.keyPoller.select(name)
    return () => feed.keyPoller.select(undefined)
  }, [feed, name])
  const { problem } = feed.keyPoller
  const knownRow = feed.locks.rows.get(name)
  const result = feed.keyPoller.result ?? resultOf(knownRow)
  return (
    <>
      <div class="page-head">
        <h1 class="key">{name}</h1>
        <CopyButton text={name} />
        <p class="quiet" aria-live="polite">
          {stateOf(result)}
        </p>
      </div>
      {problem !== undefined && <Note kind="bad">This key cannot be shown: {problem}.</Note>}
      <DeadlockList keyName={name} />
      <Holders held={result.held} resultAt={feed.keyPoller.resultAt} />
      <KeyRecords name={name} />
      <WaitForPanel name={name} result={result} />
      <div class="columns">
        <Panel title="Queue" aside={<span class="quiet">first come, first served</span>}>
          <QueueTable waiting={result.waiting} length={result.waitingCount} />
        </Panel>
        <History seenLocks={feed.recentEvents.locksOf(name, maxSeenLocks)} />
      </div>
    </>
  )
}

/**
 * The barrier and the kept result of the key, if any. A kept result is a value that the broker
 * stores for later calls of `once`.
 */
function KeyRecords({ name }: { name: string }) {
  const { feed } = useLiveAppState()
  const { arrived, kept } = feed.brokerPoller.records
  const barrierCalls = arrived.filter(({ key }) => key === name)
  const keptResults = kept.filter(({ key }) => key === name)
  return (
    <>
      {barrierCalls.length > 0 && <BarrierPanel arrived={barrierCalls} />}
      {keptResults.length > 0 && <KeptPanel kept={keptResults} />}
    </>
  )
}

/** The known row of a key as a query result, shown until the broker has answered the query. */
function resultOf(row: KeyRow | undefined): QueryResult {
  const { held, waiting } = row ?? { held: [], waiting: [] }
  return { held, waiting, heldCount: held.length, waitingCount: waiting.length }
}

/** The state of a key in words, such as "2 locks held, none waiting". */
function stateOf({ held: locks, heldCount, waitingCount }: QueryResult): string {
  if (heldCount === 0)
    return waitingCount === 0 ? 'Free' : `Free, ${formatCount(waitingCount)} waiting`
  const used = usedPermitsOf(locks)
  const permits = used === undefined ? '' : `, ${used} of ${locks[0]?.capacity} permits used`
  const heldWord = locks[0]?.election ? 'Led' : 'Held'
  const heldText = heldCount === 1 ? heldWord : `${formatCount(heldCount)} locks held`
  return `${heldText}${permits}, ${waitingCount === 0 ? 'none' : formatCount(waitingCount)} waiting`
}

function CopyButton({ text }: { text: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text)
      showToast('The key was copied.')
    } catch {
      showToast('The browser does not allow this page to copy.')
    }
  }
  // Browsers give the clipboard only to pages from this machine or over TLS.
  if (!isSecureContext) return null
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      Copy key
    </button>
  )
}

/** @param resultAt When the query result arrived, by the monotonic clock of the page, in ms. */
function Holders({ held, resultAt }: { held: readonly HeldInfo[]; resultAt: number }) {
  const [lockToRevoke, setLockToRevoke] = useState<HeldInfo | undefined>(undefined)
  const [isRevokeForbidden, setRevokeForbidden] = useState(false)
  return (
    <Panel title={held.length > 1 ? 'Holders' : 'Holder'}>
      {held.length === 0 && <EmptyText>No session holds this key.</EmptyText>}
      <ul class="holders">
        {held.map((lock) => (
          <li class="holder" key={lock.fence}>
            <Holder lock={lock} resultAt={resultAt} />
            {!isRevokeForbidden && (
              <button type="button" class="danger" onClick={() => setLockToRevoke(lock)}>
                Revoke…
              </button>
            )}
          </li>
        ))}
      </ul>
      {isRevokeForbidden && <Note>Your token has no permission to revoke locks of this key.</Note>}
      {lockToRevoke !== undefined && (
        <RevokeDialog
          lock={lockToRevoke}
          onClose={() => setLockToRevoke(undefined)}
          onForbidden={() => setRevokeForbidden(true)}
        />
      )}
    </Panel>
  )
}

function Holder({ lock, resultAt }: { lock: HeldInfo; resultAt: number }) {
  const { feed } = useLiveAppState()
  const { session, name, since, fence, metadata, keyCount, value, ...details } = lock
  const otherKeys = otherKeysOf(lock, feed.locks.rows)
  return (
    <dl class="facts facts-row">
      <div>
        <dt>Session</dt>
        <dd>
          <SessionLink session={session} name={name} />
        </dd>
      </div>
      <div>
        <dt>Mode</dt>
        <dd>
          <LockDescription {...details} keyCount={keyCount} />
        </dd>
      </div>
      <div>
        <dt>Held for</dt>
        <dd>
          <Age since={since} />
        </dd>
      </div>
      <div>
        <dt>Fence</dt>
        <dd class="fence">{fence}</dd>
      </div>
      <LockLimits lock={lock} resultAt={resultAt} />
      {keyCount !== undefined && (
        <div class="facts-wide">
          <dt>Other keys of the set</dt>
          <dd class="keys-of-set">
            {otherKeys.map((key) => (
              <KeyLink key={key} name={key} />
            ))}
            {otherKeys.length < keyCount - 1 && (
              <span class="quiet">
                {formatCount(keyCount - 1 - otherKeys.length)} not known here
              </span>
            )}
          </dd>
        </div>
      )}
      {value !== undefined && (
        <div class="facts-wide">
          <dt>Value of the leader</dt>
          <dd>
            <pre class="metadata">{JSON.stringify(value, null, 1)}</pre>
          </dd>
        </div>
      )}
      {metadata !== undefined && (
        <div class="facts-wide">
          <dt>Metadata</dt>
          <dd>
            <pre class="metadata">{JSON.stringify(metadata, null, 1)}</pre>
          </dd>
        </div>
      )}
    </dl>
  )
}

/** The ttl and the `maxHold` of a lock, each with the time left until it ends the lock. */
function LockLimits({ lock, resultAt }: { lock: HeldInfo; resultAt: number }) {
  return (
    <>
      <LockLimit
        name="Ttl"
        duration={lock.ttl}
        endLabel="Expires in"
        hint="A refresh by the session starts this time again."
        remaining={lock.ttlRemaining}
        resultAt={resultAt}
      />
      <LockLimit
        name="Longest hold"
        duration={lock.maxHold}
        endLabel="Ends in"
        hint="A refresh does not prolong this time."
        remaining={lock.maxHoldRemaining}
        resultAt={resultAt}
      />
    </>
  )
}

interface LockLimitProps {
  readonly name: string
  /** In ms; undefined if the lock has no such limit. */
  readonly duration: number | undefined
  readonly endLabel: string
  readonly hint: string
  /** In ms; undefined if another broker of the cluster runs the timer of this limit. */
  readonly remaining: number | undefined
  readonly resultAt: number
}

function LockLimit({ name, duration, endLabel, hint, remaining, resultAt }: LockLimitProps) {
  if (duration === undefined) return null
  return (
    <>
      <div>
        <dt>{name}</dt>
        <dd>{formatTwoUnits(duration)}</dd>
      </div>
      <div>
        <dt>{endLabel}</dt>
        <dd title={hint}>
          {remaining === undefined ? (
            <span class="quiet">known at another broker</span>
          ) : (
            <TimeLeft endsAt={resultAt + remaining} />
          )}
        </dd>
      </div>
    </>
  )
}

/** The wait-for graph, and a note about a deadlock. Lists all waiters if some are not drawn. */
function WaitForPanel({ name, result }: { name: string; result: QueryResult }) {
  const { feed, version } = useLiveAppState()
  const sessions = useSessionRows()
  const graph = useMemo(
    () => waitForGraphOf(name, feed.locks.rows, sessions),
    [feed, name, sessions, version],
  )
  if (graph.edges.length === 0) return null
  const label = (session: string) => sessions.get(session)?.name ?? shortId(session)
  const { cycle, hiddenWaiters, hiddenHolders } = graph
  // How many waiters the graph does not draw. Each of the two sources may count too few:
  // `hiddenWaiters` leaves out waiters that this page does not know, and the query result is older.
  const undrawnWaiters = Math.max(hiddenWaiters, undrawnWaitersOf(result))
  return (
    <Panel title="Wait-for graph">
      {cycle.length > 0 && (
        <Note kind="bad">
          Deadlock: these sessions wait for each other, and none of them can continue:{' '}
          {[...cycle, cycle[0] as string].map(label).join(' → ')}.
        </Note>
      )}
      <WaitForGraphView graph={graph} pageKey={name} />
      <p class="quiet caption">
        An arrow leads from a waiter to a holder.{' '}
        {undrawnWaiters > 0 && `${formatCount(undrawnWaiters)} more wait. `}
        {hiddenHolders > 0 && `${formatPlural(hiddenHolders, 'more holder')}.`}
      </p>
      {undrawnWaiters > 0 && <WaiterGroups waiting={result.waiting} />}
    </Panel>
  )
}

/**
 * All waiters, with one line for each group. The waiters of a group have equal modes and permits,
 * and their names differ only in numbers. A group may have requests of different scopes, so no line
 * shows a scope.
 */
function WaiterGroups({ waiting }: { waiting: readonly WaitingInfo[] }) {
  return (
    <ul class="waiter-groups" aria-label="All waiters">
      {waiterGroups(waiting).map(({ label, first, count }) => (
        <li key={`${first.session} ${first.since}`}>
          <strong>{formatCount(count)} ×</strong> {label ?? 'sessions without a name'}{' '}
          <LockDescription {...first} scope={undefined} />
          <span class="more">
            {count === 1 ? 'waiting for' : 'the first waiting for'} <Age since={first.since} />
          </span>
        </li>
      ))}
    </ul>
  )
}

/** The last grants of the key that this page has seen, and how each lock ended. */
function History({ seenLocks }: { seenLocks: readonly SeenLock[] }) {
  return (
    <Panel title="Last grants" aside={<span class="quiet">since this page was opened</span>}>
      {seenLocks.length === 0 ? (
        <EmptyText>No grants yet.</EmptyText>
      ) : (
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Granted at</th>
              <th scope="col">Session</th>
              <th scope="col">Held for</th>
              <th scope="col">End</th>
            </tr>
          </thead>
          <tbody>
            {seenLocks.map(({ lock, end }) => (
              <tr key={lock.fence}>
                <td class="time">{formatTime(lock.since)}</td>
                <td>
                  <SessionLink session={lock.session} name={lock.name} />
                </td>
                <td>
                  {end === undefined ? (
                    <Age since={lock.since} />
                  ) : (
                    formatDurationWithTenths(end.at - lock.since)
                  )}
                </td>
                <td>{end === undefined ? 'held' : <EventLabel kind={end.kind} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}
