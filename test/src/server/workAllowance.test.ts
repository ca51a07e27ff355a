/**
 * Tests the work budget of one connection on a fake clock. A paused connection works in slices.
 * Each slice has units of work, and four times the time that this work usually takes. The slice
 * ends when one of the two is used up: on a slow machine, the time. So a client with slow messages
 * delays no other client.
 */
import { turnBudget, WorkAllowance, WorkScheduler } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

describe('the work allowance of a connection', () => {
  let scheduler: WorkScheduler
  let allowance: WorkAllowance

  beforeEach(() => {
    const { clock, endOfTurn } = new FakeEnvironment()
    scheduler = new WorkScheduler({ clock, endOfTurn })
    allowance = new WorkAllowance({ scheduler, workPerSecond: 1_000_000 })
  })

  it('ends a slice when the time of a slice has passed', () => {
    allowance.beginSlice(200, 1_000)
    allowance.endIfLate(1_000 + turnBudget.sliceMs - 0.01)
    expect(allowance.unitsLeft).to.equal(200)
    allowance.endIfLate(1_000 + turnBudget.sliceMs)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('keeps the debt of a slice that has exceeded its units', () => {
    allowance.beginSlice(200, 1_000)
    allowance.chargeTurn(300)
    allowance.endIfLate(1_050)
    expect(allowance.unitsLeft).to.equal(-100)
  })

  it('limits only the units of a connection while the turn has time', () => {
    allowance.beginTurn(1_000)
    expect(allowance.isTimed).to.equal(false)
    allowance.endIfLate(1_050)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection)
  })

  it('limits the guaranteed minimum of a connection in time too', () => {
    scheduler.allowanceAt(1_000)
    allowance.beginTurn(1_000 + turnBudget.ms)
    expect(allowance.unitsLeft).to.equal(turnBudget.minimum)
    expect(allowance.isTimed).to.equal(true)
    allowance.endIfLate(1_000 + turnBudget.ms + 1)
    expect(allowance.unitsLeft).to.equal(0)
  })

  it('begins the next turn without the time limit of the last turn', () => {
    scheduler.allowanceAt(1_000)
    allowance.beginTurn(1_050)
    scheduler.nextTurn()
    allowance.beginTurn(1_060)
    expect(allowance.isTimed).to.equal(false)
    expect(allowance.unitsLeft).to.equal(turnBudget.connection)
  })
})
