/**
 * The broker's sense of time: what clients owe it waits while the broker itself was late, what it
 * owes them does not, and nobody is judged before what had already arrived was handled.
 */
import { Timekeeper } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

interface Named {
  readonly name: string
}

/** A timekeeper that writes down what happens; whom and what it is about is told by name. */
function bench() {
  const machine = new FakeEnvironment()
  const events: string[] = []
  const keeper = new Timekeeper<Named, Named>({
    clock: machine.clock,
    endOfTurn: machine.endOfTurn,
  })
  keeper.listen({
    onClientDeadline: ({ name }) => events.push(`overdue ${name}`),
    onBrokerTimer: ({ name }) => events.push(`due ${name}`),
  })
  const known = new Map<string, Named>()
  const of = (name: string): Named => {
    const named = known.get(name) ?? { name }
    known.set(name, named)
    return named
  }
  const time = {
    now: () => keeper.now(),
    expect: (name: string, at: number) => keeper.setClientDeadline(of(name), at),
    forgive: (name: string) => keeper.clearClientDeadline(of(name)),
    expectedAt: (name: string) => keeper.clientDeadlineOf(of(name)),
    promise: (name: string, ms: number) => keeper.setTimer(of(name), ms),
    cancel: (name: string) => keeper.clearTimer(of(name)),
    run: () => keeper.run(),
    stop: () => keeper.stop(),
    get forgivenMs() {
      return keeper.pausedMs
    },
  }
  /** A client's deadline in this many ms from now. */
  const expectIn = (debtor: string, ms: number): void => time.expect(debtor, time.now() + ms)
  return { machine, events, time, expectIn }
}

describe('timekeeper', () => {
  it('tells each deadline when it is due and not before, the earliest first', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 300)
    time.promise('ping', 100)
    expectIn('ttl', 200)
    machine.pass(99)
    expect(events).to.deep.equal([])
    machine.pass(1)
    expect(events).to.deep.equal(['due ping'])
    machine.pass(100)
    expect(events).to.deep.equal(['due ping', 'overdue ttl'])
    machine.pass(100)
    expect(events).to.deep.equal(['due ping', 'overdue ttl', 'overdue lease'])
  })

  it('tells nothing that was forgiven or cancelled, and moves what is set again', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('forgiven', 100)
    expectIn('moved', 100)
    time.promise('cancelled', 100)
    time.forgive('forgiven')
    time.cancel('cancelled')
    expectIn('moved', 500)
    machine.pass(499)
    expect(events).to.deep.equal([])
    machine.pass(1)
    expect(events).to.deep.equal(['overdue moved'])
  })

  it('knows until when each client has', () => {
    const { time, expectIn } = bench()
    expectIn('ttl', 1_000)
    expect(time.expectedAt('ttl')).to.equal(time.now() + 1_000)
    expect(time.expectedAt('nobody')).to.equal(undefined)
  })

  it('has one timer, however many deadlines there are', () => {
    const { machine, time, expectIn } = bench()
    for (let i = 0; i < 1_000; i++) {
      expectIn(`lease ${i}`, 10_000 - i)
      time.promise(`ping ${i}`, 5_000 + i)
    }
    expect(machine.timers).to.equal(1)
    machine.pass(4_000)
    expect(machine.timers).to.equal(1)
  })

  it('sets no timer when the new deadline is later than the next look', () => {
    const { machine, expectIn } = bench()
    expectIn('first', 1_000)
    const before = machine.timersSet
    for (let i = 0; i < 1_000; i++) expectIn(`lease ${i}`, 15_000)
    expect(machine.timersSet).to.equal(before)
  })

  it('has no timer while nothing is due, and none after it was stopped', () => {
    const { machine, time, expectIn } = bench()
    expect(machine.timers).to.equal(0)
    expectIn('ttl', 100)
    machine.pass(100)
    expect(machine.timers).to.equal(0)
    expectIn('lease', 100)
    time.stop()
    expect(machine.timers).to.equal(0)
    expectIn('too late', 100)
    expect(machine.timers).to.equal(0)
  })

  it('judges nobody once it was stopped, not even in the turn of the stop', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 100)
    machine.stopFor(100)
    machine.fireTimers()
    time.stop()
    machine.endTurn()
    expect(events).to.deep.equal([])
    expect(machine.timers).to.equal(0)
  })

  it('does at once what is due when it is asked to, and no more', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('due', 100)
    expectIn('later', 200)
    machine.stopFor(100)
    time.run()
    expect(events).to.deep.equal(['overdue due'])
  })
})

