/**
 * Shows refused deadlocks. A deadlock is a cycle of requests that wait for each other. The broker
 * refuses the request that would complete the cycle. This file has the cycle in words, the card on
 * the overview, the list of the newest refused deadlocks, and the mark beside a deadlocked key.
 */
import type { RefusedDeadlock } from '@holdfast/client'
import { keysOfDeadlocks, refusedDeadlocksIn } from '../model/coordination.js'
import { formatCount, formatPlural } from '../model/format.js'
import { useLiveAppState } from './appState.js'
import { Age, KeyLink, Panel, SessionLink } from './components.js'
import { addressOf } from './router.js'

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

/**
 * The number of refused deadlocks and the newest cycle, with a link to the other cycles; nothing if
 * no deadlock was refused.
 */
export function DeadlockCard() {
  const { feed } = useLiveAppState()
  const { stats } = feed.brokerPoller
  const { refusedDeadlocks: refusedCount = 0, newestDeadlock, deadlocks = [] } = stats ?? {}
  if (refusedCount === 0) return null
  return (
    <Panel
      title={formatPlural(refusedCount, 'refused deadlock')}
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
      {deadlocks.length > 1 && (
        <a href={addressOf('coordination')}>
          The newest {formatCount(deadlocks.length)} refused deadlocks
        </a>
      )}
    </Panel>
  )
}

/**
 * The refused deadlocks that the broker keeps, the newest first. The broker leaves out deadlocks
 * without a key that this client may query. If the list of all deadlocks is empty,
 * {@link DeadlockCard} replaces the list, because the card counts all deadlocks. An empty list for
 * one key shows nothing.
 *
 * @param keyName Only the deadlocks with this key in their cycle; undefined for all deadlocks.
 */
export function DeadlockList({ keyName }: { keyName?: string | undefined }) {
  const { feed } = useLiveAppState()
  const { refusedDeadlocks: refusedCount = 0 } = feed.brokerPoller.stats ?? {}
  const deadlocks = refusedDeadlocksIn(feed.brokerPoller.stats).filter(
    (deadlock) => keyName === undefined || keysOfDeadlocks([deadlock]).has(keyName),
  )
  if (deadlocks.length === 0) return keyName === undefined ? <DeadlockCard /> : null
  // The broker has no count for one key, so the panel of one key shows no count.
  const showsCount = keyName === undefined && deadlocks.length < refusedCount
  return (
    <Panel
      title={deadlocks.length === 1 ? 'Refused deadlock' : 'Refused deadlocks'}
      class="panel-bad"
      aside={
        showsCount && (
          <span>
            the newest {formatCount(deadlocks.length)} of {formatCount(refusedCount)}
          </span>
        )
      }
    >
      <ul>
        {deadlocks.map((deadlock, index) => (
          // Two deadlocks may have the same time and the same cycle, so only the index differs.
          <li class="deadlock" key={index}>
            <Age since={deadlock.since} /> ago
            <DeadlockCycle deadlock={deadlock} />
          </li>
        ))}
      </ul>
    </Panel>
  )
}

/** Marks a key that is in one of the refused deadlocks that the broker keeps. */
export function DeadlockMark() {
  return (
    <span class="mark-bad" title="This key is in a refused deadlock">
      deadlock
    </span>
  )
}
