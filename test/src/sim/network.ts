/**
 * A network of WebSockets that never was: connections of two ends (see `ends.ts`) and, between
 * them, two pipes that can be slowed, blocked and cut.
 */
import type { WebSocketConstructor } from '@holdfast/client/internal'
import type { SocketListener } from '@holdfast/server/internal'
import { ClientEnd, ServerEnd } from './ends.js'
import { Pipe, type Way } from './pipe.js'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'
import type { World } from './world.js'

/** What lies between one client's machine and a broker's. */
export interface Path {
  readonly up: Way
  readonly down: Way
}

/** Where connections are accepted. */
export interface Listener {
  readonly process: SimProcess
  accept(socket: ServerEnd): SocketListener
}

/** What the judge is told about the traffic. */
export interface NetworkObserver {
  sent(connection: Connection, direction: 'up' | 'down', frame: string): void
  /** The broker is about to be given this frame. */
  received(connection: Connection, frame: string): void
  /** One end is about to be told that the connection is gone; with what code, if it is told. */
  closed(connection: Connection, side: 'client' | 'broker', code: number | undefined): void
}

export class Network {
  readonly world: World
  readonly random: Random
  readonly observer: NetworkObserver
  /** What the operating system takes off a sender's hands before `bufferedBytes` counts. */
  readonly kernelBufferBytes: number
  /** By URL; none where nobody accepts connections. */
  readonly listeners = new Map<string, Listener>()
  readonly connections = new Set<Connection>()
  /** The one that each client made last, gone or not. */
  readonly newest = new WeakMap<SimProcess, Connection>()
  #made = 0

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
   * The `WebSocket` of a client's machine; that of `ws` can be terminated, a browser's cannot.
   *
   * @param pathTo The way to a broker, by its URL.
   */
  webSocketOf(
    client: SimProcess,
    pathTo: (url: string) => Path,
    isBrowser: boolean,
  ): WebSocketConstructor {
    const connect = (end: ClientEnd, url: string) =>
      new Connection(this, { number: this.#made++, client, url, path: pathTo(url), end })
    return class extends ClientEnd {
      constructor(url: string) {
        super((end) => connect(end, url))
        if (!isBrowser) this.terminate = () => this.drop()
      }
    }
  }
}

export interface Cut {
  /** How many of the packets under way still arrive. */
  readonly keepUp: number
  readonly keepDown: number
  /** After how many ms an end learns of it; undefined for never. */
  readonly clientLearns: number | undefined
  readonly serverLearns: number | undefined
}

export interface ConnectionDeps {
  readonly number: number
  readonly client: SimProcess
  readonly url: string
  readonly path: Path
  readonly end: ClientEnd
}

export class Connection {
  readonly network: Network
  readonly number: number
  /** Of the broker. */
  readonly url: string
  readonly path: Path
  readonly clientProcess: SimProcess
  readonly client: ClientEnd
  server: ServerEnd | undefined = undefined
  /** Where the broker's end is. */
  broker: SimProcess | undefined = undefined
  readonly up: Pipe
  readonly down: Pipe
  /** The session that the broker welcomed on it, for the judge. */
  session: string | undefined = undefined
  /** The broker closed or dropped it before it heard anything of the kind from the other side. */
  wasClosedByServer = false
  /** The frames that have arrived and that the broker has not read yet; when, in world time. */
  readonly unread: { readonly at: number; readonly frame: string }[] = []
  /** Cuts the connection once this many more frames were sent. */
  framesUntilCut: { frames: number; readonly cut: Cut } | undefined = undefined

  constructor(network: Network, { number, client, url, path, end }: ConnectionDeps) {
    this.network = network
    this.number = number
    this.url = url
    this.clientProcess = client
    this.path = path
    this.client = end
    const { world, random } = network
    this.up = new Pipe(world, random, path.up)
    this.down = new Pipe(world, random, path.down)
    network.connections.add(this)
    network.newest.set(client, this)
    this.up.send(0, () => this.#accept())
  }

  /** Whether the client has made no other since. */
  get isNewest(): boolean {
    return this.network.newest.get(this.clientProcess) === this
  }

  sendUp(frame: string): void {
    const { observer } = this.network
    observer.sent(this, 'up', frame)
    this.up.send(frame.length, () => this.server?.frameArrived(frame))
    this.#countFrame()
  }

  sendDown(frame: string): void {
    this.network.observer.sent(this, 'down', frame)
    this.down.send(frame.length, () => {
      this.client.frameArrived(frame)
      this.server?.taken()
    })
    this.#countFrame()
  }

  /**
   * The connection breaks; who learns of it, when and what still arrives is the caller's choice.
   */
  cut({ keepUp, keepDown, clientLearns, serverLearns }: Cut): void {
    this.framesUntilCut = undefined
    this.up.cut(keepUp)
    this.down.cut(keepDown)
    const { world } = this.network
    if (clientLearns !== undefined) world.in(clientLearns, () => this.client.reset())
    if (serverLearns !== undefined) world.in(serverLearns, () => this.server?.reset())
  }

  #countFrame(): void {
    const plan = this.framesUntilCut
    if (plan !== undefined && --plan.frames <= 0) this.cut(plan.cut)
  }

  #accept(): void {
    const listener = this.network.listeners.get(this.url)
    if (listener === undefined || listener.process.isDead) {
      this.down.send(0, () => this.client.refused())
      return
    }
    this.broker = listener.process
    this.server = new ServerEnd(this, listener)
  }
}
