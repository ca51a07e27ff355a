/**
 * A TCP proxy between clients and a broker. A test can delay, split, count and drop the bytes,
 * separately for each direction of each connection. A test can also reset connections.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** One direction of a connection through the proxy. The filter of this direction gets it. */
export interface ProxiedConnection {
  /** The number of the connection, from 0. */
  readonly index: number
  /** Passes bytes on in this direction. */
  pass(bytes: Buffer): void
  /** Resets both ends of the connection immediately. Bytes that were not passed are lost. */
  cut(): void
}

/** Handles the bytes that arrive in one direction. */
export type Filter = (bytes: Buffer, connection: ProxiedConnection) => void

/** The filters of one connection. Without a filter, bytes pass as they arrive. */
export interface ConnectionFilters {
  /** From the client to the broker. */
  readonly up?: Filter | undefined
  /** From the broker to the client. */
  readonly down?: Filter | undefined
}

/** The two sockets of a connection through the proxy. */
interface Pair {
  readonly client: Socket
  readonly broker: Socket
}

export class TcpProxy {
  readonly #server: Server
  readonly #targetPort: number
  readonly #filtersOf: (index: number) => ConnectionFilters
  readonly #pairs = new Set<Pair>()
  #count = 0
  #acceptsConnections = true
  #connectionCallbacks: (() => void)[] = []

  private constructor(targetPort: number, filtersOf: (index: number) => ConnectionFilters) {
    this.#targetPort = targetPort
    this.#filtersOf = filtersOf
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client))
  }

  /** Starts a proxy in front of a port of this machine. */
  static async to(
    targetPort: number,
    filtersOf: (index: number) => ConnectionFilters = () => ({}),
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort, filtersOf)
    proxy.#server.listen({ port: 0, host: '127.0.0.1' })
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The number of connections so far. */
  get connectionCount(): number {
    return this.#count
  }

  /**
   * Resets every connection immediately. The proxy still accepts new connections, unless
   * `refuseConnections` was called.
   */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair)
  }

  /** From now on, resets each new connection immediately. */
  refuseConnections(): void {
    this.#acceptsConnections = false
  }

  /** Accepts new connections again. */
  acceptConnections(): void {
    this.#acceptsConnections = true
  }

  /** Resolves at the next connection, even if the proxy resets that connection. */
  nextConnection(): Promise<void> {
    return new Promise((resolve) => this.#connectionCallbacks.push(resolve))
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
  }

  #accept(client: Socket): void {
    const index = this.#count++
    client.on('error', () => {})
    const callbacks = this.#connectionCallbacks
    this.#connectionCallbacks = []
    for (const resolve of callbacks) resolve()
    if (!this.#acceptsConnections) {
      client.resetAndDestroy()
      return
    }
    const broker = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    broker.on('error', () => {})
    const pair = { client, broker }
    this.#pairs.add(pair)
    const { up, down } = this.#filtersOf(index)
    this.#pipe(pair, client, broker, index, up)
    this.#pipe(pair, broker, client, index, down)
  }

  #pipe(
    pair: Pair,
    source: Socket,
    target: Socket,
    index: number,
    filter: Filter | undefined,
  ): void {
    const connection: ProxiedConnection = {
      index,
      pass: (bytes) => {
        if (!target.destroyed) target.write(bytes)
      },
      cut: () => this.#cut(pair),
    }
    source.on('data', (bytes: Buffer) => {
      if (filter === undefined) connection.pass(bytes)
      else filter(bytes, connection)
    })
    source.on('end', () => target.end())
    source.on('close', () => {
      this.#pairs.delete(pair)
      target.destroy()
    })
  }

  #cut(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.resetAndDestroy()
    pair.broker.resetAndDestroy()
  }
}
