/** The page of one session: the locks that it holds, and the requests that wait. */
import type { WaitingInfo } from '@holdfast/client'
import { formatCount } from '../model/format.js'
import { useFeed, useSessionRows } from '../ui/appState.js'
import {
  Age,
  EmptyText,
  KeyLink,
  LockDescription,
  Note,
  Panel,
  QueueLength,
} from '../ui/components.js'
import { VirtualTable } from '../ui/virtualTable.js'

export function SessionPage({ id }: { id: string }) {
  const { feed } = useFeed()
  const row = useSessionRows().get(id)
  const { rows } = feed.locks
  return (
    <>
      <div class="page-head">
        <h1>{row?.name ?? 'Session'}</h1>
        <p class="quiet key">{id}</p>
      </div>
      {row === undefined && (
        <Note>
          No lock or waiting request of this session is known here. The session may have ended.
        </Note>
      )}
      <div class="columns">
        <Panel
          title="Holds"
          aside={<span class="quiet">{formatCount(row?.holds.length ?? 0)}</span>}
        >
          {row === undefined || row.holds.length === 0 ? (
            <EmptyText>No locks.</EmptyText>
          ) : (
            <VirtualTable
              label="Locks that the session holds"
              cssClass="session-holds"
              headings={['Key', 'Mode', 'Held for', 'Queue']}
              items={row.holds}
              // All locks of a set have the same fence.
              idOf={({ fence, key }) => `${fence} ${key}`}
              cells={({ key, since, ...lock }, isActive) => [
                <KeyLink name={key} tabIndex={isActive ? 0 : -1} />,
                <LockDescription {...lock} />,
                <Age since={since} />,
                <QueueLength length={rows.get(key)?.waiting.length ?? 0} />,
              ]}
            />
          )}
        </Panel>
        <Panel
          title="Waits for"
          aside={<span class="quiet">{formatCount(row?.awaits.length ?? 0)}</span>}
        >
          {row === undefined || row.awaits.length === 0 ? (
            <EmptyText>No requests.</EmptyText>
          ) : (
            <VirtualTable
              label="Locks that the session waits for"
              cssClass="session-awaits"
              headings={['Key', 'Place', 'Mode', 'Waiting for']}
              items={row.awaits}
              idOf={(request) => `${request.key} ${request.since} ${row.awaits.indexOf(request)}`}
              cells={(request, isActive) => [
                <KeyLink name={request.key} tabIndex={isActive ? 0 : -1} />,
                positionOf(request, rows.get(request.key)?.waiting ?? []),
                <LockDescription {...request} />,
                <Age since={request.since} />,
              ]}
            />
          )}
        </Panel>
      </div>
    </>
  )
}

/** The position of a request in the queue of its key, from 1. */
function positionOf(request: WaitingInfo, queue: readonly WaitingInfo[]): string {
  if (request.upgrade) return 'first'
  const position = queue.filter(({ upgrade }) => !upgrade).indexOf(request)
  return position < 0 ? '–' : formatCount(position + 1)
}
