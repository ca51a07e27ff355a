/** Sessions that hold something or wait for something; of others the broker says nothing. */
import { useMemo, useState } from 'preact/hooks'
import { count, plural } from '../model/format.js'
import type { Party } from '../model/sessions.js'
import { Age, Empty, Note, Queue, Who } from '../ui/parts.js'
import { SearchField } from '../ui/search.js'
import { useFeed, useParties } from '../ui/shared.js'
import { Virtual } from '../ui/virtual.js'

export function SessionsPage() {
  const { feed } = useFeed()
  const parties = useParties()
  const [text, setText] = useState('')
  const found = useMemo(() => select(parties, text), [parties, text])
  const { locks } = feed
  const isCut = locks.hidesLocks || locks.hidesQueues
  return (
    <section class="full">
      <div class="page-head">
        <h1>Sessions</h1>
        <p class="quiet" aria-live="polite">
          {plural(found.length, 'session')} that hold a lock or wait for one
        </p>
      </div>
      <div class="tools">
        <SearchField label="Search names and ids" text={text} onText={setText} />
      </div>
      {isCut && (
        <Note kind="wait">
          Not every lock of this broker is known here, so sessions may be missing, or hold more than
          it says.
        </Note>
      )}
      {found.length === 0 ? (
        <Empty>
          {text === '' ? 'Nobody holds or awaits anything.' : `No session has “${text}” in it.`}
        </Empty>
      ) : (
        <Virtual
          label="Sessions"
          kind="sessions"
          heads={['Session', 'Holds', 'Waits for', 'Since']}
          items={found}
          idOf={({ id }) => id}
          cells={cellsOf}
        />
      )}
    </section>
  )
}

function cellsOf({ id, name, holds, awaits }: Party, isActive: boolean) {
  return [
    <Who session={id} name={name} tabIndex={isActive ? 0 : -1} />,
    holds.length === 0 ? <span class="queue-none">–</span> : count(holds.length),
    <Queue length={awaits.length} />,
    <Age since={Math.min(...[...holds, ...awaits].slice(0, 1_000).map(({ since }) => since))} />,
  ]
}

function select(parties: ReadonlyMap<string, Party>, text: string): Party[] {
  const wanted = text.toLowerCase()
  return [...parties.values()]
    .filter(({ id, name = '' }) => `${name}\n${id}`.toLowerCase().includes(wanted))
    .sort((a, b) => compare(a.name ?? '~', b.name ?? '~') || compare(a.id, b.id))
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
