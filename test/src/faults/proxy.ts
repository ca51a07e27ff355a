/**
 * A TCP proxy between clients and a broker: the network, at the mercy of a test. What passes
 * through can be held, cut into pieces, counted and cut off, separately each way and for each
 * connection.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** One connection through the proxy. */
export interface Passage {
  /** Number of the connection, from 0. */
  readonly index: number
  /** Lets bytes through in the direction of the filter. */
  pass(bytes: Buffer): void
  /** Resets both ends at once: what was not passed is lost. */
  cut(): void
}

/** Decides what becomes of the bytes that arrive in one direction. */
export type Filter = (bytes: Buffer, passage: Passage) => void

/** How one connection is treated; without a filter, bytes pass as they come. */
export interface Treatment {
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
  readonly #treat: (index: number) => Treatment
  readonly #pairs = new Set<Pair>()
  #count = 0
  #isOpen = true
  #onConnection: (() => void)[] = []

  private constructor(target: number, treat: (index: number) => Treatment) {
    this.#target = target
    this.#treat = treat
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client))
  }

  /** A proxy before this port of this machine. */
  static async to(
    target: number,
    treat: (index: number) => Treatment = () => ({}),
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, treat)
    proxy.#server.listen({ port: 0, host: '127.0.0.1' })
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** How many connections came so far. */
  get count(): number {
    return this.#count
  }

  /** Resets every connection at once; new ones are welcome unless the gate is shut. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair)
  }

  /** From now on new connections are reset as soon as they come; or no longer. */
  shut(isShut: boolean): void {
    this.#isOpen = !isShut
  }

  /** Resolves when the next connection comes, even if it is reset. */
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
    const { up, down } = this.#treat(index)
    this.#pipe(pair, client, broker, index, up)
    this.#pipe(pair, broker, client, index, down)
  }

  #pipe(pair: Pair, from: Socket, to: Socket, index: number, filter: Filter | undefined): void {
    const passage: Passage = {
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
