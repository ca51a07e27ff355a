/**
 * Tests the timekeeper, which reports each deadline that has passed. The deadlines of clients are,
 * for example, the ends of leases and ttls. A lease is the time that the broker keeps a session
 * without a message of its client. A ttl is the time after which a lock expires. The broker also
 * has timers of its own.
 *
 * While the process of the broker is stopped, clients cannot renew anything. So the timekeeper
 * shifts the deadlines of clients by the time of the stop, but not the broker's timers. The
 * timekeeper checks for stops at least every 250 ms: a timer that is late by more than 100 ms
 * shows a stop. A deadline is reported only after the broker has handled all input that has
 * already arrived.
 */
import { Timekeeper } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { FakeEnvironment } from './fakeEnvironment.js'
import { BrokerHarness } from './harness.js'

/** The object that a deadline or a timer belongs to. */
interface Owner {
  readonly name: string
}

/** A timekeeper whose deadlines and timers have names, and the events that it has reported. */
function setUp() {
  const environment = new FakeEnvironment()
  const events: string[] = []
  const timekeeper = new Timekeeper<Owner, Owner>({
    clock: environment.clock,
    endOfTurn: environment.endOfTurn,
  })
  timekeeper.listen({
    onClientDeadline: ({ name }) => events.push(`deadline ${name}`),
    onBrokerTimer: ({ name }) => events.push(`timer ${name}`),
  })
  const owners = new Map<string, Owner>()
  const ownerOf = (name: string): Owner => {
    const owner = owners.get(name) ?? { name }
    owners.set(name, owner)
    return owner
  }
  /** The timekeeper, with names instead of owners. */
  const keeper = {
    now: () => timekeeper.now(),
    hasPassed: (at: number) => timekeeper.hasPassed(at),
    clearDeadline: (name: string) => timekeeper.clearClientDeadline(ownerOf(name)),
    deadlineOf: (name: string) => timekeeper.clientDeadlineOf(ownerOf(name)),
    setTimer: (name: string, ms: number) => timekeeper.setTimer(ownerOf(name), ms),
    clearTimer: (name: string) => timekeeper.clearTimer(ownerOf(name)),
    run: () => timekeeper.run(),
    stop: () => timekeeper.stop(),
    get pausedMs() {
      return timekeeper.pausedMs
    },
  }
  /** Sets a client's deadline this many ms from now. */
  const deadlineIn = (name: string, ms: number): void =>
    timekeeper.setClientDeadline(ownerOf(name), keeper.now() + ms)
  return { environment, events, keeper, deadlineIn }
}

