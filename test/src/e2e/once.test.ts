/**
 * Tests `session.once` over a real broker: one caller runs its function, and all callers get the
 * value. A follower is a caller that waits for the value. The broker keeps values over a restart. A
 * journal is the broker's log of commands on disk, from which the broker restarts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from './stage.js'

describe('e2e: once', () => {
  const stage = Stage.forEachTest()

  it('gives a large value to 300 followers, and runs anew for a later call', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const followerCount = 300
    // A value has at most 32 KiB.
    const value = 'v'.repeat(30_000)
    // A run has begun when its function is in this list. Calling the function ends the run.
    const finishFunctions: ((value: string) => void)[] = []
    const first = ann!.once(
      'k',
      () => new Promise<string>((resolve) => finishFunctions.push(resolve)),
    )
    while (finishFunctions.length === 0) await untilMessagesHandled(ann!)
    let runs = 0
    const countRun = () => ++runs
    const followers = Array.from({ length: followerCount }, () => ben!.once<unknown>('k', countRun))
    while (broker.query().waitingCount < followerCount) await untilMessagesHandled(ben!)
    finishFunctions[0]!(value)
    const later = first.then(() => ben!.once('k', countRun))
    const values = await Promise.all(followers)
    expect(values.every((received) => received === value)).to.equal(true)
    // No follower ran its function, so the later call is the first run that was counted.
    expect(await later).to.equal(1)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('keeps a value for the time `keep`, even if the broker restarts from its journal', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-once-'))
    stage.onCleanUp(() => rmSync(dir, { recursive: true, force: true }))
    const first = await stage.startBroker({ log: journalLog({ dir }) })
    const runner = await stage.openSession(first.url)
    await runner.once('short', () => 'short', { keep: 300 })
    await runner.once('long', () => 'long', { keep: 600_000 })
    await first.broker.close()
    const second = await stage.startBroker({ log: journalLog({ dir }) })
    const caller = await stage.openSession(second.url)
    expect(await caller.once('long', () => 'another')).to.equal('long')
    // The function runs as soon as the broker no longer keeps the short value.
    let value = await caller.once('short', () => 'another')
    while (value === 'short') value = await caller.once('short', () => 'another')
    expect(value).to.equal('another')
  })
})
