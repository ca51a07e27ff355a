/** Tests `@holdfast/client/react` on a server, where React runs no effects. */
import { expect } from 'chai'
import { createElement, type ReactElement } from 'react'
import { renderToString } from 'react-dom/server'
import { Stage } from '../e2e/stage.js'
import { HoldersView, LeaderView, LockView, SessionView } from './components.js'
import { renderOnServer } from './onServer.js'

describe('the hooks for React on a server', () => {
  const stage = Stage.forEachTest()

  it('render an idle lock, and request no lock', async () => {
    const { broker, url, sessions } = await stage.startBrokerWithSessions('observer')
    expect(renderOnServer(url, 'a')).to.include('idle ok by []')
    // This request gives a message of the rendering the time to reach the broker.
    await sessions[0]!.stats()
    expect([broker.query().heldCount, broker.query().waitingCount]).to.deep.equal([0, 0])
  })

  const views: Record<string, ReactElement> = {
    useLock: createElement(LockView, { lockKey: 'a' }),
    useHolders: createElement(HoldersView, { prefix: 'a' }),
    useLeader: createElement(LeaderView, { name: 'a' }),
    useSession: createElement(SessionView),
  }
  for (const [hook, view] of Object.entries(views)) {
    it(`throw an error without a HoldfastProvider: ${hook}`, () => {
      expect(() => renderToString(view)).to.throw('need a HoldfastProvider above the component')
    })
  }
})
