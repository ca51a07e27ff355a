/**
 * Tests mutual exclusion: processes contend for one lock while the test pauses and kills some of
 * them. Two oracles (functions that find violations in a history) check the histories of the
 * processes. One oracle checks the fences (numbers of the grants), and the other checks
 * linearizability. A third oracle checks permits: the users of a key together may hold at most as
 * many permits as the capacity. The first tests check that the oracles find violations.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Collector, Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { bundleOrBuiltFile } from '../support/programs.js'
import {
  findFenceViolations,
  findPermitsViolations,
  isLinearizable,
  type Tenure,
} from './history.js'
import type { ContenderEvent } from './programs/contender.js'

/**
 * Returns a tenure (one use of the lock). The `times` are small numbers: when the process requested
 * the lock, received the grant, gave up the lock, and received the confirmation of the unlock.
 */
function tenure(
  processName: string,
  fence: number,
  ...times: readonly (number | undefined)[]
): Tenure {
  const [requestedAt, grantedAt, givenUpAt, unlockConfirmedAt] = times
  return {
    process: processName,
    fence,
    requestedAt: BigInt(requestedAt!),
    grantedAt: BigInt(grantedAt!),
    givenUpAt: BigInt(givenUpAt!),
    unlockConfirmedAt: unlockConfirmedAt === undefined ? undefined : BigInt(unlockConfirmedAt),
  }
}

