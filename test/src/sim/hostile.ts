/**
 * A client that stays within the limits and asks for as much as it can: expensive queries, tries
 * for held locks, a hundred identical watches, answers that it does not read or acknowledge. Other
 * clients must not notice. `ResponseOracle` checks the answers to this client. The client speaks
 * the protocol by hand.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { RawClientDeps } from './rawClient.js'
import { type Message, ResponseOracle } from './responseOracle.js'

export const hostileKinds = [
  /** Sends queries and counts its own locks. */
  'walker',
  /** Tries to lock held keys. */
  'refused',
  /** Has a hundred identical watches. */
  'watcher',
  /** Does not read what the broker sends. */
  'deaf',
  /** Does not acknowledge answers, and leaves connections. */
  'unacknowledging',
  /** Requests many shared locks of one key. */
  'crowd',
  /** Joins queues and cancels its requests. */
  'canceller',
  /** Sends many small messages. */
  'talker',
  /** Reconnects again and again. */
  'returner',
] as const

export type HostileKind = (typeof hostileKinds)[number]

export interface HostileDeps extends RawClientDeps {
  readonly kind: HostileKind
  /** Different from the names of all other clients. */
  readonly name: string
  /** The keys that well-behaved clients lock. */
  readonly keys: readonly string[]
  /**
   * Whether a revoker takes part. If so, a query may show a revocation before its client learns of
   * it.
   */
  readonly hasRevoker: boolean
  /** Whether the turns of the broker are long or its send buffers small. */
  readonly isSlow: boolean
  /** Blocks or unblocks the direction from the broker to this client. */
  readonly setReading: (reads: boolean) => void
}

/** The mean time between two actions, in ms. */
const pauseMs = 600
/**
 * The largest number of messages in one frame. The broker must be able to send all answers within
 * the time that the world has after its faults.
 */
const maxMessages = { fast: 250, slow: 20 }
const watches = 100
const lease = 4_000

/** The kinds whose sessions outlive their connections. */
const kindsWithGrace: ReadonlySet<HostileKind> = new Set(['unacknowledging', 'returner'])

export class Hostile {
  readonly #deps: HostileDeps
  readonly #name: string
  readonly #maxMessages: number
  #socket: WebSocketLike | undefined
  #responseOracle: ResponseOracle | undefined
  #session: { readonly session: string; readonly secret: string } | undefined
  #tries = 0
  #lastId = 0
  /** Whether it has already made its locks or watches on this connection. */
  #isPrepared = false
  #isStopped = false

  constructor(deps: HostileDeps) {
    this.#deps = deps
    this.#name = deps.name
    this.#maxMessages = deps.isSlow ? maxMessages.slow : maxMessages.fast
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#loop(), random.between(0, 2 * pauseMs))
  }

  /** Sends `bye`. The broker removes what is left when the lease is over. */
  stop(): void {
    this.#isStopped = true
    this.#deps.setReading(true)
    this.#send([{ type: 'bye' }])
  }

