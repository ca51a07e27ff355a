/**
 * Tests that the broker's own logger bounds the lines that clients cause: 100 lines of refusals and
 * 100 lines of revocations in a second. The logger only counts further lines.
 */
import { BrokerLogger } from '@holdfast/server/internal'
import { expect } from 'chai'
import { BrokerHarness } from '../server/harness.js'
import { FakeClock } from '../support/fakeClock.js'

interface Line {
  readonly level: string
  readonly message: string
  readonly fields: object
}

/** Returns a logger that records its lines. `read` returns the lines since the last `read`. */
function recordingLogger() {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, message, fields })
  }
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { logger, lines, read: () => lines.splice(0) }
}

describe('the logger of a broker', () => {
  it('leaves out refusals beyond 100 a second, and writes how many it left out', () => {
    const clock = new FakeClock()
    const { logger, read } = recordingLogger()
    const brokerLogger = new BrokerLogger(logger, clock)
    const refuse = (times: number) => {
      for (let i = 0; i < times; i++) brokerLogger.onRefused({ cause: 'forbidden' })
    }
    const leftOut = (count: number): Line => ({
      level: 'info',
      message: 'Lines left out',
      fields: { of: 'Client or request refused', count },
    })
    refuse(130)
    expect(read()).to.have.lengthOf(100)
    clock.advance(1_000)
    refuse(1)
    const [first, second, ...others] = read()
    expect(first).to.deep.equal(leftOut(30))
    expect(second).to.include({ level: 'info', message: 'Client or request refused' })
    expect(others).to.deep.equal([])
    refuse(101)
    read()
    brokerLogger.close()
    // With the refusal before the 101, the second has had 102 refusals.
    expect(read()).to.deep.equal([leftOut(2)])
  })

  it('counts revocations separately from refusals, and reports them at level warn', () => {
    const { logger, lines } = recordingLogger()
    const brokerLogger = new BrokerLogger(logger, new FakeClock())
    const harness = new BrokerHarness({ observer: brokerLogger })
    const [ann, ops] = [harness.openSession(), harness.openSession()]
    // These refusals use up only the limit of refusals.
    for (let i = 0; i < 130; i++) brokerLogger.onRefused({ cause: 'forbidden' })
    for (let id = 1; id <= 105; id++) {
      const fence = ann.acquire('k')
      ops.say({ type: 'revoke', id, key: 'k', fence, reason: 'test' })
    }
    expect(lines.filter(({ message }) => message === 'Lock revoked')).to.have.lengthOf(100)
    brokerLogger.close()
    expect(lines.at(-1)).to.deep.equal({
      level: 'warn',
      message: 'Lines left out',
      fields: { audit: true, of: 'Lock revoked', count: 5 },
    })
  })
})
