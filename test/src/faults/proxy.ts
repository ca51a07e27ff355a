/**
 * A TCP proxy between clients and a broker, under the control of a test. It can hold, split, count
 * and cut off the bytes, separately for each direction and each connection.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** One connection through the proxy. */
export interface ProxiedConnection {
  /** Number of the connection, from 0. */
  readonly index: number
  /** Passes bytes in the direction of the filter. */
  pass(bytes: Buffer): void
  /** Resets both ends at once. Bytes that were not passed are lost. */
  cut(): void
}

/** Handles the bytes that arrive in one direction. */
export type Filter = (bytes: Buffer, passage: ProxiedConnection) => void

/** The filters of one connection. Without a filter, bytes pass as they arrive. */
export interface ConnectionFilters {
  /** From the client to the broker. */
  readonly up?: Filter | undefined
  /** From the broker to the client. */
  readonly down?: Filter | undefined
}

interface Pair {
  readonly client: Socket
  readonly broker: Socket
}

export class TcpProxy {
  readonly #server: Server
  readonly #target: number
  readonly #filtersOf: (index: number) => ConnectionFilters
  readonly #pairs = new Set<Pair>()
  #count = 0
  #isOpen = true
  #onConnection: (() => void)[] = []

  private constructor(target: number, filtersOf: (index: number) => ConnectionFilters) {
    this.#target = target
    this.#filtersOf = filtersOf
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client))
  }

  /** Starts a proxy in front of a port of this machine. */
  static async to(
    target: number,
    filtersOf: (index: number) => ConnectionFilters = () => ({}),
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, filtersOf)
    proxy.#server.listen({ port: 0, host: '127.0.0.1' })
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The number of connections so far. */
  get count(): number {
    return this.#count
  }

  /** Resets every connection at once. New connections are accepted unless the gate is shut. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair)
  }

  /** Starts or stops to reset new connections at once. */
  shut(isShut: boolean): void {
    this.#isOpen = !isShut
  }

  /** Resolves at the next connection, even if it is reset. */
  nextConnection(): Promise<void> {
    return new Promise((resolve) => this.#onConnection.push(resolve))
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
    const waiting = this.#onConnection
    this.#onConnection = []
    for (const resolve of waiting) resolve()
    if (!this.#isOpen) {
      client.resetAndDestroy()
      return
    }
    const broker = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    broker.on('error', () => {})
    const pair = { client, broker }
    this.#pairs.add(pair)
    const { up, down } = this.#filtersOf(index)
    this.#pipe(pair, client, broker, index, up)
    this.#pipe(pair, broker, client, index, down)
  }

  #pipe(pair: Pair, from: Socket, to: Socket, index: number, filter: Filter | undefined): void {
    const passage: ProxiedConnection = {
      index,
      pass: (bytes) => {
        if (!to.destroyed) to.write(bytes)
      },
      cut: () => this.#cut(pair),
    }
    from.on('data', (bytes: Buffer) => {
      if (filter === undefined) passage.pass(bytes)
      else filter(bytes, passage)
    })
    from.on('end', () => to.end())
    from.on('close', () => {
      this.#pairs.delete(pair)
      to.destroy()
    })
  }

  #cut(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.resetAndDestroy()
    pair.broker.resetAndDestroy()
  }
}
