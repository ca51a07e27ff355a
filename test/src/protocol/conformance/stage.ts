/**
 * The set-up of the conformance tests: the broker to test, peers, and random keys, which no other
 * client uses. A peer is a client without the client library.
 */
import { randomUUID } from 'node:crypto'
import type { ClientMessage, HeldInfo, WaitingInfo } from '@holdfast/shared'
import { Peer, type Target } from './peer.js'

type Hello = Omit<Extract<ClientMessage, { type: 'hello' }>, 'type'>
type Session = Awaited<ReturnType<typeof Peer.open>>

/** The result of a query: the locks and waiting requests of all parts of the answer. */
export interface QueryResult {
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
}

export class Stage {
  /** Returns the address of the broker to test, and its token. */
  readonly target: () => Promise<Target>
  #peers: Peer[] = []
  /** The beginning of all keys of this stage. */
  readonly prefix = `conformance:${randomUUID()}:`
  #keyCount = 0

  constructor(target: () => Promise<Target>) {
    this.target = target
  }

  /** Opens a session, which `clear` ends. */
  async openSession(hello: Hello = {}): Promise<Session> {
    const session = await Peer.open(await this.target(), hello)
    this.#peers.push(session)
    return session
  }

  /** Opens several sessions. */
  async openSessions(count: number): Promise<Session[]> {
    return Promise.all(Array.from({ length: count }, () => this.openSession()))
  }

  /** Opens a connection and sends nothing. */
  async connect(protocols?: string[]): Promise<Peer> {
    const peer = await Peer.connect(await this.target(), protocols)
    this.#peers.push(peer)
    return peer
  }

  /** Returns a new key. */
  key(name = 'k'): string {
    return `${this.prefix}${++this.#keyCount}:${name}`
  }

  /** Sends `bye` on all connections, and waits until the connections are closed. */
  async clear(): Promise<void> {
    const peers = this.#peers
    this.#peers = []
    await Promise.all(peers.map((peer) => peer.leave()))
  }
}

/** Sends a query of this peer, and joins the parts of the answer. */
export async function queryAll(
  peer: Peer,
  filter: { key?: string; prefix?: string; limit?: number; after?: string; afterFence?: number },
): Promise<QueryResult> {
  const parts = await peer.hearAnswerParts('found', peer.request({ type: 'query', ...filter }))
  // The earlier parts count only the locks and requests so far.
  const { heldCount, waitingCount } = parts.at(-1)!
  return {
    held: parts.flatMap((part) => part.held),
    waiting: parts.flatMap((part) => part.waiting),
    heldCount,
    waitingCount,
  }
}
