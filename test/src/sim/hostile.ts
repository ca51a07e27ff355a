/**
 * A raw client (which writes protocol messages itself) that stays within the limits of the broker
 * and causes as much work as possible. Each kind of hostile client does this in its own way, for
 * instance by expensive queries or a hundred identical watches. Other clients must not notice.
 * `ResponseOracle` checks the answers to this client.
 *
 * Numbers without a comment only set how often a client does something, or make an answer large.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import { ActionLoop, messagesIn, type RawClientDeps } from './rawClient.js'
import { type Message, ResponseOracle } from './responseOracle.js'

export const hostileKinds = [
  /** Makes the broker walk over many locks, by queries that count the client's own locks. */
  'walker',
  /** Tries to lock held keys. */
  'refused',
  /** Has a hundred identical watches. */
  'watcher',
  /** Does not read what the broker sends. */
  'deaf',
  /** Does not acknowledge answers, and sometimes opens a new connection. */
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
   * Whether a revoker (a client that revokes locks) takes part. If so, a query may show that a lock
   * of this client was revoked, before this client learns of the revocation.
   */
  readonly hasRevoker: boolean
  /** Whether the turns of the broker's event loop are long, or its send buffers are small. */
  readonly isSlow: boolean
  /** Unblocks (`true`) or blocks (`false`) the direction from the broker to this client. */
  readonly setReading: (isReading: boolean) => void
}

/** The mean time between two actions, in ms. */
const pauseMs = 600
/**
 * The largest number of messages in one frame. Between the last fault and the end of the
 * simulation, the broker must have enough time to send all answers.
 */
const maxMessages = { fast: 250, slow: 20 }
/** The number of identical watches of a hostile client. */
const watchCount = 100
/** The lease of each session, in ms: how long the broker keeps a silent session. */
const lease = 4_000

/**
 * The kinds whose sessions have a grace: the broker keeps such a session after its connection
 * dropped.
 */
const kindsWithGrace: ReadonlySet<HostileKind> = new Set(['unacknowledging', 'returner'])

interface Welcome {
  readonly session: string
  readonly secret?: string
  readonly resumed: boolean
}

export class Hostile {
  readonly #deps: HostileDeps
  readonly #name: string
  readonly #maxMessages: number
  #socket: WebSocketLike | undefined
  #responseOracle: ResponseOracle | undefined
  #session: { readonly session: string; readonly secret: string } | undefined
  #resumeAttempts = 0
  #lastId = 0
  /** Whether the client has already requested its own locks or watches on this connection. */
  #isPrepared = false
  readonly #loop: ActionLoop

  constructor(deps: HostileDeps) {
    this.#deps = deps
    this.#loop = new ActionLoop(deps, pauseMs, () => this.#connectOrAct())
    this.#name = deps.name
    this.#maxMessages = deps.isSlow ? maxMessages.slow : maxMessages.fast
  }

  start(): void {
    this.#loop.start()
  }

  /** Sends `bye`. If the `bye` is lost, the broker ends the session when its lease is over. */
  stop(): void {
    this.#loop.stop()
    this.#deps.setReading(true)
    this.#send([{ type: 'bye' }])
  }

