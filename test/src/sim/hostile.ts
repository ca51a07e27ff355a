/**
 * A client that stays within the limits and asks for as much as it can: dear queries, tries for
 * locks that are held, a hundred identical watches, answers that it does not read or acknowledge.
 * Nobody else may notice. It looks at its own connection too: that is answered in order, nothing of
 * it is left out, and only what was handled is acknowledged. Speaks the protocol by hand.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import { HostileEar, type Message } from './hostileEar.js'
import type { StrangerDeps } from './stranger.js'

export const hostileKinds = [
  'walker',
  'refused',
  'watcher',
  'deaf',
  'unacknowledging',
  'crowd',
  'canceller',
  'talker',
  'returner',
] as const

export type HostileKind = (typeof hostileKinds)[number]

export interface HostileDeps extends StrangerDeps {
  readonly kind: HostileKind
  /** No other has it. */
  readonly name: string
  /** What well-behaved clients want. */
  readonly keys: readonly string[]
  /** Somebody revokes locks: a query under way may see that before its client hears of it. */
  readonly hasWarden: boolean
  /** Turns of the broker take long, or the network has little room. */
  readonly isSlow: boolean
  /** Whether what comes from the broker gets here. */
  readonly setHearing: (hears: boolean) => void
}

/** Mean time between two things that it does, in ms. */
const pauseMs = 600
/**
 * Messages of one frame, at most. What they bring must leave within the time that the world has
 * once it is well again.
 */
const mostMessages = { fast: 250, slow: 20 }
const watches = 100
const lease = 4_000

/** What kinds have a session that outlives its connection. */
const graceful: ReadonlySet<HostileKind> = new Set(['unacknowledging', 'returner'])

export class Hostile {
  readonly #deps: HostileDeps
  readonly #name: string
  readonly #most: number
  #socket: WebSocketLike | undefined
  #ear: HostileEar | undefined
  #session: { readonly session: string; readonly secret: string } | undefined
  #tries = 0
  #lastId = 0
  /** Whether it has begun on this connection what it keeps up. */
  #isSettled = false
  #isStopped = false

  constructor(deps: HostileDeps) {
    this.#deps = deps
    this.#name = deps.name
    this.#most = deps.isSlow ? mostMessages.slow : mostMessages.fast
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#again(), random.between(0, 2 * pauseMs))
  }

  /** Says goodbye; what it has left by then is gone with its lease. */
  stop(): void {
    this.#isStopped = true
    this.#deps.setHearing(true)
    this.#say([{ type: 'bye' }])
  }

