/**
 * Tests the work allowance of one connection on a fake clock. In each turn of the event loop, a
 * connection has a budget of units (of work) and of time. The time is a multiple of the time that
 * the units usually take. The budget is used up when the units or the time are used up. The limit
 * of time protects the other clients from a client with slow messages. A connection that has used
 * up its budget is paused: it works in slices in later turns. Each slice has a budget.
 */
import { turnBudget, unitsPerMs, WorkAllowance, WorkScheduler } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'
import { BrokerHarness } from './harness.js'

describe('the work allowance of a connection', () => {
  let environment: FakeEnvironment
  let scheduler: WorkScheduler
  let allowance: WorkAllowance

  beforeEach(() => {
    environment = new FakeEnvironment()
    const { clock, endOfTurn } = environment
    scheduler = new WorkScheduler({ clock, endOfTurn })
    // Only the test of the rate budget reaches this rate.
    allowance = new WorkAllowance({ scheduler, workPerSecond: 1_000_000 })
  })

  it('ends a slice when the time of a slice has passed', () => {
    // A slice of 200 units, which begins at 1,000 ms.
    allowance.beginSlice(200, 1_000)
    allowance.endIfLate(1_000 + turnBudget.sliceMs - 0.01)
    expect(allowance.unitsLeft).to.equal(200)
    allowance.endIfLate(1_000 + turnBudget.sliceMs)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('keeps the debt of a slice that has exceeded its units, also when its time has passed', () => {
    allowance.beginSlice(200, 1_000)
    allowance.chargeTurn(300)
    allowance.endIfLate(1_050)
    expect(allowance.unitsLeft).to.equal(-100)
  })

  it('limits the time of a connection although the turn has time left', () => {
    allowance.beginTurn(1_000)
    allowance.endIfLate(1_000 + turnBudget.connectionMs - 0.01)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection)
    allowance.endIfLate(1_000 + turnBudget.connectionMs)
    expect(allowance.unitsLeft).to.equal(0)
  })

  // The rate budget limits the work of a connection in one second.
  it('drops its rate budget only after the budget has refilled', () => {
    allowance.chargeRate(500_000, 1_000)
    expect(allowance.dropFullRateBudget(1_499)).to.equal(false)
    // If the call had dropped the budget, a full budget would now allow this work without a wait.
    allowance.chargeRate(999_999, 1_499)
    expect(allowance.waitMs(1_499)).to.be.greaterThan(0)
    expect(allowance.dropFullRateBudget(3_000)).to.equal(true)
    expect(allowance.waitMs(3_000)).to.equal(0)
  })

  it('looks at the clock only now and then while the turn has time', () => {
    allowance.beginTurn(1_000)
    const unitsAtLooks: number[] = []
    for (let used = 0; used < 200; used++) {
      if (allowance.mustLookAtClock) {
        unitsAtLooks.push(used)
        allowance.endIfLate(1_000)
      }
      allowance.chargeTurn(1)
    }
    // The connection looks first after `turnBudget.minimum`, and then after each
    // `turnBudget.lookAtClock`. So a frame of 16 `lock` or `unlock` messages, which costs at most
    // 80 units, needs no look.
    expect(unitsAtLooks).to.deep.equal([96, 128, 160, 192])
  })

  it('limits the time of the guaranteed minimum of a connection', () => {
    // The first call begins the time of the turn.
    scheduler.allowanceNow()
    environment.stopFor(turnBudget.ms)
    allowance.beginTurn(1_000 + turnBudget.ms)
    expect(allowance.unitsLeft).to.equal(turnBudget.minimum)
    expect(allowance.mustLookAtClock).to.equal(true)
    allowance.endIfLate(1_000 + turnBudget.ms + 1)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('begins the next turn without the time limit of the last turn', () => {
    scheduler.allowanceNow()
    environment.stopFor(50)
    allowance.beginTurn(1_050)
    scheduler.nextTurn()
    allowance.beginTurn(1_060)
    expect(allowance.mustLookAtClock).to.equal(false)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection)
  })

  it('measures the time of a turn by the clock, also if compensated time is behind the clock', () => {
    // Compensated time leaves out the pauses of the broker. Here the pauses lasted for 5 s.
    scheduler.allowanceNow()
    allowance.beginTurn(environment.clock.monotonic() - 5_000)
    expect(scheduler.unitsLeft).to.equal(turnBudget.ms * unitsPerMs)
  })
})

describe('a connection whose messages take longer than usual', () => {
  it('handles fewer messages in a turn', () => {
    const harness = new BrokerHarness({
      authorize: () => {
        harness.environment.stopFor(0.1)
        return true
      },
    })
    const client = harness.join({ lease: 60_000 })
    const requests = Array.from({ length: 150 }, (_, i) => ({
      type: 'lock',
      id: i + 1,
      key: `k${i}`,
    }))
    client.socket.say(...requests)
    harness.environment.endOneTurn()
    // The time of the connection, 1 ms, has passed after 10 messages. The broker notices this only
    // when it looks at the clock, first after 96 units of work.
    expect(client.heard().length).to.be.within(10, 40)
    harness.environment.endTurn()
    expect(client.heard().at(-1)).to.include({ type: 'granted', id: 150 })
  })
})
