/**
 * Tests `freePort`, which chooses ports for the programs that tests start. Nothing else may take a
 * chosen port before the program listens, not even a test process that runs at the same time.
 */
import { expect } from 'chai'
import { freePort } from '../support/freePort.js'

describe('free ports', () => {
  it('differ, and are below the range from which the system chooses ports', async () => {
    const ports = await Promise.all(Array.from({ length: 20 }, freePort))
    expect(new Set(ports).size).to.equal(ports.length)
    const firstOfSystem = 32_768
    expect(Math.max(...ports)).to.be.below(firstOfSystem)
  })

  it('differ between processes that run at the same time', async () => {
    // A process reserves blocks of 100 ports. A second copy of the module stands for a second
    // process. The process id chooses the first block, so both copies try the same block first.
    const other = (await import(
      new URL('../support/freePort.js?other', import.meta.url).href
    )) as typeof import('../support/freePort.js')
    const blockOf = (port: number) => Math.floor(port / 100)
    expect(blockOf(await other.freePort())).to.not.equal(blockOf(await freePort()))
  })
})
