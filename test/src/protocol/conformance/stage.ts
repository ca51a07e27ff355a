/**
 * What the tests of the conformance suite have in common: a broker that somebody names, peers that
 * are gone when a test is over, and keys that nobody else uses, so that a broker may have other
 * clients while it is tried.
 */
import { randomUUID } from 'node:crypto'
import type { ClientMessage, HeldInfo, WaitingInfo } from '@holdfast/shared'
import { Peer, type Target } from './peer.js'

type Hello = Omit<Extract<ClientMessage, { type: 'hello' }>, 'type'>
type Session = Awaited<ReturnType<typeof Peer.open>>

/** All that a query told, its parts together. */
export interface Seen {
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
}

export class Stage {
  /** The broker. */
  readonly target: () => Promise<Target>
  #peers: Peer[] = []
  /** All keys of this run begin so. */
  readonly prefix = `conformance:${randomUUID()}:`
  #keys = 0

  constructor(target: () => Promise<Target>) {
    this.target = target
  }

  /** A peer with a session; it is gone when the test is over. */
  async open(hello: Hello = {}): Promise<Session> {
    const session = await Peer.open(await this.target(), hello)
    this.#peers.push(session)
    return session
  }

  /** Several of them. */
  async cast(count: number): Promise<Session[]> {
    return Promise.all(Array.from({ length: count }, () => this.open()))
  }

  /** A connection on which nothing was said. */
  async connect(protocols?: string[]): Promise<Peer> {
    const peer = await Peer.connect(await this.target(), protocols)
    this.#peers.push(peer)
    return peer
  }

  /** A key that was never used before. */
  key(name = 'k'): string {
    return `${this.prefix}${++this.#keys}:${name}`
  }

  /** Call after each test: everybody says goodbye, so that the broker knows that they are gone. */
  async clear(): Promise<void> {
    const peers = this.#peers
    this.#peers = []
    await Promise.all(peers.map((peer) => peer.leave()))
  }
}

/** Who holds and who waits for a key or a prefix, as this peer is told. */
export async function look(
  peer: Peer,
  scope: { key?: string; prefix?: string; limit?: number; after?: string; afterFence?: number },
): Promise<Seen> {
  const parts = await peer.answers('found', peer.ask({ type: 'query', ...scope }))
  const { heldCount, waitingCount } = parts[0]!
  return {
    held: parts.flatMap((part) => part.held),
    waiting: parts.flatMap((part) => part.waiting),
    heldCount,
    waitingCount,
  }
}
