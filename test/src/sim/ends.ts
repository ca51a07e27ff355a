/**
 * The two ends of a simulated connection: a `WebSocket` for the client and a `Socket` for the
 * broker. Both ends copy the awkward behaviour of `ws` and browsers. A close is a packet that
 * follows the data; its sender waits for an echo. The death of a process shows at the other end
 * only when a packet arrives. Frames that arrived before `terminate` may still be delivered.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { Socket, SocketListener } from '@holdfast/server/internal'
import type { Connection, Listener } from './network.js'
import type { SimProcess } from './simProcess.js'

/** How long an end waits for the echo of its close, in ms: as long as `ws`. */
const closeTimeoutMs = 30_000

type EndState = 'connecting' | 'open' | 'closing' | 'closed'

export class ServerEnd implements Socket {
  readonly remoteAddress = undefined
  readonly origin = undefined
  readonly #connection: Connection
  readonly #process: SimProcess
  #listener: SocketListener | undefined = undefined
  #state: EndState = 'open'
  /** Whether the broker has been told that the connection is closed. */
  #hasReportedClose = false
  /** Whether frames that arrived before `terminate` are dropped. */
  #dropsUnreadFrames = false
  /** Whether the broker must be told when the send buffer is empty again. */
  #needsDrainEvent = false
  #isPaused = false
  /** Input that arrived while the broker had paused the socket. */
  readonly #pausedInput: (() => void)[] = []

