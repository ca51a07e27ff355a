/**
 * Tests that a broker handles the entries of a shared log in short turns of the event loop, in
 * order, and completely. An entry has the commands of one turn of one broker. A broker that handles
 * an entry in several turns does other work between two turns.
 */
import { EntryQueue } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { Cluster } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

/** A queue that has handled no entries, whose turns have 10 ms for entries. */
class Stage {
  readonly environment = new FakeEnvironment()
  readonly queue = new EntryQueue(this.environment)
  /** The steps that the queue has run. The name of a step is the name of its entry and a number. */
  readonly steps: string[] = []

  /** Adds an entry with some steps, each of which takes `ms`. */
  add(name: string, stepCount: number, ms: number, characters = 1): void {
    this.queue.add(characters, () => this.#stepsOf(name, stepCount, ms))
  }

  /** Returns the steps that the queue has run since the last call, and forgets them. */
  takeSteps(): string {
    return this.steps.splice(0).join(' ')
  }

  *#stepsOf(name: string, stepCount: number, ms: number): Generator<undefined, void, undefined> {
    for (let step = 1; step <= stepCount; step++) {
      this.steps.push(`${name}${step}`)
      this.environment.advanceWithoutTimers(ms)
      if (step < stepCount) yield
    }
  }
}

describe('replicated log: the queue of received entries', () => {
  it('handles an entry at once if the turn has time left', () => {
    const stage = new Stage()
    stage.add('a', 2, 1)
    expect(stage.takeSteps()).to.equal('a1 a2')
    expect(stage.queue.isMidEntry).to.equal(false)
  })

  it('pauses within an entry after 10 ms, and then handles the rest before the next entry', () => {
    const stage = new Stage()
    stage.add('a', 5, 5)
    stage.add('b', 1, 5)
    expect(stage.takeSteps()).to.equal('a1 a2')
    expect(stage.queue.isMidEntry).to.equal(true)
    stage.environment.endOneTurn()
    expect(stage.takeSteps()).to.equal('a3 a4')
    stage.environment.endOneTurn()
    expect(stage.takeSteps()).to.equal('a5 b1')
    expect(stage.queue.isMidEntry).to.equal(false)
  })

  it('has 10 ms for all entries of a turn together', () => {
    const stage = new Stage()
    for (const name of ['a', 'b', 'c']) stage.add(name, 1, 6)
    expect(stage.takeSteps()).to.equal('a1 b1')
    stage.environment.endOneTurn()
    expect(stage.takeSteps()).to.equal('c1')
    stage.environment.endOneTurn()
    // The time of the former turns does not count for this turn.
    stage.add('d', 2, 6)
    expect(stage.takeSteps()).to.equal('d1 d2')
  })

  it('takes the length of a turn anew with each entry', () => {
    const stage = new Stage()
    stage.add('a', 1, 0)
    stage.environment.turnMs = 0
    stage.add('b', 2, 0)
    expect(stage.takeSteps()).to.equal('a1 b1')
    stage.environment.endOneTurn()
    expect(stage.takeSteps()).to.equal('b2')
  })

  it('pauses no more while more than 16 Mi characters wait', () => {
    const stage = new Stage()
    stage.add('a', 2, 10)
    stage.add('b', 2, 10, 16 * 1024 * 1024)
    // Of these entries, the queue pauses in the last.
    expect(stage.takeSteps()).to.equal('a1 a2')
    stage.environment.endOneTurn()
    expect(stage.takeSteps()).to.equal('b1')
  })

  it('drops the rest of the present entry and all later entries if it is cleared', () => {
    const stage = new Stage()
    stage.add('a', 2, 10)
    stage.add('b', 1, 0)
    stage.queue.clear()
    expect(stage.queue.isMidEntry).to.equal(false)
    stage.environment.endOneTurn()
    stage.add('c', 1, 0)
    expect(stage.takeSteps()).to.equal('a1 c1')
  })

  it('may be cleared by a step, and then handles only entries that are added later', () => {
    const stage = new Stage()
    stage.queue.add(1, () => {
      stage.add('a', 1, 0)
      stage.queue.clear()
      stage.add('b', 1, 0)
      return undefined
    })
    expect(stage.takeSteps()).to.equal('b1')
  })
})

describe('a broker that pauses within the entries of a shared log', () => {
  it('begins a snapshot of its table only between two entries', async () => {
    const cluster = new Cluster()
    cluster.environment.turnMs = 0
    const broker = await cluster.startLog()
    const commandsPerEntry = 5
    let appliedAtSnapshot: number | undefined
    const beginSnapshot = broker.beginSnapshot.bind(broker)
    broker.beginSnapshot = () => {
      appliedAtSnapshot = broker.applied.filter(({ type }) => type === 'raiseFenceFloor').length
      return beginSnapshot()
    }
    // Removes all entries, so that the broker saves its own table at its next check of the log. It
    // checks every 60 s.
    cluster.store.compact(cluster.store.position)
    await cluster.passTime(59_000)
    cluster.environment.advance(2_000)
    // Each of these turns applies at most one command, so the broker is usually within an entry.
    for (let fence = 1; appliedAtSnapshot === undefined && fence < 1_000; ) {
      for (let i = 0; i < commandsPerEntry; i++) broker.log.submit(fenceFloorCommand(fence++))
      cluster.environment.endOneTurn()
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(appliedAtSnapshot! % commandsPerEntry, `${appliedAtSnapshot} commands`).to.equal(0)
  })
})
