/**
 * Shows a refused deadlock. A deadlock is a cycle of requests that wait for each other. The broker
 * refuses the request that would complete the cycle. This file has the cycle in words, the card on
 * the overview, and the mark in lists.
 */
import type { RefusedDeadlock } from '@holdfast/client'
import { formatPlural } from '../model/format.js'
import { useLiveAppState } from './appState.js'
import { Age, KeyLink, Panel, SessionLink } from './components.js'

/** Lists which session waits for which key. The broker refused the first request of the list. */
export function DeadlockCycle({ deadlock: { cycle } }: { deadlock: RefusedDeadlock }) {
  return (
    <ol class="cycle">
      {cycle.map(({ key, session, name, scope }, index) => (
        <li key={`${session} ${scope} ${key}`}>
          <SessionLink session={session} name={name} />
          {scope !== undefined && <span class="more">scope {scope}</span>}
          <span class="cycle-verb">{index === 0 ? 'was refused' : 'waits for'}</span>
          {key === undefined ? (
            <span class="quiet">a key that you may not query</span>
          ) : (
            <KeyLink name={key} />
          )}
        </li>
      ))}
    </ol>
  )
}

/** The number of refused deadlocks and the newest cycle; nothing if no deadlock was refused. */
export function DeadlockCard() {
  const { feed } = useLiveAppState()
  const { refusedDeadlocks = 0, newestDeadlock } = feed.brokerPoller.stats ?? {}
  if (refusedDeadlocks === 0) return null
  return (
    <Panel
      title={formatPlural(refusedDeadlocks, 'refused deadlock')}
      class="panel-bad"
      aside={
        newestDeadlock !== undefined && (
          <span>
            the newest <Age since={newestDeadlock.since} /> ago
          </span>
        )
      }
    >
      {newestDeadlock === undefined ? (
        <p>You may not query the keys of the newest deadlock.</p>
      ) : (
        <DeadlockCycle deadlock={newestDeadlock} />
      )}
    </Panel>
  )
}

/** Marks a key that is in the newest refused deadlock. */
export function DeadlockMark() {
  return (
    <span class="mark-bad" title="This key is in the newest refused deadlock">
      deadlock
    </span>
  )
}
