/**
 * All locks, to be searched. Ten thousand are filtered and sorted here; where the broker has more
 * than it tells at once, it is asked for the keys that begin with what is searched for.
 */
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Feed } from '../feed/feed.js'
import { count, plural } from '../model/format.js'
import type { KeyRow } from '../model/lockModel.js'
import { Age, Empty, KeyLink, Mode, Note, Queue, Who } from '../ui/parts.js'
import { amend } from '../ui/router.js'
import { SearchField } from '../ui/search.js'
import { useFeed } from '../ui/shared.js'
import { Virtual } from '../ui/virtual.js'

type Order = 'key' | 'queue' | 'oldest' | 'newest'

const orders: Readonly<Record<Order, string>> = {
  key: 'Key',
  queue: 'Longest queue',
  oldest: 'Held longest',
  newest: 'Held shortest',
}

/** What is typed is searched for after this pause, in ms. */
const typingMs = 150

/** @param text What is searched for; it stands in the address, so that one can come back to it. */
export function LocksPage({ text }: { text: string }) {
  const { feed, version } = useFeed()
  const [order, setOrder] = useState<Order>('key')
  const [onlyQueues, setOnlyQueues] = useState(false)
  useSearch(text)
  const found = useMemo(
    () => select(feed.locks.entries.values(), text, onlyQueues, order),
    [feed, version, text, onlyQueues, order],
  )
  return (
    <section class="full">
      <div class="page-head">
        <h1>Locks</h1>
        <p class="quiet" aria-live="polite">
          {summary(feed, found.length, text !== '' || onlyQueues)}
        </p>
      </div>
      <div class="tools">
        <SearchField
          label="Search keys, names, sessions"
          text={text}
          onText={(typed) => amend('locks', typed)}
        />
        <label class="pick">
          <span>Order</span>
          <select
            value={order}
            onChange={({ currentTarget }) => setOrder(currentTarget.value as Order)}
          >
            {Object.entries(orders).map(([name, label]) => (
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
      <Cut feed={feed} text={text} />
      {found.length === 0 ? (
        <Empty>
          {text === '' ? 'Nobody holds anything.' : `No key or holder has “${text}” in it.`}
        </Empty>
      ) : (
        <Virtual
          label="Locks"
          kind="locks"
          heads={['Key', 'Mode', 'Held by', 'For', 'Queue']}
          items={found}
          idOf={({ key }) => key}
          cells={cellsOf}
        />
      )}
    </section>
  )
}

function cellsOf({ key, held: [first, ...others], waiting }: KeyRow, isActive: boolean) {
  return [
    <KeyLink name={key} tabIndex={isActive ? 0 : -1} />,
    first === undefined ? '' : <Mode mode={first.mode} />,
    first === undefined ? (
      <span class="quiet">nobody</span>
    ) : (
      <>
        <Who session={first.session} name={first.name} tabIndex={-1} />
        {others.length > 0 && <span class="more">and {count(others.length)} more</span>}
      </>
    ),
    first === undefined ? '' : <Age since={first.since} />,
    <Queue length={waiting.length} />,
  ]
}

/** Asks the broker for what is typed, should not everything be here. */
function useSearch(text: string): void {
  const { feed, environment } = useFeed()
  const isCut = feed.locks.hidesLocks
  useEffect(() => {
    return environment.after(typingMs, () => feed.polls.lookFor(isCut ? text : ''))
  }, [feed, environment, text, isCut])
  useEffect(() => () => feed.polls.lookFor(''), [feed])
}

/** What is not shown, said where it is missed. */
function Cut({ feed, text }: { feed: Feed; text: string }) {
  const { locks, polls } = feed
  const { search } = polls
  if (search !== undefined && search.prefix === text && search.listed < search.heldCount) {
    const all = plural(search.heldCount, 'lock')
    return (
      <Note kind="wait">
        {all} begin with “{text}”, and the broker lists {count(search.listed)} of them at a time.
        Type more of the key.
      </Note>
    )
  }
  if (locks.hidesLocks && search === undefined) {
    return (
      <Note kind="wait">
        The broker lists 1,000 locks at a time: {count(locks.knownHeld)} of
        {` ${count(locks.heldCount)}`} are known here. Search for the beginning of a key to see
        others.
      </Note>
    )
  }
  if (locks.hidesQueues) {
    return (
      <Note kind="wait">
        {count(locks.knownWaiting)} of {plural(locks.waitingCount, 'waiting request')} are known
        here, so a queue may be longer than it looks. The page of a lock has its own in full.
      </Note>
    )
  }
  return null
}

function summary({ locks }: Feed, found: number, isFiltered: boolean): string {
  const all = `${plural(locks.heldCount, 'lock')} held, ${count(locks.waitingCount)} waiting`
  return isFiltered ? `${plural(found, 'key')} found; ${all}` : all
}

function select(
  entries: Iterable<KeyRow>,
  text: string,
  onlyQueues: boolean,
  order: Order,
): readonly KeyRow[] {
  const wanted = text.toLowerCase()
  const found: KeyRow[] = []
  for (const entry of entries) {
    if (onlyQueues && entry.waiting.length === 0) continue
    if (wanted === '' || isMeant(entry, wanted)) found.push(entry)
  }
  return found.sort(comparisons[order])
}

function isMeant({ key, held, waiting }: KeyRow, wanted: string): boolean {
  const has = (text: string | undefined) => text?.toLowerCase().includes(wanted) ?? false
  if (has(key)) return true
  for (const { name, session } of held) if (has(name) || has(session)) return true
  for (const { name, session } of waiting) if (has(name) || has(session)) return true
  return false
}

function byKey(a: KeyRow, b: KeyRow): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

function sinceOf({ held, waiting }: KeyRow): number {
  return held[0]?.since ?? waiting[0]?.since ?? 0
}

const comparisons: Readonly<Record<Order, (a: KeyRow, b: KeyRow) => number>> = {
  key: byKey,
  queue: (a, b) => b.waiting.length - a.waiting.length || byKey(a, b),
  oldest: (a, b) => sinceOf(a) - sinceOf(b) || byKey(a, b),
  newest: (a, b) => sinceOf(b) - sinceOf(a) || byKey(a, b),
}
