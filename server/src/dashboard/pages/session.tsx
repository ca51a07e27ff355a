/**
 * The page of one session: its lease, its connection, its locks, and its waiting requests. The
 * broker shows the principal (the authenticated name of the client) and the address only to clients
 * with the permission `inspect`.
 */
import type { SessionInfo, WaitingInfo } from '@holdfast/client'
import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import type { SessionResult } from '../feed/sessionPoller.js'
import { formatCount, formatTwoUnits } from '../model/format.js'
import { useLiveAppState, useSessionRows } from '../ui/appState.js'
import {
  Age,
  EmptyText,
  KeyLink,
  LockDescription,
  LockTimeLeft,
  Note,
  Panel,
  QueueLength,
} from '../ui/components.js'
import { VirtualTable } from '../ui/virtualTable.js'

export function SessionPage({ id }: { id: string }) {
  const { feed } = useLiveAppState()
  const sessionRow = useSessionRows().get(id)
  const { rows: lockRows } = feed.locks
  useEffect(() => {
    feed.sessionPoller.select(id)
    return () => feed.sessionPoller.select(undefined)
  }, [feed, id])
  const { result } = feed.sessionPoller
  return (
    <>
      <div class="page-head">
        <h1>{sessionRow?.name ?? 'Session'}</h1>
        <p class="quiet key">{id}</p>
      </div>
      {sessionRow === undefined && <Note>{unknownSessionText(result)}</Note>}
      {result !== undefined && result !== 'ended' && <SessionFacts info={result} />}
      <div class="columns">
        <Panel
          title="Holds"
          aside={<span class="quiet">{formatCount(sessionRow?.holds.length ?? 0)}</span>}
        >
          {sessionRow === undefined || sessionRow.holds.length === 0 ? (
            <EmptyText>No locks.</EmptyText>
          ) : (
            <VirtualTable
              label="Locks that the session holds"
              cssClass="session-holds"
              headings={['Key', 'Mode', 'Held for', 'Time left', 'Queue']}
              items={sessionRow.holds}
              // A lock on several keys has a row for each key. These rows have the same fence.
              idOf={({ fence, key }) => `${fence} ${key}`}
              cells={(lock, isActive) => [
                <KeyLink name={lock.key} tabIndex={isActive ? 0 : -1} />,
                <LockDescription {...lock} />,
                <Age since={lock.since} />,
                <LockTimeLeft {...lock} />,
                <QueueLength length={lockRows.get(lock.key)?.waiting.length ?? 0} />,
              ]}
            />
          )}
        </Panel>
        <Panel
          title="Waits for"
          aside={<span class="quiet">{formatCount(sessionRow?.awaits.length ?? 0)}</span>}
        >
          {sessionRow === undefined || sessionRow.awaits.length === 0 ? (
            <EmptyText>No requests.</EmptyText>
          ) : (
            <VirtualTable
              label="Locks that the session waits for"
              cssClass="session-awaits"
              headings={['Key', 'Place', 'Mode', 'Wait time']}
              items={sessionRow.awaits}
              // Several requests for a key may arrive at the same time, so the id has an index.
              idOf={(request) =>
                `${request.key} ${request.since} ${sessionRow.awaits.indexOf(request)}`
              }
              cells={(request, isActive) => [
                <KeyLink name={request.key} tabIndex={isActive ? 0 : -1} />,
                positionOf(request, lockRows.get(request.key)?.waiting ?? []),
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

/** What the page says if it knows no lock and no waiting request of the session. */
function unknownSessionText(result: SessionResult | undefined): string {
  if (result === 'ended') return 'This session has ended, or this broker never had it.'
  const text = 'No lock or waiting request of this session is known here.'
  return result === undefined ? `${text} The session may have ended.` : text
}

function SessionFacts({ info }: { info: SessionInfo }) {
  // The broker sends a principal exactly if the token has the permission `inspect`.
  const { lease, grace, connected, principal, address } = info
  return (
    <Panel title="Client">
      <dl class="facts facts-row">
        {principal !== undefined && (
          <Fact name="Principal">
            <span class="key">{principal}</span>
          </Fact>
        )}
        {principal !== undefined && (
          <Fact name="Address">
            {address !== undefined && <span class="key">{address}</span>}
            {address === undefined && (
              <span class="quiet">{connected ? 'not known here' : 'none'}</span>
            )}
          </Fact>
        )}
        <Fact name="Connection">{connected ? 'connected' : 'disconnected'}</Fact>
        <Fact name="Lease">{formatTwoUnits(lease)}</Fact>
        <Fact name="Grace">{grace === 0 ? 'none' : formatTwoUnits(grace)}</Fact>
      </dl>
      {principal === undefined && (
        <p class="quiet caption">
          The principal and the address need a token with the permission inspect.
        </p>
      )}
    </Panel>
  )
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

/**
 * The place of a request in the queue of its key: `first` for an upgrade, which precedes all other
 * requests; `–` if the queue does not contain the request. The requests after the upgrades are
 * numbered from 1.
 */
function positionOf(request: WaitingInfo, queue: readonly WaitingInfo[]): string {
  if (request.upgrade) return 'first'
  const position = queue.filter(({ upgrade }) => !upgrade).indexOf(request)
  return position < 0 ? '–' : formatCount(position + 1)
}
