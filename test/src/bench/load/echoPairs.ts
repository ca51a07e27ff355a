/**
 * The load with which most workloads compare the others: round trips of a simple `ws` client to a
 * simple `ws` server without locks. Two round trips count as one pair, because in the other loads a
 * pair is a lock and its unlock. The client does not parse the replies.
 */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { Endpoint } from '../job.js'
import type { Contestant } from './contest.js'
import { Latencies } from './latencies.js'
import { LoopGate } from './loopGate.js'

/** A message that is about as long as a lock request or its response. */
const message = 'x'.repeat(90)

export class EchoPairs implements Contestant {
  readonly system = 'ws echo'
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly #sockets: readonly EchoSocket[]
  /** Makes `stop` wait for every message under way. */
  readonly #loopGate = new LoopGate()
  #echoes = 0

  private constructor(server: Endpoint, sockets: readonly WebSocket[], inFlight: number) {
    this.serverPid = server.pid
    this.#sockets = sockets.map((socket) => {
      const echoSocket: EchoSocket = new EchoSocket(socket, inFlight, (ms) => {
        this.#echoes++
        this.latencies.record(ms)
        if (this.#loopGate.isOpen) echoSocket.send()
        else this.#loopGate.leave()
      })
      return echoSocket
    })
  }

  static async open(server: Endpoint, sessions: number, inFlight: number): Promise<EchoPairs> {
    const sockets: WebSocket[] = []
    for (let i = 0; i < sessions; i++) {
      const socket = new WebSocket(`${server.url}/echo`, { perMessageDeflate: false })
      await once(socket, 'open')
      sockets.push(socket)
    }
    return new EchoPairs(server, sockets, inFlight)
  }

  get pairs(): number {
    return this.#echoes / 2
  }

  start(): void {
    this.#loopGate.open()
    for (const socket of this.#sockets) {
      for (let i = 0; i < socket.inFlight; i++) {
        this.#loopGate.enter()
        socket.send()
      }
    }
  }

  stop(): Promise<void> {
    return this.#loopGate.close()
  }
}

/** Measures the time of each round trip on one connection to the echo server. */
class EchoSocket {
  /** The number of messages that are under way at the same time. */
  readonly inFlight: number
  readonly #socket: WebSocket
  /**
   * A ring buffer of the times when the messages under way were sent. Replies come in order, so the
   * next reply belongs to the oldest time.
   */
  readonly #sentAt: Float64Array
  #sent = 0
  #received = 0

  constructor(socket: WebSocket, inFlight: number, onEcho: (ms: number) => void) {
    this.inFlight = inFlight
    this.#socket = socket
    this.#sentAt = new Float64Array(inFlight)
    socket.on('message', () => {
      onEcho(performance.now() - this.#sentAt[this.#received++ % inFlight]!)
    })
  }

  send(): void {
    this.#sentAt[this.#sent++ % this.inFlight] = performance.now()
    this.#socket.send(message)
  }
}
