/** The queue of a key as a table, in the order in which the requests will be granted. */
import type { WaitingInfo } from '@holdfast/client'
import { formatCount, formatPlural } from '../model/format.js'
import { Age, EmptyText, LockDescription, Note, SessionLink } from './components.js'
import { VirtualTable } from './virtualTable.js'

interface QueueRow extends WaitingInfo {
  /** The place, from 1; undefined for an upgrade, which precedes all other requests. */
  readonly position: number | undefined
  /** Unique in the queue. */
  readonly id: string
}

interface QueueTableProps {
  readonly waiting: readonly WaitingInfo[]
  /** The length of the whole queue, including the part that is not listed. */
  readonly length: number
}

export function QueueTable({ waiting, length: queueLength }: QueueTableProps) {
  if (waiting.length === 0) return <EmptyText>The queue is empty.</EmptyText>
  return (
    <>
      {waiting.length < queueLength && (
        <Note kind="wait">
          The first {formatCount(waiting.length)} of {formatPlural(queueLength, 'waiting request')}.
        </Note>
      )}
      <VirtualTable
        label="Queue"
        cssClass="queue-list"
        headings={['Place', 'Session', 'Mode', 'Wait time']}
        items={queueRows(waiting)}
        idOf={({ id }) => id}
        cells={({ position, session, name, since, ...request }, isActive) => [
          position === undefined ? 'first' : formatCount(position),
          <SessionLink session={session} name={name} tabIndex={isActive ? 0 : -1} />,
          <LockDescription {...request} />,
          <Age since={since} />,
        ]}
      />
    </>
  )
}

/** Gives each request a unique id, because a session may wait for one key with several requests. */
function queueRows(waiting: readonly WaitingInfo[]): QueueRow[] {
  const countBySession = new Map<string, number>()
  let position = 0
  return waiting.map((request) => {
    const requestNumber = (countBySession.get(request.session) ?? 0) + 1
    countBySession.set(request.session, requestNumber)
    return {
      ...request,
      position: request.upgrade ? undefined : ++position,
      id: `${request.session} ${requestNumber}`,
    }
  })
}
