/**
 * The page of all locks, with a search. The page filters and sorts the locks that it knows. If the
 * broker has more locks than one query lists, the page queries the keys that begin with the text of
 * the search.
 */
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { BrokerFeed } from '../feed/brokerFeed.js'
import { keysOfDeadlocks, refusedDeadlocksIn } from '../model/coordination.js'
import { formatCount, formatPlural } from '../model/format.js'
import { type KeyRow, usedPermitsOf } from '../model/lockModel.js'
import { useLiveAppState } from '../ui/appState.js'
import {
  Age,
  EmptyText,
  ExampleCommand,
  KeyLink,
  LockDescription,
  LockTimeLeft,
  Note,
  QueueLength,
  SessionLink,
} from '../ui/components.js'
import { DeadlockMark } from '../ui/deadlock.js'
import { replaceArgument } from '../ui/router.js'
import { SearchField } from '../ui/searchField.js'
import { VirtualTable } from '../ui/virtualTable.js'

type Order = 'key' | 'queue' | 'oldest' | 'newest'

const orderLabels: Readonly<Record<Order, string>> = {
  key: 'Key',
  queue: 'Longest queue',
  oldest: 'Held longest',
  newest: 'Held shortest',
}

/** How long after the last typed character the page queries the broker, in ms. */
const typingMs = 150

/**
 * @param text The text of the search. The text is in the URL, so that the back button restores the
 *   search.
 */