describe('timekeeper', () => {
  it('reports each deadline and timer on time, the earliest first', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 300)
    keeper.setTimer('ping', 100)
    deadlineIn('ttl', 200)
    environment.advance(99)
    expect(events).to.deep.equal([])
    environment.advance(1)
    expect(events).to.deep.equal(['timer ping'])
    environment.advance(100)
    expect(events).to.deep.equal(['timer ping', 'deadline ttl'])
    environment.advance(100)
    expect(events).to.deep.equal(['timer ping', 'deadline ttl', 'deadline lease'])
  })

  it('reports no cleared deadline or timer, and a changed deadline only at its new time', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('cleared', 100)
    deadlineIn('moved', 100)
    keeper.setTimer('cancelled', 100)
    keeper.clearDeadline('cleared')
    keeper.clearTimer('cancelled')
    deadlineIn('moved', 500)
    environment.advance(499)
    expect(events).to.deep.equal([])
    environment.advance(1)
    expect(events).to.deep.equal(['deadline moved'])
  })

  it('returns the deadline of a client', () => {
    const { keeper, deadlineIn } = setUp()
    deadlineIn('ttl', 1_000)
    expect(keeper.deadlineOf('ttl')).to.equal(keeper.now() + 1_000)
    expect(keeper.deadlineOf('unknown')).to.equal(undefined)
  })

  it('uses a single timer of the clock for any number of deadlines and broker timers', () => {
    const { environment, keeper, deadlineIn } = setUp()
    for (let i = 0; i < 1_000; i++) {
      deadlineIn(`lease ${i}`, 10_000 - i)
      keeper.setTimer(`ping ${i}`, 5_000 + i)
    }
    expect(environment.timerCount).to.equal(1)
    environment.advance(4_000)
    expect(environment.timerCount).to.equal(1)
  })

  it('sets no new timer of the clock for a deadline that is later than the next check for stops', () => {
    const { environment, deadlineIn } = setUp()
    deadlineIn('first', 1_000)
    const before = environment.setTimerCalls
    for (let i = 0; i < 1_000; i++) deadlineIn(`lease ${i}`, 15_000)
    expect(environment.setTimerCalls).to.equal(before)
  })

  it('uses no timer of the clock while no deadline is set, nor after its method `stop` was called', () => {
    const { environment, keeper, deadlineIn } = setUp()
    expect(environment.timerCount).to.equal(0)
    deadlineIn('ttl', 100)
    environment.advance(100)
    expect(environment.timerCount).to.equal(0)
    deadlineIn('lease', 100)
    keeper.stop()
    expect(environment.timerCount).to.equal(0)
    deadlineIn('too late', 100)
    expect(environment.timerCount).to.equal(0)
  })

  it('reports no deadline after its method `stop` was called, even in the same turn', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 100)
    environment.advanceWithoutTimers(100)
    environment.fireTimers()
    keeper.stop()
    environment.endTurn()
    expect(events).to.deep.equal([])
    expect(environment.timerCount).to.equal(0)
  })

  it('reports expired deadlines, and no others, when its method `run` is called', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('due', 100)
    deadlineIn('later', 200)
    environment.advanceWithoutTimers(100)
    keeper.run()
    expect(events).to.deep.equal(['deadline due'])
  })

  it('shifts no deadline if a timer of the clock is only a little late', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('ttl', 200)
    // The timer is 90 ms late. Only a lateness above 100 ms counts as a stop.
    environment.advanceWithoutTimers(290)
    environment.fireTimers()
    environment.endTurn()
    expect(keeper.pausedMs).to.equal(0)
    expect(events).to.deep.equal(['deadline ttl'])
  })

  it('does not depend on the wall clock', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 1_000)
    keeper.setTimer('ping', 500)
    environment.moveWallClock(3_600_000)
    environment.advance(499)
    environment.moveWallClock(-7_200_000)
    expect(events).to.deep.equal([])
    environment.advance(1)
    expect(events).to.deep.equal(['timer ping'])
    environment.advance(500)
    expect(events).to.deep.equal(['timer ping', 'deadline lease'])
  })
})

