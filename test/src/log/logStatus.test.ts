/**
 * Tests the figures that a replicated log (a command log that several brokers share) gives to
 * operators. One figure is the age of the oldest entry that this broker has sent and that has not
 * returned from the log. Other figures count takeovers of the sessions of dead brokers,
 * resignations (a broker ends its own membership) and failed snapshots. The status also describes a
 * problem in words, for example that the log is slow. The dead time is the silence after which the
 * other brokers declare a broker dead, here 6 s.
 */

import type { BrokerGauges } from '@holdfast/server'
import { brokerMetrics } from '@holdfast/server/metrics'
import { expect } from 'chai'
import { Cluster } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

describe('replicated log: figures for operators', () => {
  it('include the age of the oldest entry that has not returned, also during an outage', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    await cluster.passTime(5_000)
    // Without delays, an entry returns within one step of the fake clock (50 ms).
    expect(a.log.status.lagMs).to.be.at.most(50)
    a.source.cut()
    await cluster.passTime(1_000)
    for (const seconds of [4, 20, 60]) {
      await cluster.passTime(seconds * 1_000)
      const earlierLagMs = a.log.status.lagMs!
      await cluster.passTime(1_000)
      // About 6 s after the cut, the broker resigns, but the age of the entry still rises.
      expect(a.log.status.lagMs! - earlierLagMs).to.equal(1_000)
    }
    // The cut was 88 s ago. The broker sent the oldest entry at most 1 s after the cut. The test
    // allows 3 s more.
    expect(a.log.status.lagMs).to.be.at.least(84_000)
    a.source.mend()
    await cluster.passTime(3_000)
    expect(a.log.status.lagMs).to.be.at.most(50)
  })

  it('include how long the newest returned entry took, while no entry is under way', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    a.source.faults.delayMs = 400
    await cluster.passTime(3_000)
    for (let i = 0; i < 20; i++) {
      await cluster.passTime(100)
      // An entry takes 400 ms to the log and 400 ms back. Between two heartbeats, no entry is under
      // way.
      expect(a.log.status.lagMs).to.be.within(800, 900)
    }
  })

  it('count a takeover at only one broker, and a resignation at the broker that resigned', async () => {
    const cluster = new Cluster()
    const [a, b, c] = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    c.source.cut()
    // Longer than the time until another broker declares broker `c` dead.
    await cluster.passTime(20_000)
    c.source.mend()
    await cluster.passTime(5_000)
    const counts = [a, b, c].map(({ log: { status } }) => [status.takeovers, status.resignations])
    expect(counts.map(([takeovers]) => takeovers).reduce((sum, n) => sum! + n!)).to.equal(1)
    expect(counts.map(([, resignations]) => resignations)).to.deep.equal([0, 0, 1])
  })

  it('count failed snapshots, and are exported as metrics', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog({ snapshotEntries: 10, name: 'first' })
    // Each snapshot opens a new engine (an access to the store). From now on, this opening fails.
    // The log keeps its own engine.
    const create = a.source.create.bind(a.source)
    a.source.create = () => Object.assign(create(), { open: () => Promise.reject(new Error('no')) })
    for (let i = 0; i < 25; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    // A snapshot is due after every ten entries.
    expect(a.log.status.failedSnapshots).to.equal(2)
    // The metrics need all figures of a broker, but only the figures of the log matter here.
    const gaugeNames = [
      'connections',
      'sessions',
      'held',
      'waiting',
      'keys',
      'memoryUsed',
      'memoryLimit',
    ]
    const counterNames = ['bytesReceived', 'bytesSent', 'barriers', 'barrierCalls', 'keptResults']
    const zeros = [...gaugeNames, ...counterNames].map((name) => [name, 0])
    const gauges = { ...Object.fromEntries(zeros), stats: { refreshCount: 0 }, log: a.log.status }
    const metrics = brokerMetrics()
    metrics.attach?.(() => gauges as BrokerGauges)
    const text = await metrics.text()
    metrics.close?.()
    expect(text).to.include(
      '\n# HELP holdfast_log_lag_seconds Age of the oldest own entry that has not returned, or how ' +
        'long the newest returned entry took, if that was longer.\n',
    )
    for (const line of [
      'log_snapshot_failures_total 2',
      'log_takeovers_total 0',
      'log_resignations_total 0',
      // The problem is the failed snapshot.
      'log_problem 1',
      'log_broker_info{name="first"} 1',
    ]) {
      expect(text).to.include(`\nholdfast_${line}\n`)
    }
  })

  it('name a slow log as the problem, while entries take longer than a sixth of the dead time', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    // Each entry takes 700 ms to the log and 700 ms back, together more than a sixth of 6 s.
    a.source.faults.delayMs = 700
    await cluster.passTime(10_000)
    expect(a.eventNames).to.deep.equal(['serve'])
    const problems = new Set<string | undefined>()
    for (let i = 0; i < 50; i++) {
      await cluster.passTime(100)
      problems.add(a.log.status.problem)
    }
    for (const problem of problems) {
      expect(problem).to.match(/^the shared log is slow: an entry of this broker takes 1\.\d s and/)
    }
    a.source.faults.delayMs = 0
    await cluster.passTime(5_000)
    expect(a.log.status.problem).to.equal(undefined)
  })
})