export function LocksPage({ text }: { text: string }) {
  const { feed, version } = useLiveAppState()
  const [order, setOrder] = useState<Order>('key')
  const [onlyQueues, setOnlyQueues] = useState(false)
  const deadlockedKeys = keysOfDeadlocks(refusedDeadlocksIn(feed.brokerPoller.stats))
  useSearch(text)
  const matchingRows = useMemo(
    () => filterLocks(feed.locks.rows.values(), text, onlyQueues, order),
    [feed, version, text, onlyQueues, order],
  )
  return (
    <section class="full">
      <div class="page-head">
        <h1>Locks</h1>
        <p class="quiet" aria-live="polite">
          {summary(feed, matchingRows.length, text !== '' || onlyQueues)}
        </p>
      </div>
      <div class="tools">
        <SearchField
          label="Search keys, names, sessions"
          text={text}
          onText={(typed) => replaceArgument('locks', typed)}
        />
        <label class="pick">
          <span>Order</span>
          <select
            value={order}
            onChange={({ currentTarget }) => setOrder(currentTarget.value as Order)}
          >
            {Object.entries(orderLabels).map(([name, label]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label class="check">
          <input type="checkbox" checked={onlyQueues} onChange={() => setOnlyQueues(!onlyQueues)} />
          Only with a queue
        </label>
      </div>
      <PartialNote feed={feed} text={text} />
      {matchingRows.length === 0 ? (
        <NoRows text={text} onlyQueues={onlyQueues} />
      ) : (
        <VirtualTable
          label="Locks"
          cssClass="locks"
          headings={['Key', 'Mode', 'Held by', 'Held for', 'Time left', 'Queue']}
          items={matchingRows}
          idOf={({ key }) => key}
          cells={(row, isActive) => cellsOf(row, isActive, deadlockedKeys.has(row.key))}
        />
      )}
    </section>
  )
}

/** Why the table has no row. */
function NoRows({ text, onlyQueues }: { text: string; onlyQueues: boolean }) {
  if (text !== '') {
    const subject = onlyQueues ? 'No key or session with a queue' : 'No key or session'
    return <EmptyText>{`${subject} matches “${text}”.`}</EmptyText>
  }
  if (onlyQueues) return <EmptyText>No request waits for a lock.</EmptyText>
  return (
    <EmptyText>
      No session holds a lock. To see a lock here, take one: <ExampleCommand />
    </EmptyText>
  )
}

/** The cells of the row of a key. For permits, the mode shows the sum over all locks of the key. */
function cellsOf({ key, held, waiting }: KeyRow, isActive: boolean, isDeadlocked: boolean) {
  const [firstLock, ...otherLocks] = held
  return [
    <>
      <KeyLink name={key} tabIndex={isActive ? 0 : -1} />
      {isDeadlocked && <DeadlockMark />}
    </>,
    firstLock === undefined ? '' : <LockDescription {...firstLock} permits={usedPermitsOf(held)} />,
    firstLock === undefined ? (
      <span class="quiet">no session</span>
    ) : (
      <>
        <SessionLink session={firstLock.session} name={firstLock.name} tabIndex={-1} />
        {otherLocks.length > 0 && (
          <span class="more">and {formatCount(otherLocks.length)} more</span>
        )}
      </>
    ),
    firstLock === undefined ? '' : <Age since={firstLock.since} />,
    firstLock === undefined ? '' : <LockTimeLeft {...firstLock} />,
    <QueueLength length={waiting.length} />,
  ]
}

/**
 * Queries the broker for the keys that begin with the text of the search, if this page does not
 * know all locks. The prefix '' stops these queries.
 */
function useSearch(text: string): void {
  const { feed, environment } = useLiveAppState()
  const isPartial = feed.locks.hasUnknownLocks
  useEffect(() => {
    return environment.after(typingMs, () => feed.brokerPoller.searchPrefix(isPartial ? text : ''))
  }, [feed, environment, text, isPartial])
  // Stop the queries when the user leaves the page.
  useEffect(() => () => feed.brokerPoller.searchPrefix(''), [feed])
}

/** A note about the locks or requests that are not shown. */
function PartialNote({ feed, text }: { feed: BrokerFeed; text: string }) {
  const { locks, brokerPoller } = feed
  const { searchResult } = brokerPoller
  if (
    searchResult !== undefined &&
    searchResult.prefix === text &&
    searchResult.listed < searchResult.heldCount
  ) {
    const all = formatPlural(searchResult.heldCount, 'lock')
    return (
      <Note kind="wait">
        {all} begin with “{text}”, and the broker lists {formatCount(searchResult.listed)} of them
        at a time. Type more of the key.
      </Note>
    )
  }
  if (locks.hasUnknownLocks && searchResult === undefined) {
    return (
      <Note kind="wait">
        The broker lists 1,000 locks at a time: {formatCount(locks.knownHeldCount)} of
        {` ${formatCount(locks.heldCount)}`} are known here. Search for the beginning of a key to
        see other locks.
      </Note>
    )
  }
  if (locks.hasUnknownQueues) {
    const waiting = formatPlural(locks.waitingCount, 'waiting request')
    return (
      <Note kind="wait">
        {formatCount(locks.knownWaitingCount)} of {waiting} are known here, so a queue may be longer
        than shown. The page of a key shows its queue in full.
      </Note>
    )
  }
  return null
}

function summary({ locks }: BrokerFeed, foundCount: number, isFiltered: boolean): string {
  const totals = `${formatPlural(locks.heldCount, 'lock')} held, ${formatCount(locks.waitingCount)} waiting`
  return isFiltered ? `${formatPlural(foundCount, 'key')} found; ${totals}` : totals
}

function filterLocks(
  rows: Iterable<KeyRow>,
  text: string,
  onlyQueues: boolean,
  order: Order,
): readonly KeyRow[] {
  const searchText = text.toLowerCase()
  const matchingRows: KeyRow[] = []
  for (const row of rows) {
    if (onlyQueues && row.waiting.length === 0) continue
    if (searchText === '' || matches(row, searchText)) matchingRows.push(row)
  }
  return matchingRows.sort(comparisons[order])
}

/** Whether the key, or a name or id of its holders and waiters, contains the text of the search. */
function matches({ key, held, waiting }: KeyRow, searchText: string): boolean {
  const hasSearchText = (text: string | undefined) =>
    text?.toLowerCase().includes(searchText) ?? false
  if (hasSearchText(key)) return true
  for (const { name, session } of held)
    if (hasSearchText(name) || hasSearchText(session)) return true
  for (const { name, session } of waiting)
    if (hasSearchText(name) || hasSearchText(session)) return true
  return false
}

function byKey(a: KeyRow, b: KeyRow): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

/** When the first lock of the key was granted; for a free key, when its first request arrived. */
function sinceOf({ held, waiting }: KeyRow): number {
  return held[0]?.since ?? waiting[0]?.since ?? 0
}

const comparisons: Readonly<Record<Order, (a: KeyRow, b: KeyRow) => number>> = {
  key: byKey,
  queue: (a, b) => b.waiting.length - a.waiting.length || byKey(a, b),
  oldest: (a, b) => sinceOf(a) - sinceOf(b) || byKey(a, b),
  newest: (a, b) => sinceOf(b) - sinceOf(a) || byKey(a, b),
}
