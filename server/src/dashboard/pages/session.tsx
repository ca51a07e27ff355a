/** One session: what it holds, and what it waits for. */
import type { WaitingInfo } from '@holdfast/client'
import { count } from '../model/format.js'
import { Age, Empty, KeyLink, Mode, Note, Panel, Queue } from '../ui/parts.js'
import { useFeed, useParties } from '../ui/shared.js'
import { Virtual } from '../ui/virtual.js'

export function SessionPage({ id }: { id: string }) {
  const { feed } = useFeed()
  const party = useParties().get(id)
  const { entries } = feed.locks
  return (
    <>
      <div class="page-head">
        <h1>{party?.name ?? 'Session'}</h1>
        <p class="quiet key">{id}</p>
      </div>
      {party === undefined && (
        <Note>
          It holds nothing and waits for nothing, as far as is known here, or it has ended.
        </Note>
      )}
      <div class="columns">
        <Panel title="Holds" aside={<span class="quiet">{count(party?.holds.length ?? 0)}</span>}>
          {party === undefined || party.holds.length === 0 ? (
            <Empty>Nothing.</Empty>
          ) : (
            <Virtual
              label="Locks that it holds"
              kind="session-holds"
              heads={['Key', 'Mode', 'For', 'Queue']}
              items={party.holds}
              idOf={({ fence }) => String(fence)}
              cells={({ key, mode, since }, isActive) => [
                <KeyLink name={key} tabIndex={isActive ? 0 : -1} />,
                <Mode mode={mode} />,
                <Age since={since} />,
                <Queue length={entries.get(key)?.waiting.length ?? 0} />,
              ]}
            />
          )}
        </Panel>
        <Panel
          title="Waits for"
          aside={<span class="quiet">{count(party?.awaits.length ?? 0)}</span>}
        >
          {party === undefined || party.awaits.length === 0 ? (
            <Empty>Nothing.</Empty>
          ) : (
            <Virtual
              label="Locks that it waits for"
              kind="session-awaits"
              heads={['Key', 'Place', 'Mode', 'Since']}
              items={party.awaits}
              idOf={(request) => `${request.key} ${request.since} ${party.awaits.indexOf(request)}`}
              cells={(request, isActive) => [
                <KeyLink name={request.key} tabIndex={isActive ? 0 : -1} />,
                placeOf(request, entries.get(request.key)?.waiting ?? []),
                <Mode mode={request.mode} />,
                <Age since={request.since} />,
              ]}
            />
          )}
        </Panel>
      </div>
    </>
  )
}

function placeOf(request: WaitingInfo, queue: readonly WaitingInfo[]): string {
  const place = queue.indexOf(request)
  return place < 0 ? '–' : count(place + 1)
}
