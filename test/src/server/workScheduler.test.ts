/**
 * The scheduler of work, on a clock that the test moves: a turn ends when its units are used up, or
 * when they take longer than they should, as on a slow machine.
 */
import { type PacedWork, WorkScheduler } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

describe('the work scheduler', () => {
  let machine: FakeEnvironment
  let scheduler: WorkScheduler

  beforeEach(() => {
    machine = new FakeEnvironment()
    const { clock, endOfTurn } = machine
    scheduler = new WorkScheduler({ clock, endOfTurn })
  })

  it('gives a connection less as the time of the turn passes, and at last its least share', () => {
    const shares = [0, 1, 2, 2.75, 3, 50].map((ms) => scheduler.allowanceAt(1_000 + ms))
    expect(shares).to.deep.equal([1_000, 1_000, 1_000, 500, 64, 64])
    expect(scheduler.left).to.be.at.most(0)
  })

  it('begins the time of a turn anew with the next turn', () => {
    scheduler.allowanceAt(1_000)
    scheduler.allowanceAt(1_050)
    scheduler.nextTurn()
    expect(scheduler.left).to.equal(6_000)
    expect(scheduler.allowanceAt(1_060)).to.equal(1_000)
  })

  it('lets paused work go on in a later turn when the work before it took too long', () => {
    const order: string[] = []
    const workFor = (name: string, ms: number): PacedWork => ({
      work: (units) => {
        order.push(name)
        machine.pass(ms)
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
    machine.endOneTurn()
    expect(order).to.deep.equal(['slow'])
    machine.endOneTurn()
    expect(order).to.deep.equal(['slow', 'next', 'last'])
  })
})
