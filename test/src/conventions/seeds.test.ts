/**
 * A test with random input must report its seed when the test fails, so that a developer can repeat
 * the failure.
 */
import { expect } from 'chai'
import { runRandomTest } from '../support/counts.js'

describe('a seeded test that fails', () => {
  it('reports its seed in the error that it throws', () => {
    const test = (): never => {
      throw new Error('wrong')
    }
    expect(() => runRandomTest(test, 7)).to.throw(/^HOLDFAST_SEED=7\nwrong$/)
  })

  it('reports its seed in the error with which its promise rejects', async () => {
    const failure = runRandomTest(async () => Promise.reject(new Error('wrong')), 7)
    const error = await failure.then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(error?.message).to.equal('HOLDFAST_SEED=7\nwrong')
  })
})