describe('timekeeper: when the broker itself was late', () => {
  it('credits its lateness to what clients owe', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 2_000)
    machine.pass(1_000)
    machine.stopFor(60_000)
    machine.fireTimers()
    machine.endTurn()
    expect(events).to.deep.equal([])
    // It looks every 250 ms, so up to that much of a stop is not seen as one.
    expect(time.forgivenMs).to.be.within(60_000 - 250, 60_000)
    machine.pass(700)
    expect(events).to.deep.equal([])
    machine.pass(300)
    expect(events).to.deep.equal(['overdue lease'])
  })

  it('does not credit it to what it owes itself', () => {
    const { machine, events, time } = bench()
    time.promise('timeout', 2_000)
    machine.stopFor(60_000)
    machine.fireTimers()
    machine.endTurn()
    expect(events).to.deep.equal(['due timeout'])
  })

  it('takes ordinary lateness for what it is', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('ttl', 200)
    machine.stopFor(290)
    machine.fireTimers()
    machine.endTurn()
    expect(time.forgivenMs).to.equal(0)
    expect(events).to.deep.equal(['overdue ttl'])
  })

  it('judges after the input that was waiting, not before it', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 200)
    machine.stopFor(250)
    machine.fireTimers()
    expect(events).to.deep.equal([])
    time.forgive('lease')
    machine.endTurn()
    expect(events).to.deep.equal([])
  })

  it('credits a stop between its timer and the end of the turn as well', () => {
    const { machine, events, expectIn } = bench()
    expectIn('lease', 300)
    machine.stopFor(250)
    machine.fireTimers()
    machine.stopFor(60_000)
    machine.endTurn()
    expect(events).to.deep.equal([])
    machine.pass(49)
    expect(events).to.deep.equal([])
    machine.pass(1)
    expect(events).to.deep.equal(['overdue lease'])
  })

  it('credits a stop before it is asked to do at once what is due', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 2_000)
    machine.pass(1_000)
    machine.stopFor(60_000)
    time.run()
    expect(events).to.deep.equal([])
  })

  it('never goes back, whoever asks first after a stop', () => {
    const { machine, time, expectIn } = bench()
    expectIn('lease', 15_000)
    machine.pass(1_000)
    machine.stopFor(60_000)
    const seen = time.now()
    expect(seen).to.be.below(3_000)
    machine.fireTimers()
    machine.endTurn()
    expect(time.now()).to.equal(seen)
  })

  it('credits each of two stops once', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 2_000)
    for (const stop of [10_000, 20_000]) {
      machine.pass(500)
      machine.stopFor(stop)
      machine.fireTimers()
      machine.endTurn()
    }
    expect(time.forgivenMs).to.be.within(30_000 - 500, 30_000)
    machine.pass(400)
    expect(events).to.deep.equal([])
    machine.pass(600)
    expect(events).to.deep.equal(['overdue lease'])
  })

  it('asks no calendar', () => {
    const { machine, events, time, expectIn } = bench()
    expectIn('lease', 1_000)
    time.promise('ping', 500)
    machine.setCalendar(3_600_000)
    machine.pass(499)
    machine.setCalendar(-7_200_000)
    expect(events).to.deep.equal([])
    machine.pass(1)
    expect(events).to.deep.equal(['due ping'])
    machine.pass(500)
    expect(events).to.deep.equal(['due ping', 'overdue lease'])
  })
})
