/** A test that draws from a seed has to name it when it fails, or nobody can run it again. */
import { expect } from 'chai'
import { seeded } from '../support/counts.js'

describe('a seeded test that fails', () => {
  it('at once, names its seed', () => {
    const test = (): never => {
      throw new Error('wrong')
    }
    expect(() => seeded(test, 7)).to.throw(/^HOLDFAST_SEED=7\nwrong$/)
  })

  it('later, names its seed', async () => {
    const failure = seeded(async () => Promise.reject(new Error('wrong')), 7)
    const error = await failure.then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(error?.message).to.equal('HOLDFAST_SEED=7\nwrong')
  })
})
