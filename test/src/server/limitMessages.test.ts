/**
 * Tests the error message for a client that has reached a limit. A hostile client can cause this
 * message at any time, so the broker must make the message with little work.
 */
import { limitMessage } from '@holdfast/server/internal'
import { expect } from 'chai'

/** Runs a function while any use of locale data throws. */
function withoutLocales<T>(run: () => T): T {
  const fail = (): never => {
    throw new Error('The message uses locale data')
  }
  const originalMethod = Number.prototype.toLocaleString
  const { NumberFormat } = Intl
  Number.prototype.toLocaleString = fail
  Intl.NumberFormat = fail as unknown as typeof NumberFormat
  try {
    return run()
  } finally {
    Number.prototype.toLocaleString = originalMethod
    Intl.NumberFormat = NumberFormat
  }
}

describe('the error message of a limit', () => {
  it('contains the value of the limit, with commas between thousands', () => {
    const valuesInMessages = [7, 256, 1_000, 65_536, 268_435_456].map(
      (value) => /more than (\S+) bytes/.exec(limitMessage('keyBytes', value))?.[1],
    )
    expect(valuesInMessages).to.deep.equal(['7', '256', '1,000', '65,536', '268,435,456'])
  })

  it('does not load locale data, because loading this data would stop the broker for over 10 ms', () => {
    const message = withoutLocales(() => limitMessage('waitersPerKey', 1_000))
    expect(message).to.equal(
      '1,000 requests wait for this key, the maximum; try again later (waitersPerKey)',
    )
  })
})
