/**
 * Tests over a socket of clients that send nothing or too little, and of an aborted connection
 * (sections 2, 4 and 8 of PROTOCOL.md). A peer is a client without the client library.
 *
 * The lease is how long the broker keeps the session of a silent client. The tests use 2,000 ms,
 * the shortest lease that a broker grants by default. A session that holds nothing and waits for
 * nothing may have an idle lease, which is twice as long. The grace is how long a session outlives
 * its connection.
 *
 * The tests wait for leases to end, so all tests begin at the same time in `before`.
 */
import { expect } from 'chai'
import type { Closed, Peer } from './peer.js'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of silent clients and of an aborted connection. */
export function liveness(stage: Stage): void {
  describe('silence', function () {
    this.timeout(60_000)
    let closeWithoutHello: Promise<Closed>
    let closeOfFrozen: Promise<Closed>
    let alive: Promise<void>
    let aliveInIdleLease: Promise<void>
    let abortOutcome: Promise<AbortOutcome>

    before(async () => {
      const peer = await stage.connect()
      closeWithoutHello = peer.closed
      closeOfFrozen = freezeClient(stage)
      alive = stayAlive(stage)
      aliveInIdleLease = stayAliveInIdleLease(stage)
      abortOutcome = abortHolder(stage)
      // Node must not report an unhandled rejection before the test awaits its promise.
      for (const promise of [closeOfFrozen, alive, aliveInIdleLease, abortOutcome]) {
        promise.catch(() => {})
      }
    })

    it('before a hello closes the connection with 4408', async () => {
      expect(await closeWithoutHello).to.include({ code: 4408 })
    })

    it('ends a session with 4410 after its lease, despite WebSocket pings', async () => {
      expect(await closeOfFrozen).to.include({ code: 4410 })
    })

    it('does not end a session whose client answers pings', () => alive)

    it('does not end an idle session after its lease, if a pong asked for the idle lease', () =>
      aliveInIdleLease)

    it('ends a session only after its lease, if the broker aborted the connection', async () => {
      const { close, codeBeforeEnd } = await abortOutcome
      expect(close).to.include({ code: 4400 })
      expect(codeBeforeEnd).to.equal('LOCK_HELD')
    })
  })
}

/** Opens a client that holds a lock and then sends only WebSocket pings, which are not messages. */
async function freezeClient(stage: Stage): Promise<Closed> {
  const peer = await stage.openSession({ lease: 2_000 })
  const waiter = await stage.openSession()
  peer.ignoresPings = true
  const key = stage.key()
  await peer.acquire(key)
  const waiterRequest = waiter.lock(key)
  void pingUntilClosed(peer)
  await waiter.hearAnswer('granted', waiterRequest)
  return peer.closed
}

/** Sends a WebSocket ping for each ping message, until the connection is closed. */
async function pingUntilClosed(peer: Peer): Promise<void> {
  try {
    for (;;) {
      await peer.hear('ping')
      peer.pingWebSocket()
    }
  } catch {
    // `hear` throws when the connection is closed.
  }
}

/** Checks that a client that answers pings outlives its lease. */
async function stayAlive(stage: Stage): Promise<void> {
  const peer = await stage.openSession({ lease: 2_000 })
  const fence = await peer.acquire(stage.key())
  // The peer hears an ack for each of its pongs. The fourth pong comes after more than a lease.
  let lastAckAt = -1
  for (let acks = 0; acks < 4; acks++) {
    const { at } = await peer.hear('ack')
    expect(at).to.be.greaterThan(lastAckAt)
    lastAckAt = at
  }
  expect(lastAckAt - peer.welcome.at).to.be.greaterThan(2_000)
  await peer.release(fence)
}

/** Checks that an idle client that sends nothing outlives its lease, within its idle lease. */
async function stayAliveInIdleLease(stage: Stage): Promise<void> {
  const silent = await stage.openSession({ lease: 2_000 })
  // An older broker refuses the field `idle`.
  if (!silent.welcome.features?.includes('idleLease')) return
  silent.ignoresPings = true
  silent.say({ type: 'pong', n: 0, idle: true })
  const { at: idleFrom } = await silent.hear('ack')
  // The broker pings a client with a lock every half lease. So three acks of `other` take 3,000 ms,
  // which is longer than the ordinary lease of `silent`.
  const other = await stage.openSession({ lease: 2_000 })
  const fence = await other.acquire(stage.key())
  for (let acks = 0; acks < 3; acks++) await other.hear('ack')
  await other.release(fence)
  silent.say({ type: 'pong', n: 0 })
  const { at } = await silent.hear('ack')
  expect(at - idleFrom).to.be.greaterThan(2_000)
}

interface AbortOutcome {
  readonly close: Closed
  /** The error code of a request for the lock before the lease of the aborted client ends. */
  readonly codeBeforeEnd: string
}

/**
 * Makes the broker abort the connection of a client without a grace: the client sends an invalid
 * message while it holds a lock. Another session must get the lock after the end of the lease.
 */
async function abortHolder(stage: Stage): Promise<AbortOutcome> {
  const peer = await stage.openSession({ lease: 2_000 })
  const other = await stage.openSession()
  const key = stage.key()
  await peer.acquire(key)
  peer.sayText('nonsense')
  const close = await peer.closed
  const { code } = await other.hearAnswer('failed', other.lock(key, { timeout: 0 }))
  await other.hearAnswer('granted', other.lock(key))
  expect((await queryAll(other, { key })).heldCount).to.equal(1)
  return { close, codeBeforeEnd: code }
}
