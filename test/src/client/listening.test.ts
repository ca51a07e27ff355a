/** Tests how listeners of a session's events are added by `on` or `once`, called and removed. */

import { connectIn } from '@holdfast/client/internal'
import { expect } from 'chai'
import {
  acquireLock,
  makeClientFakes,
  openScriptedSession,
  unhandledRejectionsOf,
  untilTurnEnds,
  url,
  welcome,
} from '../support/scriptedSession.js'

describe('a session with listeners', () => {
  it('delays an event that came with the welcome until the caller can listen', async () => {
    const { environment, network } = makeClientFakes()
    // As on real platforms, a new task begins after all microtasks.
    const newTask = (callback: () => void) => void setImmediate(callback)
    const connecting = connectIn(url, {}, { ...environment, newTask })
    await untilTurnEnds()
    network.lastSocket.accept()
    network.lastSocket.deliver(
      welcome(),
      { type: 'expiring', within: 5 },
      { type: 'draining', within: 6 },
    )
    // A caller that wraps `connect` gets the session a few microtasks later.
    const session = await Promise.resolve(connecting.then((connected) => connected))
    const calls: string[] = []
    session.on('expiring', ({ within }) => {
      calls.push(`expiring ${within}`)
      network.lastSocket.deliver({ type: 'draining', within: 7 })
    })
    session.on('draining', ({ within }) => calls.push(`draining ${within}`))
    await untilTurnEnds()
    await untilTurnEnds()
    expect(calls).to.deep.equal(['expiring 5', 'draining 6', 'draining 7'])
  })

  it('calls listeners in the order in which they were added, with the details', async () => {
    const { session, socket } = await openScriptedSession()
    const calls: string[] = []
    session
      .on('draining', ({ within }) => calls.push(`first ${within}`))
      .on('draining', ({ within }) => calls.push(`second ${within}`))
      .on('expiring', () => calls.push('another event'))
    socket.deliver({ type: 'draining', within: 1 }, { type: 'draining', within: 2 })
    expect(calls).to.deep.equal(['first 1', 'second 1', 'first 2', 'second 2'])
  })

  it('calls a once-listener once', async () => {
    const { session, socket } = await openScriptedSession()
    const calls: number[] = []
    session.once('draining', ({ within }) => calls.push(within))
    socket.deliver({ type: 'draining', within: 1 }, { type: 'draining', within: 2 })
    expect(calls).to.deep.equal([1])
  })

  it('calls a once-listener once, even if an earlier listener causes the event again', async () => {
    const scene = await openScriptedSession()
    const { session, socket } = scene
    for (const key of ['a', 'b']) await acquireLock(scene, { key })
    const calls: string[] = []
    session.on('lost', () => void session.close())
    session.once('lost', ({ key }) => calls.push(key))
    socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    // The first listener closes the session. The loss of b then calls the once-listener before the
    // loss of a does.
    expect(calls).to.deep.equal(['b'])
  })

  it('keeps calling a function that was added both with on and with once', async () => {
    const { session, socket } = await openScriptedSession()
    const calls: number[] = []
    const listen = ({ within }: { within: number }) => calls.push(within)
    session.on('draining', listen).once('draining', listen)
    socket.deliver({ type: 'draining', within: 1 }, { type: 'draining', within: 2 })
    expect(calls).to.deep.equal([1, 1, 2])
  })

  it('adds and removes listeners for later events only, not for the event under way', async () => {
    const { session, socket } = await openScriptedSession()
    const calls: string[] = []
    const addedLater = () => calls.push('addedLater')
    const removed = () => calls.push('removed')
    session.on('draining', () => calls.push('stays')).on('expiring', addedLater)
    // `off` removes both additions to `draining`, but not the listener of `expiring`.
    session.on('draining', addedLater).once('draining', addedLater).off('draining', addedLater)
    session.on('draining', () => session.off('draining', removed).on('draining', addedLater))
    session.on('draining', removed)
    // A listener that is removed during an event still hears of that event.
    socket.deliver({ type: 'draining', within: 1 })
    expect(calls.splice(0)).to.deep.equal(['stays', 'removed'])
    socket.deliver({ type: 'draining', within: 2 })
    expect(calls.splice(0)).to.deep.equal(['stays', 'addedLater'])
    socket.deliver({ type: 'expiring', within: 3 })
    expect(calls).to.deep.equal(['addedLater'])
  })

  it('calls the other listeners when one throws, and reports the error', async () => {
    const { session, socket } = await openScriptedSession()
    const calls: number[] = []
    const error = new Error('the listener failed')
    const fail = () => {
      throw error
    }
    session.on('draining', fail).once('draining', fail)
    session.on('draining', ({ within }) => calls.push(within))
    const reported = await unhandledRejectionsOf(() =>
      socket.deliver({ type: 'draining', within: 1 }),
    )
    expect(calls).to.deep.equal([1])
    expect(reported).to.deep.equal([error, error])
    // The errors do not end the session.
    socket.deliver({ type: 'ping', n: 1 })
    expect(session.state).to.equal('connected')
  })
})