  #again(): void {
    if (this.#isStopped) return
    if (this.#socket === undefined) this.#connect()
    else if (this.#ear?.isUp === true) this.#act()
    this.start()
  }

  #connect(): void {
    const { WebSocket, anyUrl, judges, kind, setHearing } = this.#deps
    setHearing(true)
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    const ear = new HostileEar(judges, this.#name)
    this.#socket = socket
    this.#ear = ear
    this.#isSettled = false
    const grace = graceful.has(kind) ? 'lease' : 0
    const resume = this.#session && { ...this.#session, try: ++this.#tries }
    const hello = { type: 'hello', name: this.#name, lease, grace, resume }
    socket.onopen = () => {
      ear.said(hello)
      socket.send(JSON.stringify(hello))
    }
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return
      const parsed = JSON.parse(String(data))
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
        ear.hear(message)
        if (message.type === 'ping') this.#say([{ type: 'pong', n: message.n }])
        else if (message.type === 'welcome') this.#welcomed(message)
      }
    }
    socket.onclose = () => {
      if (socket !== this.#socket) return
      this.#socket = undefined
      this.#ear = undefined
      setHearing(true)
    }
  }

  #welcomed(welcome: { session: string; secret?: string; resumed: boolean }): void {
    if (!welcome.resumed) this.#lastId = 0
    if (welcome.secret !== undefined) {
      this.#session = { session: welcome.session, secret: welcome.secret }
      this.#tries = 0
      this.#say([{ type: 'ack', ids: [] }])
    }
    if (this.#isStopped) this.#say([{ type: 'bye' }])
  }

  #act(): void {
    const { kind, judges } = this.#deps
    judges.verdict.count(`hostile ${kind}`)
    const acts: Record<HostileKind, () => void> = {
      walker: () => this.#walk(),
      refused: () => this.#try(),
      watcher: () => this.#watch(),
      deaf: () => this.#goDeaf(),
      unacknowledging: () => this.#try(),
      crowd: () => this.#crowd(),
      canceller: () => this.#cancel(),
      talker: () => this.#talk(),
      returner: () => this.#return(),
    }
    acts[kind]()
  }

  /** Holds keys of its own, and counts them again and again. */
  #walk(): void {
    const { random, hasWarden } = this.#deps
    const held = 150
    if (!this.#isSettled) {
      this.#isSettled = true
      if (!hasWarden) this.#ear!.expectCount(`${this.#name}:`, held)
      this.#say(this.#many(held, (id) => ({ type: 'lock', id, key: `${this.#name}:${id % held}` })))
      return
    }
    const prefix = `${this.#name}:`
    this.#say(
      this.#many(random.int(1, this.#most), (id) => {
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

  /** Tries for keys that others hold; what it gets by chance it does not keep. */
  #try(): void {
    const { random, keys, kind } = this.#deps
    const own = `${this.#name} holds`
    const metadata = 'm'.repeat(1_000)
    if (!this.#isSettled) {
      this.#isSettled = true
      this.#say(this.#many(4, (id) => ({ type: 'lock', id, key: own, mode: 'shared', metadata })))
    }
    const tries = this.#many(random.int(1, this.#most), (id) => {
      const key = random.chance(0.1) ? random.pick(keys) : own
      return { type: 'lock', id, key, timeout: 0, ttl: 200 }
    })
    this.#say(tries)
    if (kind === 'unacknowledging' && random.chance(0.3)) this.#drop()
  }

  #watch(): void {
    const { random } = this.#deps
    const own = `${this.#name} churns`
    if (!this.#isSettled) {
      this.#isSettled = true
      const ids = this.#many(watches, (id) => ({ type: 'watch', id, prefix: own }))
      this.#ear!.expectEvents(ids.map(({ id }) => id))
      this.#say(ids)
    }
    this.#say(this.#many(random.int(1, 10), (id) => ({ type: 'lock', id, key: own, steal: true })))
  }

  /** Reads nothing for a while and asks on. */
  #goDeaf(): void {
    const { random, setHearing } = this.#deps
    setHearing(random.chance(0.3))
    const metadata = 'm'.repeat(2_000)
    const key = `${this.#name} churns`
    this.#say(
      this.#many(random.int(1, Math.min(60, this.#most)), (id) =>
        random.pick([
          { type: 'query', id },
          { type: 'watch', id: (id % 5) + 1_000_000 },
          { type: 'lock', id, key, steal: true, metadata },
        ]),
      ),
    )
  }

  /** Many shared locks of one key, which it revokes, and steals from itself. */
  #crowd(): void {
    const { random } = this.#deps
    const key = `${this.#name} shares`
    const messages: Message[] = this.#many<Message & { readonly key: string }>(
      random.int(1, this.#most),
      (id) =>
        random.chance(0.8)
          ? { type: 'lock', id, key, mode: 'shared', timeout: 1 }
          : { type: 'revoke', id, key, fence: random.int(1, 100), reason: 'hostile' },
    )
    if (random.chance(0.5)) {
      messages.push(...this.#many(1, (id) => ({ type: 'lock', id, key, steal: true })))
    }
    this.#say(messages)
  }

  /** Joins the queue of a key that others want, and leaves it again. */
  #cancel(): void {
    const { random, keys } = this.#deps
    const key = random.pick(keys)
    const asks = this.#many(random.int(1, this.#most / 2), (id) => ({
      ...{ type: 'lock', id, key, timeout: 5_000, ttl: 200 },
    }))
    const cancels = asks.map(({ id }) => ({ type: 'cancel', request: id })).reverse()
    this.#say([...asks, ...cancels])
  }

  #talk(): void {
    const { random } = this.#deps
    const talk = this.#many(random.int(1, this.#most), (id) =>
      random.pick([
        { type: 'pong', n: id },
        { type: 'ack', ids: Array.from({ length: 20 }, () => random.int(1, 100_000)) },
        { type: 'stats', id },
        { type: 'unwatch', watch: id },
        { type: 'auth', id, token: 'none' },
      ]),
    )
    if (random.chance(0.5)) this.#say(talk)
    else for (const one of talk) this.#say([one])
  }

  /** Comes back again and again, to what it holds. */
  #return(): void {
    const { random } = this.#deps
    this.#say(
      this.#many(random.int(1, Math.min(40, this.#most)), (id) => ({
        ...{ type: 'lock', id, key: `${this.#name}:${random.int(1, 100)}`, timeout: 0 },
      })),
    )
    if (random.chance(0.7)) this.#drop()
  }

  #many<T extends Message>(count: number, make: (id: number) => T): T[] {
    return Array.from({ length: count }, () => make(++this.#lastId))
  }

  /** Leaves its connection, which may stay open on the other side. */
  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#ear = undefined
    socket?.close()
  }

  #say(messages: readonly Message[]): void {
    if (this.#ear?.isUp !== true || messages.length === 0) return
    for (const message of messages) this.#ear.said(message)
    this.#socket?.send(JSON.stringify(messages))
  }
}
