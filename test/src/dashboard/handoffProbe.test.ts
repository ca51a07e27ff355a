/**
 * Tests how the dashboard measures a hand-off, the time from an unlock until the waiter has its
 * grant. The tests answer in place of the broker.
 */
import { HoldfastError, type Lock, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { loadModule } from './modules.js'

type Answers = Pick<Session, 'lock' | 'stats'>
type Probe = InstanceType<Awaited<ReturnType<typeof loadModule<'handoffProbe'>>>['HandoffProbe']>

/** Resolves when all answers that are under way have arrived. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('the hand-off probe of the dashboard', () => {
  /** The callbacks of the running timers. */
  let timers: Set<() => void>
  /** The measured times, in ms. */
  let handoffs: number[]
  /** Makes a probe whose session answers with these functions. */
  let probeOf: (answers: Answers) => Promise<Probe>
  /** The state of the probe at each notification of the views, which draw the page. */
  let notifiedStates: { isOn: boolean; problem: string | undefined }[]

  beforeEach(() => {
    timers = new Set()
    handoffs = []
    notifiedStates = []
    const environment = {
      now: () => 0,
      wall: () => 0,
      after: (_ms: number, run: () => void) => {
        timers.add(run)
        return () => timers.delete(run)
      },
      beforeNextFrame: (run: () => void) => run(),
      isVisible: () => true,
    }
    probeOf = async (answers) => {
      const { HandoffProbe } = await loadModule('handoffProbe')
      const { ChangeNotifier } = await loadModule('changeNotifier')
      const changes = new ChangeNotifier(environment)
      const session = { id: 's', state: 'connected', ...answers } as unknown as Session
      const series = { addHandoff: (ms: number) => handoffs.push(ms) }
      const probe = new HandoffProbe({ session, series: series as never }, environment, changes)
      changes.subscribe(() => notifiedStates.push({ isOn: probe.isOn, problem: probe.problem }))
      return probe
    }
  })

  it('tells the views why it stops when the broker forbids the lock', async () => {
    const forbidden = () => Promise.reject(new HoldfastError('FORBIDDEN', 'no permission'))
    const probe = await probeOf({ lock: forbidden, stats: forbidden })
    probe.start()
    await settle()
    expect(notifiedStates.at(-1)).to.deep.equal({ isOn: false, problem: probe.problem })
    expect(probe.problem).to.match(/^Your token has no permission/)
    expect(timers.size).to.equal(0)
  })

  it('sets only one timer after the user has turned it off and on during a measurement', async () => {
    const lock = { unlock: () => Promise.resolve() } as Lock
    let grant: () => void = () => {}
    const granted = new Promise<void>((resolve) => {
      grant = resolve
    })
    const probe = await probeOf({
      lock: () => granted.then(() => lock),
      // The probe needs only the time of this answer, not its counters.
      stats: () => Promise.resolve({} as never),
    })
    probe.start()
    probe.stop()
    probe.start()
    grant()
    await settle()
    // The first measurement also ends, but sets no timer.
    expect(handoffs).to.have.length(2)
    expect(timers.size).to.equal(1)
  })
})