describe('timekeeper: after the process of the broker was stopped, the timekeeper', () => {
  it('shifts the deadlines of clients by the time of the stop', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 2_000)
    environment.advance(1_000)
    environment.advanceWithoutTimers(60_000)
    environment.fireTimers()
    environment.endTurn()
    expect(events).to.deep.equal([])
    // The timekeeper checks every 250 ms, so it may miss up to 250 ms of a stop.
    expect(keeper.pausedMs).to.be.within(60_000 - 250, 60_000)
    environment.advance(700)
    expect(events).to.deep.equal([])
    environment.advance(300)
    expect(events).to.deep.equal(['deadline lease'])
  })

  it('does not shift the broker’s own timers', () => {
    const { environment, events, keeper } = setUp()
    keeper.setTimer('timeout', 2_000)
    environment.advanceWithoutTimers(60_000)
    environment.fireTimers()
    environment.endTurn()
    expect(events).to.deep.equal(['timer timeout'])
  })

  it('reports a deadline only after the broker has handled the input that arrived during the stop', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 200)
    // The timer is 50 ms late: too little to shift the deadline.
    environment.advanceWithoutTimers(250)
    environment.fireTimers()
    expect(events).to.deep.equal([])
    // The input clears the deadline.
    keeper.clearDeadline('lease')
    environment.endTurn()
    expect(events).to.deep.equal([])
  })

  it('shifts deadlines also by a stop between the timer and the end of the turn', () => {
    const { environment, events, deadlineIn } = setUp()
    deadlineIn('lease', 300)
    // The check is due after 250 ms, so only the later 60,000 ms count as a stop.
    environment.advanceWithoutTimers(250)
    environment.fireTimers()
    environment.advanceWithoutTimers(60_000)
    environment.endTurn()
    expect(events).to.deep.equal([])
    environment.advance(49)
    expect(events).to.deep.equal([])
    environment.advance(1)
    expect(events).to.deep.equal(['deadline lease'])
  })

  it('shifts deadlines before `run` reports expired deadlines', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 2_000)
    environment.advance(1_000)
    environment.advanceWithoutTimers(60_000)
    keeper.run()
    expect(events).to.deep.equal([])
  })

  it('leaves the stop out of the times that `now` returns, even before the late timer fires', () => {
    const { environment, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 15_000)
    environment.advance(1_000)
    environment.advanceWithoutTimers(60_000)
    const seen = keeper.now()
    // The time is 1,000 ms at the start, plus 1,000 ms, plus at most 250 ms of the stop.
    expect(seen).to.be.below(3_000)
    environment.fireTimers()
    environment.endTurn()
    expect(keeper.now()).to.equal(seen)
  })

  it('returns times that never go back, even when the lateness of a timer begins to count as a stop', () => {
    const { environment, keeper, deadlineIn } = setUp()
    deadlineIn('ttl', 100)
    const start = keeper.now()
    environment.advanceWithoutTimers(199)
    expect(keeper.now()).to.equal(start + 199)
    // The timer of the ttl is now 101 ms late, which counts as a stop of 101 ms.
    environment.advanceWithoutTimers(2)
    expect(keeper.now()).to.equal(start + 199)
    expect(keeper.pausedMs).to.equal(101)
    // The clock has advanced by 201 ms, of which 100 ms do not belong to the stop. `hasPassed` uses
    // these 100 ms, although `now` still returns the 199 ms.
    expect([keeper.hasPassed(start + 100), keeper.hasPassed(start + 101)]).to.deep.equal([
      true,
      false,
    ])
    // Another 99 ms are too few for another stop. So 199 ms have now passed besides the stop.
    environment.advanceWithoutTimers(99)
    expect(keeper.now()).to.equal(start + 199)
    environment.fireTimers()
    environment.endTurn()
    environment.advance(1)
    expect(keeper.now()).to.equal(start + 200)
  })

  it('ends no lease early, although the broker has read a time after the end of the lease', () => {
    const { environment, other, hasEnded } = brokerWithSilentSession()
    // The message makes the broker read the clock, 65 ms after the end of the lease. The timer is
    // 95 ms late, which counts as a stop only later.
    environment.advanceWithoutTimers(95)
    other.say({ type: 'stats', id: 1 })
    environment.advanceWithoutTimers(60_000)
    environment.fireTimers()
    environment.endTurn()
    environment.advance(29)
    expect(hasEnded()).to.equal(false)
    environment.advance(1)
    expect(hasEnded()).to.equal(true)
  })

  /**
   * Starts a broker with two clients. The timeout of a request of `other` ends now, so the timer
   * of the broker is due. The lease of the silent client, 5,000 ms, ends in 30 ms: its last message
   * was 4,970 ms ago.
   */
  function brokerWithSilentSession() {
    const harness = new BrokerHarness()
    const { environment } = harness
    const other = harness.openSession({ lease: 300_000 })
    const silent = harness.openSession({ lease: 5_000 })
    environment.advance(30)
    silent.say({ type: 'stats', id: 1 })
    // The silent client does not answer the ping that the broker sends meanwhile.
    environment.advance(4_870)
    other.acquire('k')
    other.lock('k', { timeout: 100 })
    environment.endTurn()
    // The clock reaches the end of the timeout, but the timer does not fire yet.
    environment.advance(99)
    environment.advanceWithoutTimers(1)
    return {
      environment,
      other,
      hasEnded: () => !harness.broker.table.sessions.has(silent.session),
    }
  }

  it('shifts a deadline by each of two stops', () => {
    const { environment, events, keeper, deadlineIn } = setUp()
    deadlineIn('lease', 2_000)
    for (const stop of [10_000, 20_000]) {
      environment.advance(500)
      environment.advanceWithoutTimers(stop)
      environment.fireTimers()
      environment.endTurn()
    }
    expect(keeper.pausedMs).to.be.within(30_000 - 2 * 250, 30_000)
    environment.advance(400)
    expect(events).to.deep.equal([])
    environment.advance(600)
    expect(events).to.deep.equal(['deadline lease'])
  })
})

