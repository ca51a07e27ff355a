/** One key: who holds it, who waits for it, who waits for whom, and what was seen of it before. */
import type { HeldInfo, QueryResult } from '@holdfast/client'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { count, plural, shortId, timeOf, took } from '../model/format.js'
import { pictureOf } from '../model/graph.js'
import type { KeyRow } from '../model/lockModel.js'
import type { Past } from '../model/recentEvents.js'
import { SeenEvent } from '../ui/eventLine.js'
import { FreeDialog } from '../ui/free.js'
import { Age, Empty, Mode, Note, Panel, Who } from '../ui/parts.js'
import { Picture } from '../ui/picture.js'
import { useFeed, useParties } from '../ui/shared.js'
import { tell } from '../ui/toasts.js'
import { Waiting } from '../ui/waiting.js'

const mostPast = 20

export function LockPage({ name }: { name: string }) {
  const { feed } = useFeed()
  useEffect(() => {
    feed.focus.on(name)
    return () => feed.focus.on(undefined)
  }, [feed, name])
  const { problem } = feed.focus
  const known = feed.locks.entries.get(name)
  const result = feed.focus.result ?? resultOf(known)
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
      <Holders held={result.held} />
      <WhoWaits name={name} result={result} />
      <div class="columns">
        <Panel title="Queue" aside={<span class="quiet">first come, first served</span>}>
          <Waiting waiting={result.waiting} all={result.waitingCount} />
        </Panel>
        <History past={feed.recent.past(name, mostPast)} />
      </div>
    </>
  )
}

function resultOf(entry: KeyRow | undefined): QueryResult {
  const { held, waiting } = entry ?? { held: [], waiting: [] }
  return { held, waiting, heldCount: held.length, waitingCount: waiting.length }
}

function stateOf({ heldCount, waitingCount }: QueryResult): string {
  if (heldCount === 0) return waitingCount === 0 ? 'Free' : `Free, ${count(waitingCount)} waiting`
  const held = heldCount === 1 ? 'Held' : `Held by ${count(heldCount)} together`
  return `${held}, ${waitingCount === 0 ? 'nobody waits' : `${count(waitingCount)} waiting`}`
}

function CopyButton({ text }: { text: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text)
      tell('Copied.')
    } catch {
      tell('The browser does not let this page copy.')
    }
  }
  // A page from another machine without TLS has no clipboard.
  if (!isSecureContext) return null
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      Copy key
    </button>
  )
}

function Holders({ held }: { held: readonly HeldInfo[] }) {
  const [toFree, setToFree] = useState<HeldInfo | undefined>(undefined)
  const [isForbidden, setForbidden] = useState(false)
  return (
    <Panel title={held.length > 1 ? 'Holders' : 'Holder'}>
      {held.length === 0 && <Empty>Nobody holds it.</Empty>}
      <ul class="holders">
        {held.map((lock) => (
          <li class="holder" key={lock.fence}>
            <Holder lock={lock} />
            {!isForbidden && (
              <button type="button" class="danger" onClick={() => setToFree(lock)}>
                Free by force…
              </button>
            )}
          </li>
        ))}
      </ul>
      {isForbidden && <Note>You may not free locks of this key.</Note>}
      {toFree !== undefined && (
        <FreeDialog
          lock={toFree}
          onClose={() => setToFree(undefined)}
          onForbidden={() => setForbidden(true)}
        />
      )}
    </Panel>
  )
}

function Holder({ lock }: { lock: HeldInfo }) {
  const { session, name, mode, since, fence, metadata } = lock
  return (
    <dl class="facts facts-row">
      <div>
        <dt>Session</dt>
        <dd>
          <Who session={session} name={name} />
        </dd>
      </div>
      <div>
        <dt>Mode</dt>
        <dd>
          <Mode mode={mode} />
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

function WhoWaits({ name, result }: { name: string; result: QueryResult }) {
  const { feed, version } = useFeed()
  const parties = useParties()
  const drawing = useMemo(
    () => pictureOf(name, feed.locks.entries, parties),
    [feed, name, parties, version],
  )
  if (drawing.edges.length === 0) return null
  const label = (session: string) => parties.get(session)?.name ?? shortId(session)
  const { circle, hiddenWaiters, hiddenHolders } = drawing
  const more = Math.max(hiddenWaiters, result.waitingCount > 6 ? result.waitingCount - 6 : 0)
  return (
    <Panel title="Who waits for whom">
      {circle.length > 0 && (
        <Note kind="bad">
          These sessions wait for each other, and will for ever:{' '}
          {[...circle, circle[0] as string].map(label).join(' → ')}.
        </Note>
      )}
      <Picture drawing={drawing} about={name} />
      <p class="quiet caption">
        An arrow leads from who waits to who holds. {more > 0 && `${count(more)} more wait. `}
        {hiddenHolders > 0 && `${plural(hiddenHolders, 'more holder')}.`}
      </p>
    </Panel>
  )
}

function History({ past }: { past: readonly Past[] }) {
  return (
    <Panel title="Last grants" aside={<span class="quiet">seen since this page was opened</span>}>
      {past.length === 0 ? (
        <Empty>None yet.</Empty>
      ) : (
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">Session</th>
              <th scope="col">Held for</th>
              <th scope="col">End</th>
            </tr>
          </thead>
          <tbody>
            {past.map(({ lock, end }) => (
              <tr key={lock.fence}>
                <td class="time">{timeOf(lock.since)}</td>
                <td>
                  <Who session={lock.session} name={lock.name} />
                </td>
                <td>
                  {end === undefined ? <Age since={lock.since} /> : took(end.at - lock.since)}
                </td>
                <td>{end === undefined ? 'held' : <SeenEvent kind={end.how} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}