  #connectOrAct(): void {
    if (this.#socket === undefined) this.#connect()
    else if (this.#responseOracle?.isWelcomed === true) this.#act()
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
    const resume = this.#session && { ...this.#session, try: ++this.#resumeAttempts }
    const hello = { type: 'hello', name: this.#name, lease, grace, resume }
    socket.onopen = () => {
      responseOracle.sent(hello)
      socket.send(JSON.stringify(hello))
    }
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return
      for (const message of messagesIn<Message & Welcome>(data)) {
        responseOracle.received(message)
        if (message.type === 'ping') this.#send([{ type: 'pong', n: message.n! }])
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

  #welcomed(welcome: Welcome): void {
    if (!welcome.resumed) this.#lastId = 0
    if (welcome.secret !== undefined) {
      this.#session = { session: welcome.session, secret: welcome.secret }
      this.#resumeAttempts = 0
      // Confirms the new secret.
      this.#send([{ type: 'ack', ids: [] }])
    }
    if (this.#loop.isStopped) this.#send([{ type: 'bye' }])
  }

  #act(): void {
    const { kind, oracles } = this.#deps
    oracles.report.count(`hostile ${kind}`)
    const acts: Record<HostileKind, () => void> = {
      walker: () => this.#countOwnLocks(),
      refused: () => this.#requestHeldKeys(),
      watcher: () => this.#watchOwnKey(),
      deaf: () => this.#sendMostlyWithoutReading(),
      unacknowledging: () => this.#requestHeldKeys(),
      crowd: () => this.#shareKey(),
      canceller: () => this.#queueAndCancel(),
      talker: () => this.#sendSmallMessages(),
      returner: () => this.#lockAndReconnect(),
    }
    acts[kind]()
  }

  /** Locks its own keys, and then counts these locks again and again. */
  #countOwnLocks(): void {
    const { random, hasRevoker } = this.#deps
    // Within the quota of locks, but enough to make one query expensive.
    const ownKeyCount = 150
    if (!this.#isPrepared) {
      this.#isPrepared = true
      if (!hasRevoker) this.#responseOracle!.expectCount(`${this.#name}:`, ownKeyCount)
      // The ids are consecutive, so each remainder, and thus each key, occurs once.
      this.#send(
        this.#makeMessages(ownKeyCount, (id) => ({
          type: 'lock',
          id,
          key: `${this.#name}:${id % ownKeyCount}`,
        })),
      )
      return
    }
    const prefix = `${this.#name}:`
    this.#send(
      this.#makeMessages(random.int(1, this.#maxMessages), (id) => {
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

  /**
   * Tries to lock keys that are held, mostly a key that the client holds itself. A lock that the
   * client gets by chance has a short ttl, after which the broker ends the lock.
   */
  #requestHeldKeys(): void {
    const { random, keys, kind } = this.#deps
    const ownKey = `${this.#name} holds`
    const metadata = 'm'.repeat(1_000)
    if (!this.#isPrepared) {
      this.#isPrepared = true
      this.#send(
        this.#makeMessages(4, (id) => ({
          type: 'lock',
          id,
          key: ownKey,
          mode: 'shared',
          metadata,
        })),
      )
    }
    const requests = this.#makeMessages(random.int(1, this.#maxMessages), (id) => {
      const key = random.chance(0.1) ? random.pick(keys) : ownKey
      return { type: 'lock', id, key, timeout: 0, ttl: 200 }
    })
    this.#send(requests)
    if (kind === 'unacknowledging' && random.chance(0.3)) this.#leaveConnection()
  }

  /** Watches a key many times over, and changes the holder of this key again and again. */
  #watchOwnKey(): void {
    const { random } = this.#deps
    const ownKey = `${this.#name} churns`
    if (!this.#isPrepared) {
      this.#isPrepared = true
      const watches = this.#makeMessages(watchCount, (id) => ({
        type: 'watch',
        id,
        prefix: ownKey,
      }))
      this.#responseOracle!.expectEvents(watches.map(({ id }) => id))
      this.#send(watches)
    }
    this.#send(
      this.#makeMessages(random.int(1, 10), (id) => ({
        type: 'lock',
        id,
        key: ownKey,
        steal: true,
      })),
    )
  }

  /** Sends requests. Usually does not read the answers until a later action. */
  #sendMostlyWithoutReading(): void {
    const { random, setReading } = this.#deps
    setReading(random.chance(0.3))
    const metadata = 'm'.repeat(2_000)
    const key = `${this.#name} churns`
    this.#send(
      this.#makeMessages(random.int(1, Math.min(60, this.#maxMessages)), (id) =>
        random.pick([
          { type: 'query', id },
          // One of five ids that only watches have, so that a watch often replaces an earlier one.
          { type: 'watch', id: (id % 5) + 1_000_000 },
          { type: 'lock', id, key, steal: true, metadata },
        ]),
      ),
    )
  }

  /** Requests many shared locks of one key, revokes some, and steals the key from itself. */
  #shareKey(): void {
    const { random } = this.#deps
    const key = `${this.#name} shares`
    const messages = this.#makeMessages<Message>(random.int(1, this.#maxMessages), (id) =>
      random.chance(0.8)
        ? { type: 'lock', id, key, mode: 'shared', timeout: 1 }
        : { type: 'revoke', id, key, fence: random.int(1, 100), reason: 'hostile' },
    )
    if (random.chance(0.5)) {
      messages.push(...this.#makeMessages(1, (id) => ({ type: 'lock', id, key, steal: true })))
    }
    this.#send(messages)
  }

  /** Joins the queue of a key that other clients want, and leaves the queue again. */
  #queueAndCancel(): void {
    const { random, keys } = this.#deps
    const key = random.pick(keys)
    const requests = this.#makeMessages(random.int(1, this.#maxMessages / 2), (id) => ({
      type: 'lock',
      id,
      key,
      timeout: 5_000,
      ttl: 200,
    }))
    const cancels = requests.map(({ id }) => ({ type: 'cancel', request: id })).reverse()
    this.#send([...requests, ...cancels])
  }

  /** Sends many messages that cost the sender little. */
  #sendSmallMessages(): void {
    const { random } = this.#deps
    const messages = this.#makeMessages(random.int(1, this.#maxMessages), (id) =>
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

  /** Locks keys, and then usually leaves the connection. The next one resumes the session. */
  #lockAndReconnect(): void {
    const { random } = this.#deps
    this.#send(
      this.#makeMessages(random.int(1, Math.min(40, this.#maxMessages)), (id) => ({
        type: 'lock',
        id,
        key: `${this.#name}:${random.int(1, 100)}`,
        timeout: 0,
      })),
    )
    if (random.chance(0.7)) this.#leaveConnection()
  }

  #makeMessages<T extends Message>(count: number, make: (id: number) => T): T[] {
    return Array.from({ length: count }, () => make(++this.#lastId))
  }

  /** Gives up its connection, which may stay open at the broker. */
  #leaveConnection(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#responseOracle = undefined
    socket?.close()
  }

  #send(messages: readonly Message[]): void {
    if (this.#responseOracle?.isWelcomed !== true || messages.length === 0) return
    for (const message of messages) this.#responseOracle.sent(message)
    this.#socket?.send(JSON.stringify(messages))
  }
}
