/**
 * Tests the work allowance of one connection on a fake clock. In each turn of the event loop, a
 * connection has a budget: a number of units of work, and a limit of time, which is longer than the
 * units usually take. The budget is used up when the units or the time are used up. The limit of
 * time protects the other clients from a client with slow messages. A connection that has used up
 * its budget continues in later turns, in slices that each have a budget.
 *
 * The connections share the time of the turn. If the turn has used up its time, each connection
 * still gets a small budget, the minimum.
 */
import {
  costs,
  turnBudget,
  unitsPerMs,
  WorkAllowance,
  WorkScheduler,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'
import { BrokerHarness } from './harness.js'

describe('the work allowance of a connection', () => {
  let environment: FakeEnvironment
  let scheduler: WorkScheduler
  let allowance: WorkAllowance
  /** The time that the allowance sees when it looks at the clock, in ms. */
  let now: number
  let lookCount: number

  beforeEach(() => {
    environment = new FakeEnvironment()
    const { clock, endOfTurn } = environment
    scheduler = new WorkScheduler({ clock, endOfTurn })
    now = 1_000
    lookCount = 0
    const look = (): number => {
      lookCount++
      return now
    }
    // Only the tests of the rate budget do as much work as this.
    allowance = new WorkAllowance({ scheduler, workPerSecond: 1_000_000, time: { now: look } })
  })

  /** Begins the time of the turn, as the first frame of a turn does. */
  function beginTurnTime(): void {
    scheduler.allowanceNow()
  }

  it('ends a slice when the time of a slice has passed', () => {
    // A slice of 200 units, which begins at 1,000 ms.
    allowance.beginSlice(200, 1_000)
    now = 1_000 + turnBudget.sliceMs - 0.01
    expect(allowance.isUsedUp()).to.equal(false)
    expect(allowance.unitsLeft).to.equal(200)
    now = 1_000 + turnBudget.sliceMs
    expect(allowance.isUsedUp()).to.equal(true)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('keeps the debt of a slice that has exceeded its units, also when its time has passed', () => {
    allowance.beginSlice(200, 1_000)
    allowance.chargeTurn(300)
    now = 1_050
    expect(allowance.isUsedUp()).to.equal(true)
    expect(allowance.unitsLeft).to.equal(-100)
  })

  it('limits the time of a connection although the turn has time left', () => {
    allowance.beginTurn(1_000)
    // After the minimum, the allowance looks at the clock.
    allowance.chargeTurn(turnBudget.minimum)
    now = 1_000 + turnBudget.connectionMs
    expect(allowance.isUsedUp()).to.equal(true)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('lets a connection use its units until its time has passed', () => {
    allowance.beginTurn(1_000)
    allowance.chargeTurn(turnBudget.minimum)
    now = 1_000 + turnBudget.connectionMs - 0.01
    expect(allowance.isUsedUp()).to.equal(false)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection - turnBudget.minimum)
  })

  // The rate budget limits the work of a connection in one second. A full rate budget takes no
  // memory, so a frame that costs as little as a `pong` is free while the rate budget is full.
  it('charges a small frame only if the rate budget is not full', () => {
    allowance.chargeRate(500_000, 1_000)
    // The budget is full at 1,500 ms.
    allowance.chargeFrame(costs.message, 1_499)
    // Before the frame, the budget had 999,000 units at 1,499 ms. So it allows this work only if
    // the frame was not charged.
    allowance.chargeRate(999_000, 1_499)
    expect(allowance.waitMs(1_499)).to.be.greaterThan(0)
    allowance.chargeFrame(costs.message, 3_000)
    allowance.chargeRate(1_000_000, 3_000)
    expect(allowance.waitMs(3_000)).to.equal(0)
  })

  it('charges a larger frame also if the rate budget is full', () => {
    allowance.chargeFrame(1_000_001, 1_000)
    expect(allowance.waitMs(1_000)).to.be.greaterThan(0)
  })

  it('looks at the clock only now and then while the turn has time', () => {
    allowance.beginTurn(1_000)
    const unitsAtLooks: number[] = []
    for (let used = 0; used < 200; used++) {
      lookCount = 0
      expect(allowance.isUsedUp()).to.equal(false)
      if (lookCount > 0) unitsAtLooks.push(used)
      allowance.chargeTurn(1)
    }
    // The first look is after `turnBudget.minimum`, 96 units. Each further look comes
    // `turnBudget.lookAtClock`, 32 units, later. So a frame of at most 96 units needs no look.
    expect(unitsAtLooks).to.deep.equal([96, 128, 160, 192])
  })

  it('gives the minimum after the time of the turn, and limits the time for the minimum', () => {
    beginTurnTime()
    environment.advanceWithoutTimers(turnBudget.ms)
    allowance.beginTurn(1_000 + turnBudget.ms)
    expect(allowance.unitsLeft).to.equal(turnBudget.minimum)
    now = 1_000 + turnBudget.ms + 1
    expect(allowance.isUsedUp()).to.equal(true)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('gives the whole budget in the turn after a turn that used up its time', () => {
    beginTurnTime()
    environment.advanceWithoutTimers(50)
    allowance.beginTurn(1_050)
    scheduler.nextTurn()
    allowance.beginTurn(1_060)
    expect(allowance.isUsedUp()).to.equal(false)
    expect(lookCount).to.equal(0)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection)
  })

  it('measures the time of a turn by the clock, although `beginTurn` gets a compensated time', () => {
    // Compensated time is the clock minus the time for which the process was stopped, here 5 s.
    beginTurnTime()
    allowance.beginTurn(environment.clock.monotonic() - 5_000)
    // By the clock, the turn has its whole time left.
    expect(scheduler.unitsLeft).to.equal(turnBudget.ms * unitsPerMs)
  })
})

describe('a connection whose messages take longer than usual', () => {
  it('handles only a part of a long frame in a turn', () => {
    const harness = new BrokerHarness({
      authorize: () => {
        harness.environment.advanceWithoutTimers(0.1)
        return true
      },
    })
    const client = harness.openSession({ lease: 60_000 })
    const requests = Array.from({ length: 150 }, (_, i) => ({
      type: 'lock',
      id: i + 1,
      key: `k${i}`,
    }))
    client.socket.say(...requests)
    harness.environment.endOneTurn()
    // The time of the connection, 1 ms, has passed after 10 messages. The broker notices this only
    // when it looks at the clock, first after 96 units of work.
    expect(client.takeMessages().length).to.be.within(10, 40)
    harness.environment.endTurn()
    expect(client.takeMessages().at(-1)).to.include({ type: 'granted', id: 150 })
  })
})