  constructor(connection: Connection, listener: Listener) {
    this.#connection = connection
    this.#process = listener.process
    this.#process.receive(() => {
      // The answer to the upgrade, a packet with 0 bytes of data.
      connection.down.send(0, () => connection.client.opened())
      this.#listener = listener.accept(this)
    })
  }

  get bufferedBytes(): number {
    const { down, network } = this.#connection
    return Math.max(0, down.bytes - network.kernelBufferBytes)
  }

  send(frame: string): void {
    if (this.#state !== 'open' || this.#process.isDead) return
    if (this.bufferedBytes > 0) this.#needsDrainEvent = true
    this.#connection.sendDown(frame)
  }

  /** A frame has left the send buffer. */
  frameLeftBuffer(): void {
    if (!this.#needsDrainEvent || this.bufferedBytes > 0) return
    this.#needsDrainEvent = false
    this.#process.receive(() => {
      if (!this.#hasReportedClose) this.#listener?.onDrain()
    })
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#process.receive(() => {
      while (!this.#isPaused && this.#pausedInput.length > 0) this.#pausedInput.shift()!()
    })
  }

  /** Handles input now, or later if the broker has paused the socket. */
  #handleInput(input: () => void): void {
    // Input stays in the order of its arrival.
    if (this.#isPaused || this.#pausedInput.length > 0) this.#pausedInput.push(input)
    else input()
  }

  close(code: number, reason: string): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#connection.wasClosedByBroker = true
    const { client, down, network } = this.#connection
    down.send(0, () => client.closeArrived(code, reason))
    network.world.after(closeTimeoutMs, () => this.#finish())
  }

  terminate(): void {
    if (this.#state === 'closed') return
    if (this.#state === 'open') this.#connection.wasClosedByBroker = true
    const { random } = this.#connection.network
    this.#dropsUnreadFrames = random.chance(0.5)
    const { client, down } = this.#connection
    // A reset makes the peer's system drop unread data. Here, some packets under way are lost
    // instead.
    const kept = random.int(0, down.packetsUnderWay)
    down.lose(kept)
    down.send(0, () => client.reset())
    this.#finish()
  }

  frameArrived(frame: string): void {
    this.#connection.unread.push({ at: this.#connection.network.world.now, frame })
    const handleFrame = (): void => {
      this.#connection.unread.shift()
      if (this.#hasReportedClose || (this.#state === 'closed' && this.#dropsUnreadFrames)) return
      this.#connection.network.observer.received(this.#connection, frame)
      this.#listener?.onFrame(frame)
    }
    this.#process.receive(() => this.#handleInput(handleFrame))
  }

  /** The close of the client has arrived, or the echo of the broker's close. */
  closeArrived(code: number): void {
    if (this.#state === 'closed') return
    if (this.#state === 'open') {
      const { client, down } = this.#connection
      down.send(0, () => client.closeArrived(code, ''))
    }
    // A paused broker first reads the frames that arrived before the close.
    this.#finish((reportClose) => this.#handleInput(reportClose))
  }

  /** The connection has broken. */
  reset(): void {
    if (this.#state !== 'closed') this.#finish()
  }

  /**
   * Closes this end, and reports the close to the broker.
   *
   * @param schedule Calls `reportClose` immediately (the default), or after the paused input.
   */
  #finish(schedule = (reportClose: () => void): void => reportClose()): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    const reportClose = (): void => {
      this.#hasReportedClose = true
      // After a reset, `terminate` or the close timeout, the unread input of a paused broker is
      // lost. After a close of the client, the broker has already read all input.
      this.#connection.unread.length = 0
      this.#pausedInput.length = 0
      this.#isPaused = false
      this.#connection.network.connections.delete(this.#connection)
      this.#connection.network.observer.closed(this.#connection, 'broker', undefined)
      this.#listener?.onClose()
    }
    this.#process.receive(() => schedule(reportClose))
  }
}

export class ClientEnd implements WebSocketLike {
  protocol = ''
  onopen: ((event: unknown) => void) | null = null
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null
  onerror: ((event: unknown) => void) | null = null
  /** The network sets this to `drop`, except in a browser, which cannot terminate a WebSocket. */
  terminate?: () => void
  readonly #connection: Connection
  #state: EndState = 'connecting'

  constructor(connect: (end: ClientEnd) => Connection) {
    this.#connection = connect(this)
  }

  send(data: string): void {
    if (this.#state === 'connecting') throw new Error('InvalidStateError: still connecting')
    if (this.#state === 'open' && !this.#process.isDead) this.#connection.sendUp(data)
  }

  close(code?: number, _reason?: string): void {
    // A browser allows only 1000 and the codes from 3000 to 4999.
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new Error('InvalidAccessError: close code')
    }
    if (this.#state === 'closing' || this.#state === 'closed') return
    const connection = this.#connection
    if (this.#state === 'connecting') {
      connection.up.send(0, () => connection.server?.reset())
      this.#failToConnect()
      return
    }
    this.#state = 'closing'
    // 1005 means a close without a code.
    connection.up.send(0, () => connection.server?.closeArrived(code ?? 1005))
    connection.network.world.after(closeTimeoutMs, () => this.reset())
  }

  /**
   * Closes without a closing handshake, as `terminate` of `ws` does. The broker learns of the close
   * if the packet arrives.
   */
  drop(): void {
    if (this.#state === 'closed') return
    const connection = this.#connection
    connection.up.send(0, () => connection.server?.reset())
    if (this.#state === 'connecting') this.#failToConnect()
    else this.reset()
  }

  opened(): void {
    this.#queueInput(() => {
      if (this.#state !== 'connecting') return
      this.#state = 'open'
      this.protocol = 'holdfast.v1'
      this.onopen?.({})
    })
  }

  /** No broker listens at the URL. */
  refused(): void {
    if (this.#state === 'connecting') this.#failToConnect()
  }

  frameArrived(frame: string): void {
    this.#queueInput(() => {
      if (this.#state !== 'open' || this.onmessage === null) return
      this.#process.hasReadFrame = true
      this.onmessage({ data: frame })
    })
  }

  /** The close of the broker has arrived, or the echo of the client's close. */
  closeArrived(code: number, reason: string): void {
    if (this.#state === 'closed') return
    const connection = this.#connection
    if (this.#state === 'open') connection.up.send(0, () => connection.server?.closeArrived(code))
    this.#reportClose(code, reason)
  }

  /** The connection has broken; 1006 means a close without a closing handshake. */
  reset(): void {
    if (this.#state !== 'closed') this.#reportClose(1006, '')
  }

  get #process(): SimProcess {
    return this.#connection.clientProcess
  }

  #failToConnect(): void {
    this.#state = 'closed'
    this.#connection.network.connections.delete(this.#connection)
    this.#queueInput(() => {
      this.onerror?.({})
      this.onclose?.({ code: 1006, reason: '' })
    })
  }

  /** Reports the close after the input that arrived before the close. */
  #reportClose(code: number, reason: string): void {
    const wasConnecting = this.#state === 'connecting'
    this.#queueInput(() => {
      if (this.#state === 'closed') return
      this.#state = 'closed'
      this.#connection.network.observer.closed(this.#connection, 'client', code)
      if (wasConnecting) this.onerror?.({})
      this.onclose?.({ code, reason })
    })
  }

  #queueInput(input: () => void): void {
    this.#process.receive(input)
  }
}
