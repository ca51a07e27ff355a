/**
 * The broker without its sockets, on a fake machine, with as many fake clients as a test wants.
 */
import {
  Broker,
  type BrokerDeps,
  BrokerLogger,
  type BrokerOptions,
  type Log,
  MemoryLog,
  settingsFrom,
} from '@holdfast/server/internal'
import type { Hello, ServerMessage } from '@holdfast/shared'
import { FakeEnvironment } from './fakeEnvironment.js'
import { FakeSocket } from './socket.js'

export class Bench {
  readonly environment: FakeEnvironment
  readonly broker: Broker

  constructor(
    options: BrokerOptions = {},
    log: Log = new MemoryLog(),
    deps: Partial<BrokerDeps> = {},
    machine = new FakeEnvironment(),
  ) {
    this.environment = machine
    this.broker = new Broker({
      settings: settingsFrom({ ...options, log }),
      environment: this.environment,
      log,
      observer: options.observer ?? (options.logger && new BrokerLogger(options.logger)),
      // The first fence is 1.
      fences: { start: 0, reserve: () => {} },
      ...deps,
    })
  }

  /** A connection that has said nothing yet. */
  connect(from: { readonly origin?: string; readonly remoteAddress?: string } = {}): FakeSocket {
    const socket = new FakeSocket()
    Object.assign(socket, from)
    socket.listener = this.broker.connect(socket)
    return socket
  }

  /** A connection that has said hello; what it was told is still to be heard. */
  greet(hello: Partial<Hello> = {}): FakeSocket {
    const socket = this.connect()
    this.say(socket, { type: 'hello', ...hello })
    return socket
  }

  /** A client with a session, which has heard its welcome. */
  join(hello: Partial<Hello> = {}): Client {
    return this.clientOn(this.greet(hello))
  }

  /** The client behind a socket that was just welcomed. */
  clientOn(socket: FakeSocket): Client {
    const [welcome] = socket.heard()
    if (welcome?.type !== 'welcome') throw new Error('no welcome')
    return new Client(this, socket, welcome)
  }

  /** A client says this, and the turn comes to its end. */
  say(socket: FakeSocket, ...messages: readonly unknown[]): void {
    socket.say(...messages)
    this.environment.endTurn()
  }

  /** Promises that were kept in the same turn have had their say. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.environment.endTurn()
  }
}

export class Client {
  readonly #bench: Bench
  readonly socket: FakeSocket
  readonly session: string
  readonly secret: string | undefined
  readonly welcome: Extract<ServerMessage, { type: 'welcome' }>
  #id = 0

  constructor(
    bench: Bench,
    socket: FakeSocket,
    welcome: Extract<ServerMessage, { type: 'welcome' }>,
  ) {
    this.#bench = bench
    this.socket = socket
    this.session = welcome.session
    this.secret = welcome.secret
    this.welcome = welcome
  }

  /** What it says to be taken up again. */
  resume(hello: Partial<Hello> = {}, nth?: number): Partial<Hello> {
    return { ...hello, resume: { session: this.session, secret: this.secret!, try: nth } }
  }

  say(...messages: readonly unknown[]): void {
    this.#bench.say(this.socket, ...messages)
  }

  /** Asks for a lock; returns the id of the request. */
  lock(key: string, terms: object = {}): number {
    const id = ++this.#id
    this.say({ type: 'lock', id, key, ...terms })
    return id
  }

  /** Asks for a lock that is free; returns its fence. */
  take(key: string, terms: object = {}): number {
    const id = this.lock(key, terms)
    const answer = this.heard().find((message) => 'id' in message && message.id === id)
    if (answer?.type !== 'granted') throw new Error(`not granted: ${JSON.stringify(answer)}`)
    return answer.fence
  }

  unlock(fence: number): number {
    const id = ++this.#id
    this.say({ type: 'unlock', id, fence })
    return id
  }

  refresh(fence: number, terms: object = {}): number {
    const id = ++this.#id
    this.say({ type: 'refresh', id, fence, ...terms })
    return id
  }

  /** Answers the pings that came, as a client that is alive does; returns all that came. */
  heard(): ServerMessage[] {
    return this.socket.heard()
  }
}

/** Lets time pass while these clients answer every ping, so that their leases go on. */
export function passAlive(
  bench: Bench,
  ms: number,
  ...alive: readonly Client[]
): ServerMessage[][] {
  const heard = alive.map((): ServerMessage[] => [])
  const stepMs = 100
  for (let passed = 0; passed < ms; passed += stepMs) {
    bench.environment.pass(Math.min(stepMs, ms - passed))
    alive.forEach((client, i) => {
      for (const message of client.heard()) {
        if (message.type === 'ping') client.say({ type: 'pong', n: message.n })
        heard[i]!.push(message)
      }
    })
  }
  return heard
}