describe('faults: the oracles of histories', () => {
  it('accept a history in which each holder gives up the lock before the next grant', () => {
    const history = [tenure('a', 1, 0, 2, 5, 8), tenure('b', 2, 1, 6, 9, 11)]
    expect(findFenceViolations(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('accept a grant that comes before the previous unlock is confirmed, because answers can be late', () => {
    const history = [tenure('a', 1, 0, 2, 5, 20), tenure('b', 2, 1, 6, 9, 11)]
    expect(findFenceViolations(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('accept a holder that was killed', () => {
    const history = [tenure('a', 1, 0, 2, 5, undefined), tenure('b', 2, 1, 6, 9, 11)]
    expect(findFenceViolations(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('find two holders at the same time', () => {
    const history = [tenure('a', 1, 0, 2, 8, 10), tenure('b', 2, 1, 6, 9, 11)]
    expect(findFenceViolations(history)).to.deep.equal(['a 1 and b 2: both held the lock'])
    expect(isLinearizable(history)).to.equal(false)
  })

  it('find a holder that learned of its loss only after the next grant', () => {
    const history = [tenure('a', 1, 0, 2, 7, undefined), tenure('b', 2, 1, 6, 9, 11)]
    expect(findFenceViolations(history)).to.have.length(1)
    expect(isLinearizable(history)).to.equal(false)
  })

  it('find a fence that repeats, and a later request with a lower fence', () => {
    const repeated = [tenure('a', 1, 0, 2, 5, 8), tenure('b', 1, 1, 6, 9, 11)]
    expect(findFenceViolations(repeated)).to.deep.equal(['a 1 and b 1: the same fence twice'])
    const falling = [tenure('a', 2, 0, 2, 3, 4), tenure('b', 1, 5, 6, 7, 8)]
    expect(findFenceViolations(falling)).to.include(
      'b 1 and a 2: the later request has the lower fence',
    )
  })

  it('accept permits within the capacity, and find more permits than the capacity', () => {
    const history = [
      { ...tenure('a', 1, 0, 2, 5, 8), permits: 2 },
      { ...tenure('b', 2, 1, 3, 9, 11), permits: 1 },
      { ...tenure('c', 3, 1, 5, 7, 8), permits: 2 },
    ]
    expect(findPermitsViolations(history, 3)).to.deep.equal([])
    expect(findPermitsViolations(history, 2)).to.deep.equal([
      'b 2: 3 permits were held, and the capacity is 2',
      'c 3: 3 permits were held, and the capacity is 2',
    ])
  })

  it('find a fence that repeats, also for permits', () => {
    const repeated = [tenure('a', 1, 0, 1, 2, 3), tenure('b', 1, 4, 5, 6, 7)]
    expect(findPermitsViolations(repeated, 1)).to.deep.equal(['b 1: the same fence twice'])
  })

  it('find whether a linear order exists, by the times alone', () => {
    // All fences are equal, so that only the times determine the order.
    const history = [1, 2, 3, 4, 5].map((i) => tenure('x', 0, i, 10 * i, 10 * i + 5, 10 * i + 9))
    expect(isLinearizable(history)).to.equal(true)
    const overlapping = [...history, tenure('y', 0, 0, 22, 24, 26)]
    expect(isLinearizable(overlapping)).to.equal(false)
  })
})

/** A time that is later than all events of a history. */
const laterThanHistory = 2n ** 62n

/** A process that contends for the lock, and the events that the process has reported. */
class Contender {
  readonly #process: ChildProcess
  readonly events = new Collector<ContenderEvent>()
  /** The times at which the test killed or paused the process. */
  readonly #halts: bigint[] = []

  constructor(url: string, rounds: number) {
    const path = bundleOrBuiltFile(
      fileURLToPath(new URL('./programs/contender.js', import.meta.url)),
    )
    this.#process = fork(path, [url, String(rounds)], { serialization: 'advanced' })
    this.#process.on('message', (event) => this.events.add(event as ContenderEvent))
  }

  /** Kills or pauses the process. */
  halt(signal: 'SIGKILL' | 'SIGSTOP'): void {
    // The clock is read before the signal is sent, because another process may get the lock
    // immediately after the signal.
    this.#halts.push(process.hrtime.bigint())
    this.#process.kill(signal)
  }

  /** Continues the process after its pause. */
  wake(): void {
    this.#process.kill('SIGCONT')
  }

  /**
   * Resolves when the process has made this many requests for the lock, and holds the lock or has
   * unlocked it.
   */
  async untilRequested(requestCount: number): Promise<void> {
    const isRequest = ({ kind }: ContenderEvent) => kind === 'requested'
    await this.events.waitUntil(
      (events) =>
        events.filter(isRequest).length >= requestCount && events.at(-1)?.kind !== 'requested',
    )
  }

  /** Resolves when the process has done all its work. */
  async untilFinished(): Promise<void> {
    await this.events.waitUntil((events) => events.at(-1)?.kind === 'finished')
  }

  /** The uses of the lock that the process has reported. */
  tenures(processName: string): Tenure[] {
    const tenures: Tenure[] = []
    let requestedAt = 0n
    for (const event of this.events.items) {
      if (event.kind === 'requested') requestedAt = event.at
      if (event.kind !== 'granted') continue
      const { fence, at: grantedAt } = event
      const timeOf = (kind: 'givenUp' | 'confirmed') =>
        this.events.items.find((item) => item.kind === kind && item.fence === fence) as
          | { readonly at: bigint }
          | undefined
      // A process that reported no `givenUp` held the lock until the end of the history.
      const givenUpAt = timeOf('givenUp')?.at ?? laterThanHistory
      // If the test halted the process during its use of the lock, the use ends at the halt, and
      // the unlock counts as unconfirmed.
      const haltedAt = this.#halts.find((halt) => halt > grantedAt && halt < givenUpAt)
      const confirmedAt = haltedAt === undefined ? timeOf('confirmed')?.at : undefined
      tenures.push({
        process: processName,
        requestedAt,
        grantedAt,
        fence,
        givenUpAt: haltedAt ?? givenUpAt,
        unlockConfirmedAt: confirmedAt,
      })
    }
    return tenures
  }
}

describe('faults: histories of contending processes', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()

  it('are valid by their fences and by a linear order, while holders are paused and killed', async () => {
    for (let run = 0; run < quickOrFull(1, 12); run++) {
      const { url } = await stage.startBroker()
      const rounds = 12
      const contenders = [1, 2, 3, 4].map(() => new Contender(url, rounds))
      for (const contender of contenders) stage.onCleanUp(() => contender.halt('SIGKILL'))
      // Process 0 dies early. Process 1 is paused while the others do most of their work.
      const [killed, paused, ...others] = contenders
      await killed!.untilRequested(3)
      killed!.halt('SIGKILL')
      await paused!.untilRequested(4)
      paused!.halt('SIGSTOP')
      await Promise.all(others.map((other) => other.untilRequested(9)))
      paused!.wake()
      await Promise.all([paused!, ...others].map((contender) => contender.untilFinished()))
      const history = contenders.flatMap((contender, i) => contender.tenures(`process ${i}`))
      // The two undisturbed processes alone have 24 rounds. On a slow machine, a process may lose a
      // lock before it receives the grant. Such a lock has no tenure.
      expect(history.length).to.be.within(20, contenders.length * rounds)
      expect(findFenceViolations(history)).to.deep.equal([])
      expect(isLinearizable(history)).to.equal(true)
      await stage.cleanUp()
    }
  })
})
