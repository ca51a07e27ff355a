/**
 * The page "Coordination", which shows what the broker has besides plain locks:
 * - elections with their leaders
 * - barriers, at which calls wait until enough calls have arrived
 * - kept results of `once` (a function that runs once for all callers of a key)
 * - scopes (each scope is one logical task of a session)
 * - refused deadlocks (requests that would wait for each other in a cycle)
 */
import { useMemo } from 'preact/hooks'
import { electionsIn, type ScopeRow, scopesIn } from '../model/coordination.js'
import { formatCount, formatPlural, shortJson } from '../model/format.js'
import { useLiveAppState, useSessionRows } from '../ui/appState.js'
import { Age, EmptyText, KeyLink, Note, Panel, SessionLink } from '../ui/components.js'
import { DeadlockList } from '../ui/deadlock.js'
import { BarrierPanel, KeptPanel } from '../ui/recordPanels.js'

/** How many scopes the page lists. */
const maxScopes = 50
/** How many keys one cell of the table of scopes lists. */
const maxKeysPerCell = 4

export function CoordinationPage() {
  const { feed } = useLiveAppState()
  const { arrived, arrivedCount, kept, keptCount } = feed.brokerPoller.records
  /** How many waiting calls and kept results the lists lack. */
  const unlisted = arrivedCount - arrived.length + keptCount - kept.length
  return (
    <>
      <div class="page-head">
        <h1>Coordination</h1>
        <p class="quiet">
          Elections, barriers, results of <code>once</code> calls, and scopes
        </p>
      </div>
      {unlisted > 0 && (
        <Note kind="wait">
          The broker limits the length of its lists. Not listed:{' '}
          {formatPlural(unlisted, 'waiting call or kept result', 'waiting calls and kept results')}.
        </Note>
      )}
      <DeadlockList />
      <Elections />
      <div class="columns">
        <BarrierPanel arrived={arrived} />
        <KeptPanel kept={kept} />
      </div>
      <Scopes />
    </>
  )
}

function Elections() {
  const { feed, version } = useLiveAppState()
  const elections = useMemo(() => electionsIn(feed.locks.rows.values()), [feed, version])
  return (
    <Panel title="Elections" aside={<span class="quiet">{formatCount(elections.length)}</span>}>
      {elections.length === 0 ? (
        <EmptyText>
          No session leads or campaigns. Call session.campaign to begin an election.
        </EmptyText>
      ) : (
        <div class="wide">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Election</th>
                <th scope="col">Leader</th>
                <th scope="col">Value</th>
                <th scope="col">Fence</th>
                <th scope="col">Leads for</th>
                <th scope="col">Candidates</th>
              </tr>
            </thead>
            <tbody>
              {elections.map(({ key, leader, candidates }) => (
                <tr key={key}>
                  <td>
                    <KeyLink name={key} />
                  </td>
                  <td>
                    {leader === undefined ? (
                      <span class="quiet">none</span>
                    ) : (
                      <SessionLink session={leader.session} name={leader.name} />
                    )}
                  </td>
                  <td class="value">
                    {leader?.value === undefined ? '–' : shortJson(leader.value)}
                  </td>
                  <td class="fence">{leader?.fence ?? '–'}</td>
                  <td>{leader !== undefined && <Age since={leader.since} />}</td>
                  <td>{formatCount(candidates)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  )
}

function Scopes() {
  const sessions = useSessionRows()
  const scopes = useMemo(() => scopesIn(sessions.values()), [sessions])
  const unlistedScopeCount = scopes.length - maxScopes
  return (
    <Panel title="Scopes" aside={<span class="quiet">tasks that hold locks or wait</span>}>
      {scopes.length === 0 ? (
        <EmptyText>No scope holds a lock or waits. Call session.scope to begin one.</EmptyText>
      ) : (
        <div class="wide">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Session</th>
                <th scope="col">Scope</th>
                <th scope="col">Holds</th>
                <th scope="col">Waits for</th>
                <th scope="col">Wait time</th>
              </tr>
            </thead>
            <tbody>
              {scopes.slice(0, maxScopes).map((row) => (
                <ScopeTableRow key={`${row.session} ${row.scope}`} row={row} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {unlistedScopeCount > 0 && (
        <p class="quiet caption">{formatPlural(unlistedScopeCount, 'more scope')}.</p>
      )}
    </Panel>
  )
}

function ScopeTableRow({ row: { session, name, scope, holds, awaits } }: { row: ScopeRow }) {
  return (
    <tr>
      <td>
        <SessionLink session={session} name={name} />
      </td>
      <td>{scope}</td>
      <td class="many-links">
        <Keys keys={holds.map(({ key }) => key)} />
      </td>
      <td class="many-links">
        <Keys keys={awaits.map(({ key }) => key)} />
      </td>
      <td>{awaits[0] !== undefined && <Age since={awaits[0].since} />}</td>
    </tr>
  )
}

function Keys({ keys }: { keys: readonly string[] }) {
  return (
    <>
      {keys.slice(0, maxKeysPerCell).map((key) => (
        <KeyLink key={key} name={key} />
      ))}
      {keys.length > maxKeysPerCell && (
        <span class="quiet">and {formatCount(keys.length - maxKeysPerCell)} more</span>
      )}
    </>
  )
}
