/** A queue in its order: the first is the next. */
import type { WaitingInfo } from '@holdfast/client'
import { count, plural } from '../model/format.js'
import { Age, Empty, Mode, Note, Who } from './parts.js'
import { Virtual } from './virtual.js'

interface Place extends WaitingInfo {
  readonly place: number
  readonly id: string
}

interface WaitingProps {
  readonly waiting: readonly WaitingInfo[]
  /** How many there are, listed or not. */
  readonly all: number
}

export function Waiting({ waiting, all }: WaitingProps) {
  if (waiting.length === 0) return <Empty>Nobody waits.</Empty>
  return (
    <>
      {waiting.length < all && (
        <Note kind="wait">
          The first {count(waiting.length)} of {plural(all, 'waiting request')}.
        </Note>
      )}
      <Virtual
        label="Queue"
        kind="queue-list"
        heads={['Place', 'Session', 'Mode', 'Waits for']}
        items={placesOf(waiting)}
        idOf={({ id }) => id}
        cells={({ place, session, name, mode, since }, isActive) => [
          count(place),
          <Who session={session} name={name} tabIndex={isActive ? 0 : -1} />,
          <Mode mode={mode} />,
          <Age since={since} />,
        ]}
      />
    </>
  )
}

/** A session may wait for one key more than once; each of its requests is told by its number. */
function placesOf(waiting: readonly WaitingInfo[]): Place[] {
  const counts = new Map<string, number>()
  return waiting.map((request, index) => {
    const number = (counts.get(request.session) ?? 0) + 1
    counts.set(request.session, number)
    return { ...request, place: index + 1, id: `${request.session} ${number}` }
  })
}
