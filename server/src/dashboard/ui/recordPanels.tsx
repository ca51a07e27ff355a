/**
 * The panels of barriers and of kept results, for all keys or for one key. A barrier lets its
 * callers wait until enough of them have arrived. A call of `once` names a key. For all calls with
 * the same key, one client runs its function. A kept result is the value of this function, which
 * the broker keeps for later calls.
 */
import type { BarrierCallInfo, KeptResultInfo } from '@holdfast/client'
import { barriersIn } from '../model/coordination.js'
import { formatCount, formatTwoUnits } from '../model/format.js'
import { Age, EmptyText, KeyLink, Panel, SessionLink } from './components.js'

/** How many calls a row lists for a barrier. The row lists the session of each call. */
const maxCalls = 6

export function BarrierPanel({ arrived }: { arrived: readonly BarrierCallInfo[] }) {
  const barriers = barriersIn(arrived, maxCalls)
  return (
    <Panel title="Barriers" aside={<span class="quiet">with waiting calls</span>}>
      {barriers.length === 0 ? (
        <EmptyText>No call waits at a barrier.</EmptyText>
      ) : (
        <div class="wide">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Barrier</th>
                <th scope="col">Waiting</th>
                <th scope="col">Wait of the first</th>
                <th scope="col">Sessions</th>
              </tr>
            </thead>
            <tbody>
              {barriers.map(({ key, parties, waiting, calls, hiddenCalls }) => (
                <tr key={key}>
                  <td>
                    <KeyLink name={key} />
                  </td>
                  <td>
                    {formatCount(waiting)} of {formatCount(parties)}
                  </td>
                  <td>{calls[0] !== undefined && <Age since={calls[0].since} />}</td>
                  <td class="many-links">
                    {/* A session may wait with several calls, so only the index is unique. */}
                    {calls.map(({ session, name }, index) => (
                      <SessionLink key={index} session={session} name={name} />
                    ))}
                    {hiddenCalls > 0 && (
                      <span class="quiet">and {formatCount(hiddenCalls)} more</span>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  )
}

export function KeptPanel({ kept }: { kept: readonly KeptResultInfo[] }) {
  return (
    <Panel
      title="Kept results"
      aside={
        <span class="quiet">
          of <code>once</code> calls
        </span>
      }
    >
      {kept.length === 0 ? (
        <EmptyText>
          No result of a <code>once</code> call is kept.
        </EmptyText>
      ) : (
        <div class="wide">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Key</th>
                <th scope="col">Size as JSON</th>
                <th scope="col">Age</th>
                <th scope="col">Time left</th>
              </tr>
            </thead>
            <tbody>
              {kept.map(({ key, size, since, remaining, fence }) => (
                <tr key={fence}>
                  <td>
                    <KeyLink name={key} />
                  </td>
                  <td>{formatCount(size)} characters</td>
                  <td>
                    <Age since={since} />
                  </td>
                  <td>{remaining === undefined ? '–' : formatTwoUnits(remaining)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  )
}
