/**
 * Tests the free ports that tests give to programs. Test processes run at the same time, so no
 * other process may take a port before its program listens.
 */
import { expect } from 'chai'
import { freePort } from '../support/freePort.js'

describe('free ports', () => {
  it('are below the ports that the system chooses for other sockets, and differ', async () => {
    const ports = await Promise.all(Array.from({ length: 20 }, freePort))
    expect(new Set(ports).size).to.equal(ports.length)
    expect(Math.max(...ports)).to.be.below(32_768)
  })

  it('differ between processes that run at the same time', async () => {
    // A second copy of the module reserves blocks of 100 ports like another process. Both copies
    // begin their search at the same block, because they have the same process id.
    const other = (await import(
      new URL('../support/freePort.js?other', import.meta.url).href
    )) as typeof import('../support/freePort.js')
    const blockOf = (port: number) => Math.floor(port / 100)
    expect(blockOf(await other.freePort())).to.not.equal(blockOf(await freePort()))
  })
})
