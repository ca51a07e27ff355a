/**
 * Tests the work scheduler on a fake clock. A turn of the event loop has a budget of work units and
 * a budget of time. A turn ends when one of the two budgets is used up. On a slow machine, the
 * budget of time is used up first. The time of a turn begins with the first call of `allowanceNow`
 * in this turn. Paused work is work that is divided into slices, which run in later turns. Large
 * work is paused work, a long answer, or a message that may cost much. After a message or slice
 * that took long, the broker recovers for a few ms. Meanwhile large work waits.
 */
import { type PacedWork, turnBudget, unitsPerMs, WorkScheduler } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

describe('the work scheduler', () => {
  let environment: FakeEnvironment
  let scheduler: WorkScheduler

  beforeEach(() => {
    environment = new FakeEnvironment()
    const { clock, endOfTurn } = environment
    scheduler = new WorkScheduler({ clock, endOfTurn })
  })

  it('allows a connection less work the longer the turn takes, but at least a minimum', () => {
    const passedMs = [0, 1, 0.5, 0.25, 0.25, 48]
    const allowances = passedMs.map((ms) => {
      environment.advanceWithoutTimers(ms)
      return scheduler.allowanceNow()
    })
    // A turn has 2 ms, and 2,000 units for each ms that is left. A connection gets at most 1,000
    // units, and at least 96. The fourth call is at 1.75 ms: 0.25 ms are left, which is 500 units.
    expect(allowances).to.deep.equal([1_000, 1_000, 1_000, 500, 96, 96])
    expect(scheduler.unitsLeft).to.be.at.most(0)
  })

  it('gives the full budget again in the next turn', () => {
    scheduler.allowanceNow()
    environment.advanceWithoutTimers(50)
    scheduler.allowanceNow()
    scheduler.nextTurn()
    expect(scheduler.unitsLeft).to.equal(turnBudget.ms * unitsPerMs)
    // The time of the new turn has not begun yet, so these 10 ms do not count.
    environment.advanceWithoutTimers(10)
    expect(scheduler.allowanceNow()).to.equal(1_000)
  })

  it('leaves the rest of the paused work to a later turn when the time is used up', () => {
    const order: string[] = []
    const workFor = (name: string, ms: number): PacedWork => ({
      work: (units) => {
        order.push(name)
        // Unlike `advanceWithoutTimers`, `advance` also fires timers.
        environment.advance(ms)
        // The work reports that it used a tenth of its units, so only its time may end the turn.
        return units / 10
      },
    })
    for (const [name, ms] of [
      ['slow', 20],
      ['next', 0],
      ['last', 0],
    ] as const) {
      scheduler.add(workFor(name, ms))
    }
    environment.endOneTurn()
    expect(order).to.deep.equal(['slow'])
    environment.advance(turnBudget.recoveryMs)
    expect(order).to.deep.equal(['slow', 'next', 'last'])
  })

  /** Adds work that takes `ms` and then adds itself again. Returns the times at which it began. */
  function addRepeatedWork(ms: number): number[] {
    const beganAt: number[] = []
    const work: PacedWork = {
      work: () => {
        beganAt.push(environment.clock.monotonic())
        environment.advanceWithoutTimers(ms)
        scheduler.add(work)
        return 1
      },
    }
    scheduler.add(work)
    return beganAt
  }

  it('lets large work wait after a long slice, for the excess time but at most 4 ms', () => {
    for (const [ms, recovery] of [
      // Paused work gets half of the turn, which is 1 ms. An excess of at most 2 ms is tolerated.
      [1.5, 0],
      [6, 4],
      [50, 4],
    ] as const) {
      environment = new FakeEnvironment()
      const { clock, endOfTurn } = environment
      scheduler = new WorkScheduler({ clock, endOfTurn })
      const start = clock.monotonic()
      const beganAt = addRepeatedWork(ms)
      environment.endOneTurn()
      expect(scheduler.unitsForLargeWork === 0, `${ms} ms`).to.equal(recovery > 0)
      expect(scheduler.unitsLeft).to.equal(turnBudget.ms * unitsPerMs)
      environment.endOneTurn()
      if (recovery > 0) {
        expect(beganAt).to.have.length(1)
        // Small messages are served meanwhile.
        expect(scheduler.allowanceNow()).to.equal(turnBudget.connection)
        environment.clock.advance(recovery)
        environment.endOneTurn()
      }
      expect(beganAt.map((at) => at - start)).to.deep.equal([0, ms + recovery])
    }
  })

  it('lets large work wait after a message that took long', () => {
    // The message took exactly the longest time that is tolerated.
    scheduler.endLargeWork(turnBudget.ms + turnBudget.toleratedMs)
    expect(scheduler.unitsForLargeWork).to.be.above(0)
    scheduler.endLargeWork(turnBudget.ms + 3)
    expect(scheduler.unitsForLargeWork).to.equal(0)
    environment.advanceWithoutTimers(3)
    scheduler.allowanceNow()
    expect(scheduler.unitsForLargeWork).to.be.above(0)
  })

  it('does not extend a recovery because of long work during the recovery', () => {
    let largeTurns = 0
    for (let turn = 0; turn < 20; turn++) {
      scheduler.allowanceNow()
      if (scheduler.unitsForLargeWork > 0) largeTurns++
      environment.advanceWithoutTimers(turnBudget.recoveryMs)
      // Every turn has a message that took long.
      scheduler.endLargeWork(50)
      scheduler.nextTurn()
    }
    // Every second turn is a recovery. In the other turns large work runs.
    expect(largeTurns).to.equal(10)
  })

  it('restarts the time of a turn at the first `allowanceNow` after `resetTurnTime`', () => {
    scheduler.nextTurn()
    scheduler.allowanceNow()
    // The broker calls this after it has written a long answer.
    scheduler.resetTurnTime()
    environment.advanceWithoutTimers(100)
    expect(scheduler.allowanceNow()).to.equal(turnBudget.connection)
  })

  it('writes the output of the turn before paused work continues', () => {
    const order: string[] = []
    scheduler.setFlusher({ flush: () => order.push('flush') })
    scheduler.add({
      work: () => {
        order.push('work')
        return 1
      },
    })
    environment.endOneTurn()
    expect(order).to.deep.equal(['flush', 'work'])
  })

  it('gives paused work half of the units of the turn, although the flush begins a new turn', () => {
    scheduler.setFlusher({ flush: () => scheduler.nextTurn() })
    const given: number[] = []
    for (let i = 0; i < 10; i++) {
      scheduler.add({
        work: (units) => {
          given.push(units)
          return units
        },
      })
    }
    scheduler.spend(turnBudget.all - 1_400)
    environment.endOneTurn()
    // Half of 1,400 units, in slices of at most 250 units.
    expect(given).to.deep.equal([250, 250, 200])
  })

  it('clears the timer of a recovery in `stop`', () => {
    addRepeatedWork(50)
    environment.endOneTurn()
    expect(environment.timerCount).to.equal(1)
    scheduler.stop()
    expect(environment.timerCount).to.equal(0)
  })

  it('gives the next turns fewer units if paused work used more units than its turn had', () => {
    // Paused work gets half of the units that remain after other work. Here no other work runs.
    const unitsOfPausedWork = (turnBudget.ms * unitsPerMs) / 2
    const order: string[] = []
    for (const name of ['expensive', 'next']) {
      scheduler.add({
        work: () => {
          order.push(name)
          // This work uses up the units of its own turn and of the next two turns. In the fourth
          // turn 0.7 of the units remain, so the next work runs.
          return 3.3 * unitsOfPausedWork
        },
      })
    }
    for (const expected of [1, 1, 1, 2]) {
      environment.endOneTurn()
      expect(order).to.have.length(expected)
    }
  })
})
