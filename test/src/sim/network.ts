/**
 * A simulated network of WebSockets. A connection has two ends (see `ends.ts`) and two pipes
 * between them, which can be slowed, blocked and cut.
 */
import type { WebSocketConstructor } from '@holdfast/client/internal'
import type { SocketListener } from '@holdfast/server/internal'
import { ClientEnd, ServerEnd } from './ends.js'
import { type Link, Pipe } from './pipe.js'
import type { Random } from './random.js'
import type { SimProcess } from './simProcess.js'
import type { World } from './world.js'

/** The two directions between a client's machine and a broker's machine. */
export interface Path {
  /** From the client to the broker. */
  readonly up: Link
  /** From the broker to the client. */
  readonly down: Link
}

/** A broker that accepts connections. */
export interface Listener {
  readonly process: SimProcess
  accept(socket: ServerEnd): SocketListener
}

/** Observes the traffic for the oracles. */
export interface NetworkObserver {
  sent(connection: Connection, direction: 'up' | 'down', frame: string): void
  /** The broker is about to handle this frame. */
  received(connection: Connection, frame: string): void
  /**
   * One end is about to learn that the connection is closed.
   *
   * @param code The close code; undefined at the broker's end.
   */
  closed(connection: Connection, side: 'client' | 'broker', code: number | undefined): void
}

export class Network {
  readonly world: World
  readonly random: Random
  readonly observer: NetworkObserver
  /** The size of the kernel's send buffer. `ServerEnd.bufferedBytes` does not count its content. */
  readonly kernelBufferBytes: number
  /** The listening brokers by URL. A connection to any other URL is refused. */
  readonly listeners = new Map<string, Listener>()
  /** The connections until their broker learns of the close, or until they fail to open. */
  readonly connections = new Set<Connection>()
  /** The newest connection of each client, open or closed. */
  readonly newest = new WeakMap<SimProcess, Connection>()
  #connectionCount = 0

  constructor(
    world: World,
    random: Random,
    observer: NetworkObserver,
    kernelBufferBytes = 16 * 1024,
  ) {
    this.kernelBufferBytes = kernelBufferBytes
    this.world = world
    this.random = random
    this.observer = observer
  }

  /**
   * Makes the `WebSocket` class for a client's machine. Unless `isBrowser`, the class has
   * `terminate`, as in `ws`.
   *
   * @param pathTo Returns the path to a broker, by its URL.
   */
  webSocketOf(
    clientProcess: SimProcess,
    pathTo: (url: string) => Path,
    isBrowser: boolean,
  ): WebSocketConstructor {
    const connect = (end: ClientEnd, url: string) =>
      new Connection(this, {
        number: this.#connectionCount++,
        clientProcess,
        client: end,
        url,
        path: pathTo(url),
      })
    return class extends ClientEnd {
      constructor(url: string) {
        super((end) => connect(end, url))
        if (!isBrowser) this.terminate = () => this.drop()
      }
    }
  }
}

export interface Cut {
  /** How many of the packets under way to the broker (up) and to the client (down) still arrive. */
  readonly keepUp: number
  readonly keepDown: number
  /** After how many ms an end learns of the cut; undefined if it never learns of the cut. */
  readonly clientLearnsAfterMs: number | undefined
  readonly serverLearnsAfterMs: number | undefined
}

export interface ConnectionDeps {
  /** Unique in the world; names the connection in the trace. */
  readonly number: number
  readonly clientProcess: SimProcess
  /** The end of the connection at the client. */
  readonly client: ClientEnd
  readonly url: string
  readonly path: Path
}

export class Connection {
  readonly network: Network
  readonly number: number
  /** The URL of the broker. */
  readonly url: string
  readonly path: Path
  readonly clientProcess: SimProcess
  readonly client: ClientEnd
  /** The end at the broker; undefined until a broker accepts the connection. */
  server: ServerEnd | undefined = undefined
  /** The process of the broker. */
  brokerProcess: SimProcess | undefined = undefined
  readonly up: Pipe
  readonly down: Pipe
  /** The session that the broker welcomed on this connection. Set by the oracles. */
  session: string | undefined = undefined
  /** Whether the broker closed the connection; false if the broker first learned of its end. */
  wasClosedByBroker = false
  /**
   * The frames that have arrived and that the broker has not read, with their time of arrival in
   * world time.
   */
  readonly unread: { readonly at: number; readonly frame: string }[] = []
  /** A cut that happens after `framesLeft` more frames. */
  plannedCut: { framesLeft: number; readonly cut: Cut } | undefined = undefined

  constructor(network: Network, { number, clientProcess, client, url, path }: ConnectionDeps) {
    this.network = network
    this.number = number
    this.url = url
    this.clientProcess = clientProcess
    this.path = path
    this.client = client
    const { world, random } = network
    this.up = new Pipe(world, random, path.up)
    this.down = new Pipe(world, random, path.down)
    network.connections.add(this)
    network.newest.set(clientProcess, this)
    // A packet without data: the HTTP request that opens the WebSocket.
    this.up.send(0, () => this.#accept())
  }

  /** Whether the client has made no newer connection. */
  get isNewest(): boolean {
    return this.network.newest.get(this.clientProcess) === this
  }

  /** The client sends a frame to the broker. */
  sendUp(frame: string): void {
    const { observer } = this.network
    observer.sent(this, 'up', frame)
    this.up.send(frame.length, () => this.server?.frameArrived(frame))
    this.#countTowardsCut()
  }

  /** The broker sends a frame to the client. */
  sendDown(frame: string): void {
    this.network.observer.sent(this, 'down', frame)
    this.down.send(frame.length, () => {
      this.client.frameArrived(frame)
      // A frame counts as buffered at the broker until it arrives.
      this.server?.frameLeftBuffer()
    })
    this.#countTowardsCut()
  }

  /**
   * Breaks the connection. The caller chooses which packets still arrive, which end learns of the
   * break, and when.
   */
  cut({ keepUp, keepDown, clientLearnsAfterMs, serverLearnsAfterMs }: Cut): void {
    this.plannedCut = undefined
    this.up.cut(keepUp)
    this.down.cut(keepDown)
    const { world } = this.network
    if (clientLearnsAfterMs !== undefined) {
      world.after(clientLearnsAfterMs, () => this.client.reset())
    }
    if (serverLearnsAfterMs !== undefined) {
      world.after(serverLearnsAfterMs, () => this.server?.reset())
    }
  }

  /** Counts a frame that was sent, and cuts the connection if the planned cut is due. */
  #countTowardsCut(): void {
    const { plannedCut } = this
    if (plannedCut !== undefined && --plannedCut.framesLeft <= 0) this.cut(plannedCut.cut)
  }

  #accept(): void {
    const listener = this.network.listeners.get(this.url)
    if (listener === undefined || listener.process.isDead) {
      this.down.send(0, () => this.client.refused())
      return
    }
    this.brokerProcess = listener.process
    this.server = new ServerEnd(this, listener)
  }
}
