/**
 * The page of all sessions that hold a lock or wait for a lock. The broker does not list other
 * sessions.
 */
import { useMemo, useState } from 'preact/hooks'
import { formatCount, formatPlural } from '../model/format.js'
import type { SessionRow } from '../model/sessionRows.js'
import { useLiveAppState, useSessionRows } from '../ui/appState.js'
import { Age, EmptyText, ExampleCommand, Note, QueueLength, SessionLink } from '../ui/components.js'
import { SearchField } from '../ui/searchField.js'
import { VirtualTable } from '../ui/virtualTable.js'

/** For speed, at most this many locks and requests of a session are compared by `since`. */
const maxComparedTimes = 1_000

export function SessionsPage() {
  const { feed } = useLiveAppState()
  const sessions = useSessionRows()
  const [text, setText] = useState('')
  const matchingSessions = useMemo(() => filterSessions(sessions, text), [sessions, text])
  const { locks } = feed
  const isPartial = locks.hasUnknownLocks || locks.hasUnknownQueues
  return (
    <section class="full">
      <div class="page-head">
        <h1>Sessions</h1>
        <p class="quiet" aria-live="polite">
          {formatPlural(matchingSessions.length, 'session')} with locks or waiting requests
        </p>
      </div>
      <div class="tools">
        <SearchField label="Search names and ids" text={text} onText={setText} />
      </div>
      {isPartial && (
        <Note kind="wait">
          Not all locks and waiting requests of this broker are known here. So sessions may be
          missing, and the numbers may be too low.
        </Note>
      )}
      {matchingSessions.length === 0 ? (
        <EmptyText>
          {text === '' ? (
            <>
              No session holds or waits for a lock. To see a session here, take a lock:{' '}
              <ExampleCommand />
            </>
          ) : (
            `No session matches “${text}”.`
          )}
        </EmptyText>
      ) : (
        <VirtualTable
          label="Sessions"
          cssClass="sessions"
          headings={['Session', 'Holds', 'Waits for', 'Since']}
          items={matchingSessions}
          idOf={({ id }) => id}
          cells={cellsOf}
        />
      )}
    </section>
  )
}

function cellsOf({ id, name, holds, awaits }: SessionRow, isActive: boolean) {
  return [
    <SessionLink session={id} name={name} tabIndex={isActive ? 0 : -1} />,
    holds.length === 0 ? <span class="queue-none">–</span> : formatCount(holds.length),
    <QueueLength length={awaits.length} />,
    <Age since={firstSinceOf([...holds, ...awaits])} />,
  ]
}

/** The earliest `since` of the locks and requests of a session, see {@link maxComparedTimes}. */
function firstSinceOf(records: readonly { readonly since: number }[]): number {
  return Math.min(...records.slice(0, maxComparedTimes).map(({ since }) => since))
}

function filterSessions(sessions: ReadonlyMap<string, SessionRow>, text: string): SessionRow[] {
  const searchText = text.toLowerCase()
  return (
    [...sessions.values()]
      .filter(({ id, name = '' }) => `${name}\n${id}`.toLowerCase().includes(searchText))
      // Sessions without a name come last, because `~` sorts after letters and digits.
      .sort((a, b) => compare(a.name ?? '~', b.name ?? '~') || compare(a.id, b.id))
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
