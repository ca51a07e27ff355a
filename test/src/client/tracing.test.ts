/** A tracer is somebody else's, and what it throws is no reason to keep or to forget a lock. */
import type { Lock, Tracer } from '@holdfast/client'
import { expect } from 'chai'
import { codeOf, openScene, reportedBy, takeLock, turn } from '../support/scriptedSession.js'

function fail(): never {
  throw new Error('mine')
}

describe('a tracer that throws', () => {
  it('at an answer leaves it to whoever asked', async () => {
    const tracer: Tracer = { request: () => ({ metadata: undefined, granted: fail, failed: fail }) }
    const scene = await openScene({ tracer })
    let lock: Lock | undefined
    const reported = await reportedBy(async () => {
      lock = await takeLock(scene)
      const refused = codeOf(scene.session.lock('l'))
      await turn()
      scene.socket.say({ type: 'failed', id: 2, code: 'QUOTA_EXCEEDED', message: '' })
      expect(await refused).to.equal('QUOTA_EXCEEDED')
    })
    expect(reported).to.have.length(2)
    expect(lock?.held).to.equal(true)
  })

  it('at the end of a lock keeps neither an unlock nor a loss from anybody', async () => {
    const hold = { run: <T>(callback: () => T) => callback(), ended: fail }
    const tracer: Tracer = {
      request: () => ({ metadata: undefined, granted: () => hold, failed: fail }),
    }
    const scene = await openScene({ tracer })
    const locks = [await takeLock(scene), await takeLock(scene), await takeLock(scene)] as const
    scene.socket.take()
    const reported = await reportedBy(async () => {
      void locks[0].unlock()
      await turn()
      scene.socket.end()
    })
    expect(reported).to.have.length(3)
    expect(scene.socket.take()).to.deep.equal([{ type: 'unlock', id: 4, fence: 1 }])
    expect(locks.map(({ held }) => held)).to.deep.equal([false, false, false])
    expect(scene.events).to.deep.equal(['lost session', 'lost session'])
  })
})