/** A step of a random test: lets time pass, runs a part of a turn, or sets a deadline or timer. */
type Step = readonly ['stop' | 'pass' | 'fireTimers' | 'endTurn' | 'deadline' | 'timer', ms: number]

/** The longest lateness of a timer that does not count as a stop, in ms. */
const toleratedMs = 100
/** The longest time between two checks for a stop, in ms. */
const checkMs = 250

describe('timekeeper: for any steps of the clock, the timekeeper', () => {
  // `stop` is listed three times, so that stops are frequent. Many durations are near the two
  // limits above.
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('stop', 'stop', 'stop', 'pass', 'fireTimers', 'endTurn', 'deadline', 'timer'),
    fc.oneof(
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 90, max: 110 }),
      fc.integer({ min: 240, max: 360 }),
      fc.integer({ min: 0, max: 5_000 }),
    ),
  )

  it('returns times that never go back, and leaves out each stop', () => {
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const environment = new FakeEnvironment()
      const { clock, endOfTurn } = environment
      const timekeeper = new Timekeeper<{ readonly at: number }, object>({ clock, endOfTurn })
      /** The time of the clock minus all stops so far. */
      const runningTime = () => clock.monotonic() - timekeeper.pausedMs
      timekeeper.listen({
        onClientDeadline: ({ at }) => {
          expect(runningTime(), 'no deadline is early').to.be.at.least(at)
          return 0
        },
        onBrokerTimer: () => 0,
      })
      const setDeadline = (ms: number): void => {
        const at = timekeeper.now() + ms
        timekeeper.setClientDeadline({ at }, at)
      }
      // With this deadline the timekeeper always has a timer, and so checks for stops.
      setDeadline(1e9)
      const actions: Record<Step[0], (ms: number) => void> = {
        stop: (ms) => environment.advanceWithoutTimers(ms),
        pass: (ms) => environment.advance(ms),
        fireTimers: () => environment.fireTimers(),
        endTurn: () => environment.endTurn(),
        deadline: setDeadline,
        timer: (ms) => timekeeper.setTimer({}, ms),
      }
      let [lastNow, lastClock, lastPaused] = [timekeeper.now(), clock.monotonic(), 0]
      for (const [action, ms] of steps) {
        actions[action](ms)
        const now = timekeeper.now()
        expect(now, 'never goes back').to.be.at.least(lastNow)
        expect(now - lastNow, 'not faster than the clock').to.be.at.most(
          clock.monotonic() - lastClock,
        )
        expect(now).to.be.within(runningTime(), runningTime() + toleratedMs)
        expect(timekeeper.hasPassed(runningTime())).to.equal(true)
        expect(timekeeper.hasPassed(runningTime() + 1)).to.equal(false)
        const addedPauseMs = timekeeper.pausedMs - lastPaused
        if (action === 'stop' && ms > checkMs + toleratedMs) {
          expect(addedPauseMs, 'leaves out the stop').to.be.within(ms - checkMs, ms + toleratedMs)
        }
        ;[lastNow, lastClock, lastPaused] = [now, clock.monotonic(), timekeeper.pausedMs]
      }
    })
    fc.assert(property, quickOrFullRuns(300, 10_000))
  })
})
