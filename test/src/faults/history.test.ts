/**
 * Histories of processes that contend for one lock while some of them are stopped and killed,
 * judged by fence and by linearizability; and the judges themselves, which have to find what is
 * wrong.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Collector, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { faultsByFence, isLinearizable, type Tenure } from './history.js'
import type { Entry } from './programs/contender.js'

/** A tenure on a clock of small numbers. */
function tenure(who: string, fence: number, ...times: readonly (number | undefined)[]): Tenure {
  const [asked, granted, left, confirmed] = times
  return {
    who,
    fence,
    asked: BigInt(asked!),
    granted: BigInt(granted!),
    left: BigInt(left!),
    confirmed: confirmed === undefined ? undefined : BigInt(confirmed),
  }
}

describe('faults: the judges of histories', () => {
  it('pass a history in which one follows the other', () => {
    const history = [tenure('a', 1, 0, 2, 5, 8), tenure('b', 2, 1, 6, 9, 11)]
    expect(faultsByFence(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('pass answers that are late: a grant before the former unlock was confirmed', () => {
    const history = [tenure('a', 1, 0, 2, 5, 20), tenure('b', 2, 1, 6, 9, 11)]
    expect(faultsByFence(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('pass a holder that was killed', () => {
    const history = [tenure('a', 1, 0, 2, 5, undefined), tenure('b', 2, 1, 6, 9, 11)]
    expect(faultsByFence(history)).to.deep.equal([])
    expect(isLinearizable(history)).to.equal(true)
  })

  it('find two holders at once', () => {
    const history = [tenure('a', 1, 0, 2, 8, 10), tenure('b', 2, 1, 6, 9, 11)]
    expect(faultsByFence(history)).to.deep.equal(['a 1 and b 2: both held it'])
    expect(isLinearizable(history)).to.equal(false)
  })

  it('find a loss that was known too late', () => {
    const history = [tenure('a', 1, 0, 2, 7, undefined), tenure('b', 2, 1, 6, 9, 11)]
    expect(faultsByFence(history)).to.have.length(1)
    expect(isLinearizable(history)).to.equal(false)
  })

  it('find fences that repeat or run against time', () => {
    const twice = [tenure('a', 1, 0, 2, 5, 8), tenure('b', 1, 1, 6, 9, 11)]
    expect(faultsByFence(twice)).to.deep.equal(['a 1 and b 1: the same fence twice'])
    const against = [tenure('a', 2, 0, 2, 3, 4), tenure('b', 1, 5, 6, 7, 8)]
    expect(faultsByFence(against)).to.include('b 1 and a 2: fences against time')
  })

  it('need no fences to find the order, where there is one', () => {
    // Fences that say nothing: only the times count.
    const history = [1, 2, 3, 4, 5].map((n) => tenure('x', 0, n, 10 * n, 10 * n + 5, 10 * n + 9))
    expect(isLinearizable(history)).to.equal(true)
    const overlapping = [...history, tenure('y', 0, 0, 22, 24, 26)]
    expect(isLinearizable(overlapping)).to.equal(false)
  })
})

/** One process and what it has written down. */
class Contender {
  readonly #process: ChildProcess
  readonly entries = new Collector<Entry>()
  /** When it was killed or stopped last; it does nothing after that. */
  readonly #halts: bigint[] = []

  constructor(url: string, rounds: number) {
    const path = fileURLToPath(new URL('./programs/contender.js', import.meta.url))
    this.#process = fork(path, [url, String(rounds)], { serialization: 'advanced' })
    this.#process.on('message', (entry) => this.entries.add(entry as Entry))
  }

  halt(signal: 'SIGKILL' | 'SIGSTOP'): void {
    // Before it, because others may be granted the lock before we look at the clock again.
    this.#halts.push(process.hrtime.bigint())
    this.#process.kill(signal)
  }

  wake(): void {
    this.#process.kill('SIGCONT')
  }

  /** Resolves when it has asked this many times, and holds the lock or has done with it. */
  async asked(times: number): Promise<void> {
    const isAsk = ({ kind }: Entry) => kind === 'asked'
    await this.entries.until(
      (entries) => entries.filter(isAsk).length >= times && entries.at(-1)?.kind !== 'asked',
    )
  }

  async finished(): Promise<void> {
    await this.entries.until((entries) => entries.at(-1)?.kind === 'finished')
  }

  tenures(who: string): Tenure[] {
    const tenures: Tenure[] = []
    let asked = 0n
    for (const entry of this.entries.items) {
      if (entry.kind === 'asked') asked = entry.at
      if (entry.kind !== 'granted') continue
      const { fence, at: granted } = entry
      const timeOf = (kind: 'left' | 'confirmed') =>
        this.entries.items.find((each) => each.kind === kind && each.fence === fence) as
          | { readonly at: bigint }
          | undefined
      const said = timeOf('left')?.at ?? 2n ** 62n
      // A process that was halted while it held the lock did nothing with it from then on.
      const halted = this.#halts.find((halt) => halt > granted && halt < said)
      const confirmed = halted === undefined ? timeOf('confirmed')?.at : undefined
      tenures.push({ who, asked, granted, fence, left: halted ?? said, confirmed })
    }
    return tenures
  }
}

describe('faults: histories of contending processes', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()

  it('hold while holders are stopped and killed: by fence, and by a linear order', async () => {
    for (let run = 0; run < count(1, 12); run++) {
      const { url } = await stage.broker()
      const contenders = [1, 2, 3, 4].map(() => new Contender(url, 12))
      for (const contender of contenders) stage.onClear(() => contender.halt('SIGKILL'))
      const [doomed, sleeper, ...others] = contenders
      await doomed!.asked(3)
      doomed!.halt('SIGKILL')
      await sleeper!.asked(4)
      sleeper!.halt('SIGSTOP')
      await Promise.all(others.map((other) => other.asked(9)))
      sleeper!.wake()
      await Promise.all([sleeper!, ...others].map((contender) => contender.finished()))
      const history = contenders.flatMap((contender, i) => contender.tenures(`process ${i}`))
      // On a slow machine some are granted and lost again before they are noticed.
      expect(history.length).to.be.within(20, 48)
      expect(faultsByFence(history)).to.deep.equal([])
      expect(isLinearizable(history)).to.equal(true)
      await stage.clear()
    }
  })
})
