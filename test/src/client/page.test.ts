/**
 * Tests a session in a page of a browser: what the session does when the user leaves the page or
 * returns, and when the computer sleeps, wakes, or goes offline or online. The message `bye` ends a
 * session at the broker. A fence is the number of a grant. A session in jeopardy has lost its
 * connection, but the broker still keeps the session.
 */
import type { ConnectOptions } from '@holdfast/client'
import { connectIn, type Page, type PageLifecycleListener } from '@holdfast/client/internal'
import type { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import {
  makeClientFakes,
  untilTurnEnds,
  url,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** A page whose lifecycle the test controls. */
class FakePage implements Page {
  readonly origin = 'https://app.test'
  readonly listeners = new Set<PageLifecycleListener>()

  watch(listener: PageLifecycleListener): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  leave(): void {
    for (const listener of this.listeners) listener.onLeave()
  }

  /** The page is shown or woken, or the network is back. */
  wake(): void {
    for (const listener of this.listeners) listener.onWake()
  }
}

/** Opens a session in a page. The session holds the lock "held" and waits for "awaited". */
async function openOnPage(options: ConnectOptions = {}, firstWelcome = welcome()) {
  const { clock, network, environment } = makeClientFakes()
  const page = new FakePage()
  const connecting = connectIn(url, options, { ...environment, page })
  await untilTurnEnds()
  network.lastSocket.accept()
  network.lastSocket.deliver(firstWelcome)
  const session = await connecting
  const events: string[] = []
  for (const event of ['jeopardy', 'resumed', 'newSession', 'closed'] as const) {
    session.on(event, () => events.push(event))
  }
  // `lost session` is the loss of a lock whose session was lost.
  session.on('lost', ({ reason }) => events.push(`lost ${reason}`))
  const requesting = session.lock('held')
  session.lock('awaited').catch(() => {})
  await untilTurnEnds()
  network.lastSocket.deliver({ type: 'granted', id: 1, fence: 9 })
  const lock = await requesting
  // Skips the messages up to here.
  network.lastSocket.newMessages()
  return { clock, network, page, session, events, lock }
}

describe('a session in a page', () => {
  it('sends bye immediately when the user leaves the page', async () => {
    const { clock, network, page, session, events, lock } = await openOnPage({}, welcomeWithGrace())
    page.leave()
    expect(network.lastSocket.newMessages()).to.deep.equal([{ type: 'bye' }])
    expect(network.lastSocket.closedByClient).to.equal(true)
    expect(lock.held).to.equal(false)
    expect(events).to.deep.equal(['lost session'])
    expect(session.state).to.equal('disconnected')
    clock.advance(3_600_000)
    await untilTurnEnds()
    expect(network.sockets).to.have.length(1)
  })

  it('opens a new session when the page is shown again, and repeats pending requests', async () => {
    const { network, page, events } = await openOnPage({}, welcomeWithGrace())
    page.leave()
    page.wake()
    expect(network.sockets).to.have.length(2)
    network.lastSocket.accept()
    expect(network.lastSocket.newMessages()).to.deep.equal([{ type: 'hello' }])
    network.lastSocket.deliver(welcomeWithGrace({ session: 's2' }))
    await untilTurnEnds()
    expect(network.lastSocket.newMessages()).to.deep.equal([
      { type: 'lock', id: 2, key: 'awaited' },
    ])
    expect(events).to.deep.equal(['lost session', 'newSession'])
  })

  it('resumes if it could not send bye, because the broker still keeps the session', async () => {
    const { clock, network, page, events, lock } = await openOnPage({}, welcomeWithGrace())
    network.lastSocket.end()
    page.leave()
    clock.advance(1_000)
    await untilTurnEnds()
    expect(network.sockets).to.have.length(1)
    expect(lock.held).to.equal(true)
    page.wake()
    network.lastSocket.accept()
    const [hello] = network.lastSocket.newMessages()
    expect(hello).to.deep.equal({
      type: 'hello',
      resume: { session: 's1', secret: 'first', try: 1 },
    })
    expect(events).to.deep.equal(['jeopardy'])
  })

  it('gives up a try to connect when the user leaves the page', async () => {
    const { clock, network, page } = await openOnPage()
    network.lastSocket.end()
    // The default delay before the first try is at most 100 ms.
    clock.advance(100)
    expect(network.sockets).to.have.length(2)
    page.leave()
    expect(network.lastSocket.closedByClient).to.equal(true)
    clock.advance(3_600_000)
    expect(network.sockets).to.have.length(2)
    page.wake()
    expect(network.sockets).to.have.length(3)
  })

  it('reconnects immediately when the page wakes, whatever the delay, and keeps trying', async () => {
    const { clock, network, page } = await openOnPage({ reconnect: [1_000_000, 2_000] })
    network.lastSocket.end()
    clock.advance(1_000)
    expect(network.sockets).to.have.length(1)
    page.wake()
    expect(network.sockets).to.have.length(2)
    // The client is already connecting.
    page.wake()
    expect(network.sockets).to.have.length(2)
    network.lastSocket.end()
    clock.advance(2_000)
    expect(network.sockets).to.have.length(3)
  })

  it('keeps an open connection when the page wakes', async () => {
    const { network, page, lock } = await openOnPage()
    page.wake()
    expect(network.sockets).to.have.length(1)
    expect(network.lastSocket.newMessages()).to.deep.equal([])
    expect(lock.held).to.equal(true)
  })

  it('checks its deadlines immediately when the page wakes', async () => {
    const { clock, page, events, lock } = await openOnPage()
    const { signal } = lock
    // Time passes without timers, so the lease is over, but its timer has not fired.
    clock.advanceWithoutTimers(10_000)
    expect(signal.aborted).to.equal(false)
    page.wake()
    expect(signal.aborted).to.equal(true)
    expect(events[0]).to.equal('lost session')
  })

  it('ends with reconnect: false when the user leaves the page', async () => {
    const { network, page, session, events } = await openOnPage({ reconnect: false })
    page.leave()
    expect(network.lastSocket.newMessages()).to.deep.equal([{ type: 'bye' }])
    expect(session.state).to.equal('closed')
    page.wake()
    expect(network.sockets).to.have.length(1)
    expect(events).to.deep.equal(['lost session', 'closed'])
  })

  it('listens to the page until the session is closed', async () => {
    const { clock, page, session } = await openOnPage()
    expect(page.listeners.size).to.equal(1)
    void session.close()
    clock.advance(1_000)
    expect(page.listeners.size).to.equal(0)
  })

  it('names the origin of the page in the error of a refused connection', async () => {
    const { environment, network } = makeClientFakes()
    const page = new FakePage()
    const connecting = connectIn(url, {}, { ...environment, page }).catch((e: Error) => e)
    await untilTurnEnds()
    // Browsers report this code for every connection that ended without a close frame. The error
    // names the origin, because the broker may have refused the origin.
    network.lastSocket.end(1006)
    const error = (await connecting) as HoldfastError
    expect(error.code).to.equal('UNAVAILABLE')
    expect(error.message).to.match(/origins.*--origin.*https:\/\/app\.test/)
    expect(page.listeners.size).to.equal(0)
  })

  it('reports that a browser forbids connections from https:// pages to ws:// URLs', async () => {
    const { environment } = makeClientFakes()
    const cause = new DOMException('insecure', 'SecurityError')
    class ForbiddenSocket {
      constructor() {
        throw cause
      }
    }
    const WebSocket = ForbiddenSocket as unknown as NonNullable<ConnectOptions['WebSocket']>
    const options = { WebSocket }
    const error = await connectIn(url, options, { ...environment, page: new FakePage() }).catch(
      (e: HoldfastError) => e,
    )
    expect(error).to.include({ code: 'INVALID_OPTION', cause })
    expect((error as HoldfastError).message).to.match(/https:\/\/app\.test.*wss:/)
  })
})
