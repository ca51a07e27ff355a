/**
 * Tests long work that runs in short turns of the event loop: after 10 ms, the work pauses until
 * the next turn.
 */
import { runInTurns } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

describe('long work in short turns', () => {
  it('pauses after 10 ms of work, and resolves with the result', async () => {
    const environment = new FakeEnvironment()
    const executedSteps: number[] = []
    function* work(): Generator<undefined, string, undefined> {
      for (let i = 0; i < 7; i++) {
        environment.clock.advance(4)
        executedSteps.push(i)
        yield
      }
      return 'done'
    }
    let result = ''
    void runInTurns(work(), environment).then((value) => {
      result = value
    })
    // `runInTurns` did the steps of the first turn before it returned.
    const stepCounts: number[] = [executedSteps.length]
    while (result === '') {
      environment.endTurn()
      // `runInTurns` awaits the end of the turn, and goes on in a later microtask.
      await new Promise((resolve) => setImmediate(resolve))
      stepCounts.push(executedSteps.length)
    }
    // Three steps of 4 ms exceed 10 ms, and two do not.
    expect(stepCounts).to.deep.equal([3, 6, 7])
    expect(result).to.equal('done')
  })

  it('rejects with the error of a step', async () => {
    // biome-ignore lint/correctness/useYield: the work fails in its first step.
    function* work(): Generator<undefined, void, undefined> {
      throw new Error('broken')
    }
    const error = await runInTurns(work(), new FakeEnvironment()).catch((reason) => reason)
    expect(error.message).to.equal('broken')
  })
})