  #loop(): void {
    if (this.#isStopped) return
    if (this.#socket === undefined) this.#connect()
    else if (this.#responseOracle?.isUp === true) this.#act()
    this.start()
  }

  #connect(): void {
    const { WebSocket, anyUrl, oracles, kind, setReading } = this.#deps
    setReading(true)
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    const responseOracle = new ResponseOracle(oracles, this.#name)
    this.#socket = socket
    this.#responseOracle = responseOracle
    this.#isPrepared = false
    const grace = kindsWithGrace.has(kind) ? 'lease' : 0
    const resume = this.#session && { ...this.#session, try: ++this.#tries }
    const hello = { type: 'hello', name: this.#name, lease, grace, resume }
    socket.onopen = () => {
      responseOracle.sent(hello)
      socket.send(JSON.stringify(hello))
    }
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return
      const parsed = JSON.parse(String(data))
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
        responseOracle.received(message)
        if (message.type === 'ping') this.#send([{ type: 'pong', n: message.n }])
        else if (message.type === 'welcome') this.#welcomed(message)
      }
    }
    socket.onclose = () => {
      if (socket !== this.#socket) return
      this.#socket = undefined
      this.#responseOracle = undefined
      setReading(true)
    }
  }

  #welcomed(welcome: { session: string; secret?: string; resumed: boolean }): void {
    if (!welcome.resumed) this.#lastId = 0
    if (welcome.secret !== undefined) {
      this.#session = { session: welcome.session, secret: welcome.secret }
      this.#tries = 0
      this.#send([{ type: 'ack', ids: [] }])
    }
    if (this.#isStopped) this.#send([{ type: 'bye' }])
  }

  #act(): void {
    const { kind, oracles } = this.#deps
    oracles.report.count(`hostile ${kind}`)
    const acts: Record<HostileKind, () => void> = {
      walker: () => this.#walk(),
      refused: () => this.#try(),
      watcher: () => this.#watch(),
      deaf: () => this.#stopReading(),
      unacknowledging: () => this.#try(),
      crowd: () => this.#crowd(),
      canceller: () => this.#cancel(),
      talker: () => this.#talk(),
      returner: () => this.#return(),
    }
    acts[kind]()
  }

  /** Holds keys of its own and counts these keys again and again. */
  #walk(): void {
    const { random, hasRevoker } = this.#deps
    const held = 150
    if (!this.#isPrepared) {
      this.#isPrepared = true
      if (!hasRevoker) this.#responseOracle!.expectCount(`${this.#name}:`, held)
      this.#send(
        this.#many(held, (id) => ({ type: 'lock', id, key: `${this.#name}:${id % held}` })),
      )
      return
    }
    const prefix = `${this.#name}:`
    this.#send(
      this.#many(random.int(1, this.#maxMessages), (id) => {
        const limit = random.chance(0.03) ? undefined : random.pick([1, 2, 7])
        return random.chance(0.9)
          ? { type: 'query', id, prefix, limit }
          : random.pick([
              { type: 'stats', id },
              { type: 'query', id, prefix: 'nothing' },
              { type: 'query', id, limit: 1 },
            ])
      }),
    )
  }

  /** Tries to lock keys that are held. A lock that it gets by chance has a short ttl. */
  #try(): void {
    const { random, keys, kind } = this.#deps
    const own = `${this.#name} holds`
    const metadata = 'm'.repeat(1_000)
    if (!this.#isPrepared) {
      this.#isPrepared = true
      this.#send(this.#many(4, (id) => ({ type: 'lock', id, key: own, mode: 'shared', metadata })))
    }
    const tries = this.#many(random.int(1, this.#maxMessages), (id) => {
      const key = random.chance(0.1) ? random.pick(keys) : own
      return { type: 'lock', id, key, timeout: 0, ttl: 200 }
    })
    this.#send(tries)
    if (kind === 'unacknowledging' && random.chance(0.3)) this.#drop()
  }

  #watch(): void {
    const { random } = this.#deps
    const own = `${this.#name} churns`
    if (!this.#isPrepared) {
      this.#isPrepared = true
      const ids = this.#many(watches, (id) => ({ type: 'watch', id, prefix: own }))
      this.#responseOracle!.expectEvents(ids.map(({ id }) => id))
      this.#send(ids)
    }
    this.#send(this.#many(random.int(1, 10), (id) => ({ type: 'lock', id, key: own, steal: true })))
  }

  /** Stops reading for a while and continues to send. */
  #stopReading(): void {
    const { random, setReading } = this.#deps
    setReading(random.chance(0.3))
    const metadata = 'm'.repeat(2_000)
    const key = `${this.#name} churns`
    this.#send(
      this.#many(random.int(1, Math.min(60, this.#maxMessages)), (id) =>
        random.pick([
          { type: 'query', id },
          { type: 'watch', id: (id % 5) + 1_000_000 },
          { type: 'lock', id, key, steal: true, metadata },
        ]),
      ),
    )
  }

  /** Requests many shared locks of one key, revokes some, and steals the key from itself. */
  #crowd(): void {
    const { random } = this.#deps
    const key = `${this.#name} shares`
    const messages: Message[] = this.#many<Message & { readonly key: string }>(
      random.int(1, this.#maxMessages),
      (id) =>
        random.chance(0.8)
          ? { type: 'lock', id, key, mode: 'shared', timeout: 1 }
          : { type: 'revoke', id, key, fence: random.int(1, 100), reason: 'hostile' },
    )
    if (random.chance(0.5)) {
      messages.push(...this.#many(1, (id) => ({ type: 'lock', id, key, steal: true })))
    }
    this.#send(messages)
  }

  /** Joins the queue of a key that others want, and leaves the queue again. */
  #cancel(): void {
    const { random, keys } = this.#deps
    const key = random.pick(keys)
    const requests = this.#many(random.int(1, this.#maxMessages / 2), (id) => ({
      ...{ type: 'lock', id, key, timeout: 5_000, ttl: 200 },
    }))
    const cancels = requests.map(({ id }) => ({ type: 'cancel', request: id })).reverse()
    this.#send([...requests, ...cancels])
  }

  #talk(): void {
    const { random } = this.#deps
    const messages = this.#many(random.int(1, this.#maxMessages), (id) =>
      random.pick([
        { type: 'pong', n: id },
        { type: 'ack', ids: Array.from({ length: 20 }, () => random.int(1, 100_000)) },
        { type: 'stats', id },
        { type: 'unwatch', watch: id },
        { type: 'auth', id, token: 'none' },
      ]),
    )
    if (random.chance(0.5)) this.#send(messages)
    else for (const message of messages) this.#send([message])
  }

  /** Reconnects again and again, and resumes its locks. */
  #return(): void {
    const { random } = this.#deps
    this.#send(
      this.#many(random.int(1, Math.min(40, this.#maxMessages)), (id) => ({
        ...{ type: 'lock', id, key: `${this.#name}:${random.int(1, 100)}`, timeout: 0 },
      })),
    )
    if (random.chance(0.7)) this.#drop()
  }

  #many<T extends Message>(count: number, make: (id: number) => T): T[] {
    return Array.from({ length: count }, () => make(++this.#lastId))
  }

  /** Leaves its connection, which may stay open at the broker. */
  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#responseOracle = undefined
    socket?.close()
  }

  #send(messages: readonly Message[]): void {
    if (this.#responseOracle?.isUp !== true || messages.length === 0) return
    for (const message of messages) this.#responseOracle.sent(message)
    this.#socket?.send(JSON.stringify(messages))
  }
}
