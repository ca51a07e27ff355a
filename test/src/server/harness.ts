/**
 * A broker on a fake clock, with fake sockets and any number of clients that a test controls.
 */
import {
  Broker,
  type BrokerDeps,
  BrokerLogger,
  type BrokerOptions,
  MemoryLog,
  settingsFrom,
} from '@holdfast/server/internal'
import type { Hello, ServerMessage } from '@holdfast/shared'
import { FakeEnvironment } from './fakeEnvironment.js'
import { FakeSocket } from './socket.js'

/** The dependencies of a broker that a test may give. */
interface HarnessDeps extends BrokerDeps {
  readonly environment: FakeEnvironment
}

export class BrokerHarness {
  readonly environment: FakeEnvironment
  readonly broker: Broker

  /** @param deps Dependencies for the broker, in place of those that this harness makes. */
  constructor(options: BrokerOptions = {}, deps: Partial<HarnessDeps> = {}) {
    const { log = new MemoryLog(), environment = new FakeEnvironment(), ...otherDeps } = deps
    this.environment = environment
    this.broker = new Broker({
      settings: settingsFrom({ ...options, log }),
      environment,
      log,
      observer: options.observer ?? (options.logger && new BrokerLogger(options.logger)),
      // A fence is the number of a grant, and rises with every grant. Fences begin above the floor.
      fences: { floor: 0, reserve: () => {} },
      ...otherDeps,
    })
  }

  /** Opens a connection on which the client has sent nothing yet. */
  connect(peer: { readonly origin?: string; readonly remoteAddress?: string } = {}): FakeSocket {
    const socket = new FakeSocket()
    Object.assign(socket, peer)
    socket.listener = this.broker.connect(socket)
    return socket
  }

  /** Opens a connection and sends a hello. The test reads the answer. */
  connectWithHello(hello: Partial<Hello> = {}): FakeSocket {
    const socket = this.connect()
    this.sayAndEndTurn(socket, { type: 'hello', ...hello })
    return socket
  }

  /** Opens a session and reads its `welcome`. */
  openSession(hello: Partial<Hello> = {}): Client {
    return this.clientOn(this.connectWithHello(hello))
  }

  /** Opens this many sessions with the same hello. */
  openSessions(count: number, hello: Partial<Hello> = {}): Client[] {
    return Array.from({ length: count }, () => this.openSession(hello))
  }

  /** Reads the `welcome` on a socket, and returns the client of its session. */
  clientOn(socket: FakeSocket): Client {
    const [welcome] = socket.takeMessages()
    if (welcome?.type !== 'welcome') throw new Error('The broker has sent no welcome')
    return new Client(this, socket, welcome)
  }

  /** Sends messages of a client in one frame, and ends the turn of the event loop. */
  sayAndEndTurn(socket: FakeSocket, ...messages: readonly unknown[]): void {
    socket.say(...messages)
    this.environment.endTurn()
  }

  /** Runs turns until the client has got the answer with this id. @returns the number of turns */
  turnsUntilAnswer(client: Client, id: number): number {
    for (let turns = 1; turns < 10_000; turns++) {
      this.environment.endOneTurn()
      const heard = client.takeMessages()
      if (heard.some((message) => 'id' in message && message.id === id)) return turns
    }
    throw new Error(`The broker has not answered the request ${id} within 10,000 turns`)
  }

  /** Runs the callbacks of settled promises, and ends the turn. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.environment.endTurn()
  }
}

/** A client with a session, which sends exactly the messages of the test. */
export class Client {
  readonly #harness: BrokerHarness
  readonly socket: FakeSocket
  readonly session: string
  readonly secret: string | undefined
  readonly welcome: Extract<ServerMessage, { type: 'welcome' }>
  #lastId = 0

  constructor(
    harness: BrokerHarness,
    socket: FakeSocket,
    welcome: Extract<ServerMessage, { type: 'welcome' }>,
  ) {
    this.#harness = harness
    this.socket = socket
    this.session = welcome.session
    this.secret = welcome.secret
    this.welcome = welcome
  }

  /**
   * Returns a hello for resuming the session, and sends nothing. `attempt` is the number of the
   * attempt to resume.
   */
  resumeHello(fields: Partial<Hello> & { readonly attempt?: number } = {}): Partial<Hello> {
    const { attempt, ...hello } = fields
    return { ...hello, resume: { session: this.session, secret: this.secret!, try: attempt } }
  }

  /** Sends messages in one frame, and ends the turn. */
  say(...messages: readonly unknown[]): void {
    this.#harness.sayAndEndTurn(this.socket, ...messages)
  }

  /** Requests a lock. @returns the id of the request */
  lock(key: string, fields: object = {}): number {
    const id = ++this.#lastId
    this.say({ type: 'lock', id, key, ...fields })
    return id
  }

  /** Acquires a lock that must be free. @returns the fence of the lock */
  acquire(key: string, fields: object = {}): number {
    const id = this.lock(key, fields)
    const answer = this.takeMessages().find((message) => 'id' in message && message.id === id)
    if (answer?.type !== 'granted') {
      throw new Error(`The broker has not granted ${key}: ${JSON.stringify(answer)}`)
    }
    return answer.fence
  }

  /**
   * Requests many locks in few frames, and drops the answers.
   *
   * @param fieldsFor Returns the key and the other fields of a request, by its number, from 0.
   */
  lockMany(count: number, fieldsFor: (i: number) => object): void {
    const requests = lockRequests(count, fieldsFor, this.#lastId + 1)
    this.#lastId += count
    const frameLength = 500
    for (let i = 0; i < count; i += frameLength) this.say(...requests.slice(i, i + frameLength))
    this.takeMessages()
  }

  /** Requests the release of a lock. @returns the id of the request */
  unlock(fence: number): number {
    const id = ++this.#lastId
    this.say({ type: 'unlock', id, fence })
    return id
  }

  /** Asks the broker to restart the ttl of a lock. @returns the id of the request */
  refresh(fence: number, fields: object = {}): number {
    const id = ++this.#lastId
    this.say({ type: 'refresh', id, fence, ...fields })
    return id
  }

  /** Returns the messages that the broker has sent since the last call. */
  takeMessages(): ServerMessage[] {
    return this.socket.takeMessages()
  }
}

/**
 * Makes lock requests with successive ids.
 *
 * @param fieldsFor Returns the key and the other fields of a request, by its number, from 0.
 */
export function lockRequests(
  count: number,
  fieldsFor: (i: number) => object,
  firstId = 1,
): object[] {
  return Array.from({ length: count }, (_, i) => ({
    type: 'lock',
    id: firstId + i,
    ...fieldsFor(i),
  }))
}

/**
 * Lets time pass while these clients answer every ping, so that their sessions do not expire.
 *
 * @returns The messages that each client got.
 */
export function passTimeAnsweringPings(
  harness: BrokerHarness,
  ms: number,
  ...alive: readonly Client[]
): ServerMessage[][] {
  const heard = alive.map((): ServerMessage[] => [])
  // Far shorter than a lease, so that each client answers its pings in time.
  const stepMs = 100
  for (let passed = 0; passed < ms; passed += stepMs) {
    harness.environment.advance(Math.min(stepMs, ms - passed))
    alive.forEach((client, i) => {
      for (const message of client.takeMessages()) {
        if (message.type === 'ping') client.say({ type: 'pong', n: message.n })
        heard[i]!.push(message)
      }
    })
  }
  return heard
}
