/**
 * Tests elections at the broker: permissions, limits, metrics, and the values that watchers see. A
 * leadership is an exclusive lock with a value, which the leader can change by `proclaim`. A
 * campaign is a request for a leadership. A fence is the number of a grant.
 */
import { brokerMetrics } from '@holdfast/server/metrics'
import type { LockEvent, WatchEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

/** Campaigns for a free key. Returns the fence of the leadership. */
function lead(client: Client, id: number, fields: object = {}): number {
  client.say({ type: 'campaign', id, key: 'k', ...fields })
  return client.socket.takeMessagesOfType('granted').find((granted) => granted.id === id)!.fence
}

/** The id and the code of each refused request of a client, such as `1 FORBIDDEN`. */
function failures(client: Client): string[] {
  return client.socket.takeMessagesOfType('failed').map(({ id, code }) => `${id} ${code}`)
}

describe('elections at the broker', () => {
  it('are allowed only with the permission to lock the key', () => {
    const harness = new BrokerHarness({
      authorize: (_principal, operation, key) => operation === 'lock' && key === 'k',
    })
    const client = harness.openSession()
    client.say({ type: 'campaign', id: 1, key: 'other' })
    expect(failures(client)).to.deep.equal(['1 FORBIDDEN'])
    const fence = lead(client, 2)
    client.say({ type: 'proclaim', id: 3, fence, value: 1 })
    expect(client.socket.takeMessagesOfType('proclaimed')).to.have.length(1)
  })

  it('have values and metadata of at most metadataBytes bytes each', () => {
    const harness = new BrokerHarness({ limits: { metadataBytes: 10 } })
    const client = harness.openSession()
    // With its two quotes, a text of 9 characters has 11 bytes.
    client.say({ type: 'campaign', id: 1, key: 'k', value: 'x'.repeat(9) })
    client.say({ type: 'campaign', id: 2, key: 'k', value: 1, metadata: 'x'.repeat(9) })
    expect(failures(client)).to.deep.equal(['1 QUOTA_EXCEEDED', '2 QUOTA_EXCEEDED'])
    const fence = lead(client, 3, { value: 'x'.repeat(8), metadata: 'x'.repeat(8) })
    client.say({ type: 'proclaim', id: 4, fence, value: 'x'.repeat(9) })
    expect(failures(client)).to.deep.equal(['4 QUOTA_EXCEEDED'])
  })

  it('get no new values, but can end, while the memory of the broker is used up', () => {
    // The memory of a broker with 100 connections and one leader without a value. The test uses
    // this memory as the limit, and a value exceeds the limit. The 100 connections make the limit
    // so large that the excess is less than an eighth. Beyond that, a broker closes connections.
    const usedBytes = (() => {
      const unlimited = new BrokerHarness()
      for (let i = 0; i < 100; i++) unlimited.connect()
      lead(unlimited.openSession({ grace: 'lease' }), 1)
      return unlimited.broker.memory.usedBytes
    })()
    const harness = new BrokerHarness({ limits: { memoryBytes: usedBytes } })
    for (let i = 0; i < 100; i++) harness.connect()
    const client = harness.openSession({ grace: 'lease' })
    const fence = lead(client, 1)
    client.say({ type: 'proclaim', id: 2, fence, value: 1 })
    expect(failures(client)).to.deep.equal(['2 QUOTA_EXCEEDED'])
    client.say({ type: 'unlock', id: 3, fence })
    expect(client.socket.takeMessagesOfType('unlocked')).to.have.length(1)
  })

  it('show only the current value and later values to a watch that begins', () => {
    const harness = new BrokerHarness()
    const [leader, watcher] = [harness.openSession(), harness.openSession()]
    const fence = lead(leader, 1, { value: 1 })
    leader.say({ type: 'proclaim', id: 2, fence, value: 2 })
    watcher.say({ type: 'watch', id: 1 })
    const [watching] = watcher.socket.takeMessagesOfType('watching')
    expect(watching!.held.map(({ value }) => value)).to.deep.equal([2])
    leader.say({ type: 'proclaim', id: 3, fence, value: 3 })
    const events: WatchEvent[] = watcher.socket.takeMessagesOfType('event')
    expect(events.map(({ event }) => (event as LockEvent).value)).to.deep.equal([3])
  })

  it('are counted in the metrics, as are the proclaims that the broker accepts', async () => {
    const metrics = brokerMetrics()
    const harness = new BrokerHarness({ observer: metrics })
    const client = harness.openSession()
    const fence = lead(client, 1, { value: 1 })
    client.say({ type: 'proclaim', id: 2, fence, value: 2 })
    // The broker refuses a proclaim with a wrong fence.
    client.say({ type: 'proclaim', id: 3, fence: fence + 1, value: 3 })
    const text = await metrics.text()
    expect(text).to.contain('holdfast_grants_by_kind_total{kind="election"} 1')
    expect(text).to.contain('holdfast_proclaimed_total 1\n')
  })
})
