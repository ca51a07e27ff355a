/**
 * Tests the limit on the sockets that have not become a WebSocket. When too many sockets wait for
 * the rest of their request, the broker destroys one socket. The tests check which socket it is.
 */
import { PassThrough } from 'node:stream'
import {
  createHttpServer,
  defaultsOf,
  RequestSockets,
  routeUpgrades,
} from '@holdfast/server/internal'
import { expect } from 'chai'

/** The number of sockets that may wait in addition to the limit `pendingConnections`. */
const burst = 1_000

/** A socket without a network. */
class FakeTcpSocket extends PassThrough {
  readonly remoteAddress: string
  readonly remotePort: number

  constructor(remoteAddress: string, remotePort: number) {
    super()
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }
}

describe('the limit on sockets that are not a WebSocket yet', () => {
  let sockets: RequestSockets

  beforeEach(() => {
    sockets = new RequestSockets({ ...defaultsOf('private'), pendingConnections: 10 })
  })

  /** Opens sockets of one address, and returns them. */
  function open(address: string, count: number, firstPort = 1): FakeTcpSocket[] {
    return Array.from({ length: count }, (_, i) => {
      const socket = new FakeTcpSocket(address, firstPort + i)
      sockets.add(socket)
      return socket
    })
  }

  const destroyedCount = (list: readonly FakeTcpSocket[]): number =>
    list.filter(({ destroyed }) => destroyed).length

  it('destroys further sockets of the address that has the most sockets', () => {
    // The limit `pendingConnections` is 10. From the port 5,000 on, no port is taken.
    expect(destroyedCount(open('10.0.0.1', burst + 10))).to.equal(0)
    expect(destroyedCount(open('10.0.0.1', 5, 5_000))).to.equal(5)
  })

  it('for each new socket of another address, destroys the oldest socket of the address that has the most', () => {
    const flood = open('10.0.0.1', burst + 10)
    expect(destroyedCount(open('10.0.0.2', 2))).to.equal(0)
    expect(flood.map(({ destroyed }) => destroyed).slice(0, 3)).to.deep.equal([true, true, false])
  })

  it('counts neither closed sockets nor sockets whose upgrade has arrived', () => {
    const flood = open('10.0.0.1', burst + 10)
    // As with TLS, the socket of the upgrade is another object with the same address and port.
    sockets.remove(new FakeTcpSocket('10.0.0.1', 1))
    flood[1]!.emit('close')
    // Two of three new sockets take the places that are free now.
    expect(destroyedCount(open('10.0.0.1', 3, 5_000))).to.equal(1)
    // Sockets that no longer count have as many listeners as a socket that never counted.
    const ownListeners = new FakeTcpSocket('10.0.0.2', 1).listenerCount('close')
    const remainingListeners = flood.slice(0, 2).map((socket) => socket.listenerCount('close'))
    expect(remainingListeners).to.deep.equal([ownListeners, ownListeners])
  })

  it('applies to the sockets of an HTTP server until their upgrade has arrived', () => {
    const limits = { ...defaultsOf('private'), pendingConnections: 10 }
    const server = createHttpServer(/* tls */ undefined, limits, /* answer */ () => false)
    const removeRoute = routeUpgrades(server, /* path */ undefined, /* handler */ () => {})
    const flood = Array.from({ length: burst + 15 }, (_, i) => new FakeTcpSocket('10.0.0.1', i))
    for (const socket of flood) server.emit('connection', socket)
    expect(destroyedCount(flood)).to.equal(5)
    server.emit('upgrade', { url: '/' }, flood[0], Buffer.alloc(0))
    const later = new FakeTcpSocket('10.0.0.1', 5_000)
    server.emit('connection', later)
    expect(later.destroyed).to.equal(false)
    removeRoute()
    for (const socket of [...flood, later]) socket.destroy()
  })
})
